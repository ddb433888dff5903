// Owns the list of chats, and that it can be put aside on narrow screens.

import { get } from "./api.js";
import { newId } from "./composer.js";
import { arrange, byId, make, say } from "./dom.js";

const EVERY_MS = 20_000;
const SOON_MS = [400, 2500]; // the list is read from a copy that lags behind

export class Sidebar {
  constructor(me) {
    this.me = me;
    this.rows = new Map();
    this.chats = [];
    this.timers = [];
    byId("new-chat").addEventListener("click", () => this.go(this.newKey()));
    byId("sidebar-open").addEventListener("click", () => this.slide(true));
    byId("sidebar-close").addEventListener("click", () => this.slide(false));
    byId("scrim").addEventListener("click", () => this.slide(false));
    byId("sidebar").addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !byId("app").classList.contains("with-sidebar")) return;
      event.stopPropagation();
      this.slide(false);
    });
    setInterval(() => document.hidden || this.load(), EVERY_MS);
  }

  /** A user's chats begin with the user's own key; without users, anything goes. */
  newKey() {
    const fresh = newId().slice(0, 8);
    return this.me.auth === "none" ? `chat-${fresh}` : `${this.me.default_chat}:${fresh}`;
  }

  go(key) {
    this.slide(false);
    location.hash = `#/${encodeURIComponent(key)}`;
  }

  slide(open) {
    const app = byId("app");
    if (app.classList.contains("with-sidebar") === open) return;
    app.classList.toggle("with-sidebar", open);
    byId("scrim").hidden = !open;
    byId("sidebar-open").setAttribute("aria-expanded", String(open));
    (open ? byId("new-chat") : byId("sidebar-open")).focus();
  }

  open(key) {
    this.key = key;
    this.busy = undefined;
    this.show();
  }

  /** Something changed in the open chat: what is known of it is shown, and the list read again once it is quiet. */
  soon(busy) {
    const changed = this.busy !== busy;
    this.busy = busy;
    this.timers.forEach(clearTimeout);
    this.timers = SOON_MS.map((ms) => setTimeout(() => this.load(), ms));
    if (changed) this.show();
  }

  async load() {
    try {
      this.chats = (await get("/chats")).chats;
    } catch {
      return; // the list as it was is better than none; the status line tells of trouble
    }
    this.show();
  }

  show() {
    const known = this.chats.some((chat) => chat.key === this.key);
    const all = known || !this.key ? this.chats : [{ key: this.key, title: "", busy: false }, ...this.chats];
    const chats = all.map((chat) => (chat.key === this.key && this.busy !== undefined ? { ...chat, busy: this.busy } : chat));
    for (const key of this.rows.keys()) if (!chats.some((chat) => chat.key === key)) this.rows.delete(key);
    arrange(byId("chats"), chats.map((chat) => this.row(chat)));
    const current = chats.find((chat) => chat.key === this.key);
    const title = current ? titleOf(current) : "Chat";
    say(byId("title"), title);
    document.title = `${current?.busy ? "● " : ""}${title} · Interruptible Agents`;
  }

  row(chat) {
    if (!this.rows.has(chat.key)) {
      const link = make("a", { class: "chat-link", href: `#/${encodeURIComponent(chat.key)}`, on: { click: () => this.slide(false) } }, make("span", { class: "chat-title" }), make("span", { class: "chat-busy" }));
      this.rows.set(chat.key, make("li", {}, link));
    }
    const item = this.rows.get(chat.key);
    const link = item.firstChild;
    say(link.firstChild, titleOf(chat));
    link.title = chat.key;
    link.classList.toggle("busy", Boolean(chat.busy));
    say(link.lastChild, chat.busy ? "working" : "");
    if (chat.key === this.key) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    return item;
  }
}

function titleOf(chat) {
  return chat.title || (chat.last_turn_id ? chat.key : "New chat");
}
