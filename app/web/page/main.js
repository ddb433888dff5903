// Puts the page together: signs in, opens the chat that the address names, and hands what changes to who shows it.

import { Agents } from "./agents.js";
import { chatPath } from "./api.js";
import { Approvals } from "./approvals.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { Control } from "./control.js";
import { byId, icon, say } from "./dom.js";
import { signIn, watchSignOut } from "./login.js";
import { attempt, clearNotices, notice } from "./notices.js";
import { wakeOutboxes } from "./outbox.js";
import { Rollback } from "./rollback.js";
import { Sidebar } from "./sidebar.js";
import { choice } from "./storage.js";
import { Stream } from "./stream.js";
import { Transcript } from "./transcript.js";
import { Waiting } from "./waiting.js";

class Page {
  constructor(me) {
    this.me = me;
    this.control = new Control();
    this.transcript = new Transcript({ again: (text, files) => this.composer.sendText(text, null, files), edit: (message) => this.takeBack(message) });
    this.composer = new Composer({ control: this.control, onSent: () => this.transcript.follow() });
    this.waiting = new Waiting({ control: this.control, keep: (text) => this.composer.keepUnsaved(text) });
    this.approvals = new Approvals();
    this.rollback = new Rollback(this.control);
    this.sidebar = new Sidebar(me);
    this.agents = new Agents();
    window.addEventListener("hashchange", () => this.open(this.keyOfAddress()));
    document.addEventListener("keydown", (event) => this.key(event));
    byId("forget").addEventListener("click", () => this.forget());
  }

  /** Return the chat that the address names, else the one that was open last, else the first one. */
  keyOfAddress() {
    let named = "";
    try {
      named = decodeURIComponent(location.hash.replace(/^#\/?/, ""));
    } catch {
      // no address of ours
    }
    return named || [choice.get("chat")].find((key) => key && this.mayOpen(key)) || this.me.default_chat;
  }

  /** Another user of this browser may have left a chat behind. */
  mayOpen(key) {
    const { auth, default_chat: own } = this.me;
    return auth === "none" || key === own || key.startsWith(`${own}:`);
  }

  open(key) {
    if (this.chat?.key === key) return;
    this.stream?.close();
    clearNotices();
    choice.set("chat", key);
    history.replaceState(null, "", `#/${encodeURIComponent(key)}`); // the address names the chat: it can be gone back to
    const chat = new Chat(key, (what, turnId) => chat === this.chat && this.changed(what, turnId));
    this.chat = chat;
    for (const part of [this.control, this.transcript, this.approvals, this.waiting, this.rollback, this.composer]) part.open(chat);
    this.sidebar.open(key);
    this.transcript.changed("outbox");
    this.stream = new Stream(chatPath(key, "events"), {
      onData: (data) => chat.apply(JSON.parse(data)),
      onState: (state, message) => this.linked(chat, state, message),
    });
    void this.load(chat);
    chat.outbox.wake();
  }

  /** Read the newest turns, and again until that works. */
  async load(chat) {
    for (let wait = 500; chat === this.chat; wait = Math.min(wait * 2, 5000)) {
      try {
        await chat.loadNewest();
        return;
      } catch (error) {
        if (!error.passing) {
          notice(error.message);
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  linked(chat, state, message) {
    if (chat === this.chat) void chat.setLink(state, message);
    if (state === "live") wakeOutboxes();
    if (state === "refused" && choice.get("chat") === chat.key) choice.set("chat", null); // the page does not begin there again
  }

  changed(what, turnId) {
    if (what === "link") this.control.show();
    else if (what === "status") {
      this.control.show();
      this.approvals.show();
      this.waiting.show();
      this.rollback.show();
      this.composer.show();
      this.transcript.settle();
      this.transcript.soon();
      this.sidebar.soon(this.chat.busy);
    } else this.transcript.changed(what, turnId);
    if (what === "all") this.sidebar.soon(this.chat.busy);
  }

  key(event) {
    if (event.key !== "Escape" || event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.repeat) return; // held down: the one press was meant, and the next would undo it
    if (this.control.escape()) event.preventDefault();
    this.composer.show();
  }

  takeBack(message) {
    this.chat.outbox.drop(message.message_id);
    this.composer.attach.keep(message.attachments ?? []);
    if (message.content) this.composer.keep(message.content);
  }

  forget() {
    const dialog = byId("confirm");
    dialog.returnValue = "cancel";
    dialog.showModal();
    dialog.addEventListener(
      "close",
      async () => {
        if (dialog.returnValue !== "forget") return;
        const { chat } = this;
        await attempt(() => chat.call("forget"));
        this.sidebar.soon(false);
      },
      { once: true },
    );
  }
}

function themeButton() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const button = byId("theme");
  const show = () => {
    button.firstElementChild.replaceWith(icon(isDark() ? "sun" : "moon"));
    say(button.lastElementChild, isDark() ? "Light" : "Dark");
  };
  button.addEventListener("click", () => {
    const wanted = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = wanted;
    // What the system wants anyway is not a choice: it follows the system again.
    choice.set("theme", (wanted === "dark") === dark.matches ? null : wanted);
    show();
  });
  dark.addEventListener("change", show);
  window.addEventListener("storage", show);
  show();
}

async function start() {
  themeButton();
  const me = await signIn();
  watchSignOut();
  byId("sign-out").hidden = me.auth === "none";
  byId("agents-open").hidden = me.operator === false;
  say(byId("user"), me.user ?? "");
  byId("app").hidden = false;
  const page = new Page(me);
  page.open(page.keyOfAddress());
  void page.sidebar.load();
}

await start();
