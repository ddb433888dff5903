// Owns stopping and going on: what Esc means now, and the line that says how it is with the chat.

import { byId, make, say } from "./dom.js";
import { attempt } from "./notices.js";

export class Control {
  constructor() {
    this.stopping = null; // the stop that is on its way, and the turn that it stops
    this.line = byId("status");
    setInterval(() => this.chat && this.show(), 1000); // a wait counts down
  }

  open(chat) {
    this.chat = chat;
    this.stopping = null;
    this.show();
  }

  get running() {
    return this.chat.status?.open_turns[0] ?? null;
  }

  /** Whether the open turn has been told to end. */
  get ends() {
    const { running } = this;
    return Boolean(running) && (running.stopping || this.stopping?.turn === running.turn_id);
  }

  /** The first press stops and holds what waits; the next sends all of it, in order. Return whether there was anything to do. */
  escape() {
    if (this.chat.busy && !this.ends) void this.stop("hold");
    else if (this.chat.busy || this.chat.held.length) void this.resume();
    else return false;
    return true;
  }

  async stop(queue) {
    const { chat, running } = this;
    const work = attempt(() => chat.call("stop", { queue }));
    this.stopping = { turn: running?.turn_id, work };
    this.show();
    const answer = await work;
    if (answer === undefined && this.stopping?.work === work) this.stopping = null;
    this.show();
  }

  /** Send what is held. A stop that is on its way comes first: it is what holds them. */
  async resume() {
    const { chat } = this;
    await this.stopping?.work;
    await attempt(() => chat.call("resume"));
  }

  show() {
    const { kind, words } = this.words();
    this.line.dataset.kind = kind;
    if (!this.text) {
      this.text = make("span");
      this.line.append(make("span", { class: "status-dot", "aria-hidden": "true" }), this.text);
    }
    say(this.text, words);
    this.line.hidden = !words;
    document.body.classList.toggle("busy", Boolean(this.chat.busy));
  }

  words() {
    const { chat, running } = this;
    const { state, message } = chat.link;
    if (state === "refused") return { kind: "bad", words: message };
    if (state === "away") return { kind: "bad", words: message ? `${message} Reconnecting…` : "The connection is gone. Reconnecting… What you send is kept and sent then." };
    if (chat.unavailable) return { kind: "bad", words: chat.unavailable };
    if (!running) return { kind: "idle", words: chat.held.length ? "Stopped. What waited is held." : "" };
    if (this.ends) return { kind: "busy", words: "Stopping…" };
    if (chat.approvals.length) return { kind: "wait", words: chat.approvals.some((each) => !each.question) ? "The agent waits for your approval." : "The agent asks you something." };
    if (running.waiting_for) return { kind: "wait", words: waitWords(running.waiting_for) };
    return { kind: "busy", words: "" };
  }
}

function waitWords({ reason, until }) {
  const left = Math.ceil((Date.parse(until) - Date.now()) / 1000);
  const clock = new Date(until).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return `Waiting until ${clock}${left > 0 ? ` (${left} s)` : ""}: ${reason}`;
}
