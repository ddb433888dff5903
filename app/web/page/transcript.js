// Owns the list of turns on the page: draws what changed once a frame, follows the end, pages back, reads answers out.

import { arrange, byId, icon, make, say } from "./dom.js";
import { mayGoAgain } from "./outbox.js";
import { SummaryLine } from "./summary.js";
import { Said, TurnView } from "./turn.js";

const NEAR_PX = 48; // this near to the end counts as at the end
const PAGE_AT_PX = 600;
const READ_OUT = 4000; // characters of an answer that a screen reader is given

export class Transcript {
  /** `again(text, attachments)` sends a failed text anew; `edit(message)` gives an unsent one back to the message box. */
  constructor({ again, edit }) {
    this.again = again;
    this.edit = edit;
    this.scroller = byId("scroller");
    this.list = byId("turns");
    this.outbox = byId("outbox");
    this.toEnd = byId("to-end");
    this.following = true;
    this.views = new Map();
    this.unsent = new Map();
    this.summary = new SummaryLine();
    this.dirty = new Set();
    this.gone = new Set(); // turns that ended before they began, of which nothing is said yet
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.toEnd.addEventListener("click", () => this.follow());
    const resized = new ResizeObserver(() => this.stay());
    for (const element of [this.scroller, this.list, this.outbox]) resized.observe(element);
  }

  /** Show another chat. */
  open(chat) {
    this.chat = chat;
    this.views.clear();
    this.unsent.clear();
    this.dirty.clear();
    this.gone.clear();
    this.list.replaceChildren();
    this.outbox.replaceChildren();
    this.paging = false;
    byId("older").hidden = true;
    byId("empty").hidden = true;
    byId("announcer").textContent = "";
    this.follow();
  }

  changed(what, turnId) {
    if (what === "turn") this.dirty.add(turnId);
    else if (what === "outbox") this.dirty.add("outbox");
    else if (what === "answer") this.readOut(turnId);
    else if (what === "all") this.everything();
    this.soon();
  }

  everything() {
    for (const [turnId, view] of this.views) {
      if (this.chat.turns.has(turnId)) continue;
      view.element.remove();
      this.views.delete(turnId);
    }
    for (const turnId of this.chat.turns.keys()) this.dirty.add(turnId);
    this.dirty.add("outbox");
  }

  soon() {
    if (this.planned) return;
    this.planned = true;
    const draw = () => {
      this.planned = false;
      this.draw();
    };
    if (document.hidden) setTimeout(draw, 200); // there are no frames now
    else requestAnimationFrame(draw);
  }

  draw() {
    const todo = [...this.dirty];
    this.dirty.clear();
    for (const turnId of todo) {
      if (turnId === "outbox") this.drawOutbox();
      else if (this.chat.turns.has(turnId)) this.drawTurn(this.chat.turns.get(turnId));
    }
    this.summary.show(this.chat, this.list, (place) => this.after(place));
    byId("older").hidden = this.chat.older === null;
    byId("empty").hidden = !(this.chat.loaded && this.chat.turns.size === 0 && this.chat.outbox.size === 0);
    this.stay();
    void this.pageBack();
    if (this.chat.loaded) performance.mark("drawn"); // for tests of how long it took
  }

  drawTurn(turn) {
    let view = this.views.get(turn.turn_id);
    if (!view) {
      view = new TurnView(this.again);
      this.views.set(turn.turn_id, view);
      view.element.dataset.turn = turn.turn_id;
      this.list.insertBefore(view.element, this.after(turn.turn_id));
    }
    view.show(turn, this.chat.read, this.chat.key);
  }

  /** Return the element before which a turn belongs. Most are new: the search begins at the end. */
  after(turnId) {
    let place = null;
    for (let node = this.list.lastElementChild; node && Number(node.dataset.turn) > turnId; node = node.previousElementSibling) place = node;
    return place;
  }

  drawOutbox() {
    const { outbox } = this.chat;
    for (const [id, node] of this.unsent) {
      if (outbox.has(id)) continue;
      node.element.remove();
      this.unsent.delete(id);
    }
    for (const message of outbox.values()) {
      const node = this.unsent.get(message.message_id) ?? new Said();
      this.unsent.set(message.message_id, node);
      node.show(message.content, message.state, { key: this.chat.key, attachments: message.attachments });
      this.drawTrouble(node, message);
    }
    arrange(this.outbox, [...outbox.values()].map((message) => this.unsent.get(message.message_id).element));
  }

  drawTrouble(node, message) {
    const failed = message.state === "failed";
    const words = message.state === "sent" || !message.why ? "" : failed ? `Not sent. ${message.why}` : message.why;
    node.element.classList.toggle("failed", failed);
    if ((node.words ?? "") === words) return; // drawn anew it would be read out again, and lose the focus
    node.words = words;
    node.trouble?.remove();
    node.trouble = null;
    if (!words) return;
    const { outbox } = this.chat;
    const button = (name, label, action) => make("button", { class: "quiet", type: "button", on: { click: action } }, icon(name), label);
    node.trouble = make("div", { class: "trouble", role: failed ? "alert" : null }, make("p", {}, words));
    if (failed && mayGoAgain(message)) node.trouble.append(button("again", "Send again", () => outbox.send(message)));
    node.trouble.append(button("edit", "Edit", () => this.edit(message)), button("close", "Discard", () => outbox.drop(message.message_id)));
    node.element.append(node.trouble);
  }

  // Scrolling

  follow() {
    this.following = true;
    this.stay();
  }

  stay() {
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.toEnd.hidden = this.following;
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.following = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    this.toEnd.hidden = this.following;
    void this.pageBack();
  }

  /** Get older turns when their place comes near; what is looked at stays where it is. */
  async pageBack() {
    const { chat, scroller } = this;
    if (this.paging || !chat?.loaded || chat.older === null || scroller.scrollTop > PAGE_AT_PX) return;
    this.paging = true;
    try {
      await chat.loadOlder();
      if (chat !== this.chat) return;
      const fromEnd = scroller.scrollHeight - scroller.scrollTop;
      this.everything();
      this.draw();
      if (!this.following) scroller.scrollTop = scroller.scrollHeight - fromEnd;
      this.paging = false;
      void this.pageBack();
    } catch {
      setTimeout(() => (this.paging = false), 3000); // scrolling tries again
    }
  }

  // For those who listen

  /** An answer is complete: say it once. While it is written, nothing is said. */
  readOut(turnId) {
    const turn = this.chat.turns.get(turnId);
    if (turn.status === "withdrawn") {
      this.gone.add(turn);
      this.settle();
      return;
    }
    const answer = turn.entries.findLast((entry) => entry.role === "assistant" && entry.content);
    const words = turn.error ? `The turn failed. ${turn.error}` : turn.status === "completed" ? `Agent: ${answer?.content ?? ""}` : `The turn was ${turn.status.replace("_", " ")}.`;
    say(byId("announcer"), words.slice(0, READ_OUT));
  }

  /** A turn is gone before it began. Only a status that is as new says whether its messages are gone or held. */
  settle() {
    const open = new Set((this.chat.status?.open_turns ?? []).map((turn) => turn.turn_id));
    for (const turn of this.gone) {
      if (open.has(turn.turn_id)) continue;
      this.gone.delete(turn);
      const held = this.chat.held.some((message) => turn.waited.has(message.message_id));
      if (held) say(byId("announcer"), "The message that waited is held.");
      else if (![...turn.waited].some((id) => this.chat.isElsewhere(id))) say(byId("announcer"), "The message that waited was withdrawn.");
    }
  }
}
