// Owns the message box: drafts, keys, which mode a message gets. Sending itself is the chat's.

import { Attach } from "./attach.js";
import { byId, make, say } from "./dom.js";
import { ModeMenu, nameOf, otherThan } from "./modes.js";
import { attempt, notice } from "./notices.js";
import { draft } from "./storage.js";

const TALLEST_PX = 240;
const TOUCH = window.matchMedia("(hover: none) and (pointer: coarse)");
const MODIFIERS = new Set(["Alt", "AltGraph", "Control", "Meta", "Shift"]);
const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

export class Composer {
  constructor({ control, onSent }) {
    Object.assign(this, { control, onSent });
    for (const name of ["message", "mode", "hint", "stop", "send"]) this[name] = byId(name);
    this.modifier = false;
    this.unsaved = null; // "new" or "told": the box has an edit that came too late, and an Enter that is meant to save it may come
    this.menu = new ModeMenu(this.mode, {
      choose: (mode) => this.setMode(mode),
      once: (mode) => this.submit(mode),
      mayOnce: () => this.chat.busy && this.mayGo,
    });
    this.attach = new Attach({ onChange: () => this.show() });
    this.other = make("button", { class: "other-button", type: "button", on: { click: () => this.submit(otherThan(this.modeNow)) } });
    byId("send").before(this.other);
    this.listen();
  }

  listen() {
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit(null);
    });
    this.send.addEventListener("click", (event) => {
      if (!(event.shiftKey || event.ctrlKey || event.metaKey || event.altKey)) return;
      event.preventDefault();
      this.submit(otherThan(this.modeNow));
    });
    this.message.addEventListener("input", () => this.edited());
    this.message.addEventListener("keydown", (event) => this.key(event));
    this.message.addEventListener("pointerdown", () => this.meant());
    this.stop.addEventListener("keydown", (event) => event.repeat && event.preventDefault()); // held down it is one press
    this.stop.addEventListener("click", () => {
      this.control.escape();
      this.show();
    });
    for (const name of ["keydown", "keyup", "blur"]) window.addEventListener(name, (event) => this.modified(event));
  }

  open(chat) {
    this.chat = chat;
    this.unsaved = null;
    this.message.value = draft.of(chat.key);
    this.attach.open(chat);
    this.resize();
    this.show();
    if (!TOUCH.matches) this.message.focus();
  }

  get modeNow() {
    return this.chat.status?.mode ?? null;
  }

  key(event) {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key !== "Enter") {
      if (!MODIFIERS.has(event.key)) this.meant();
      return;
    }
    const flips = event.ctrlKey || event.metaKey || event.altKey;
    if (!flips && (event.shiftKey || TOUCH.matches)) return; // a new line
    event.preventDefault();
    if (this.unsaved) this.tellUnsaved();
    else this.submit(flips ? otherThan(this.modeNow) : null);
  }

  /** Send what is in the box; `mode` null leaves it to the chat. */
  submit(mode) {
    const content = this.message.value.trim();
    if (this.attach.busy) notice("Not sent yet: a file is still on its way. Send it when that is there, or remove the file.");
    if (!this.mayGo) return;
    this.unsaved = null;
    const files = this.attach.take();
    this.take("");
    this.sendText(content, mode, files);
    if (!TOUCH.matches) this.message.focus();
  }

  /** Whether there is a message, and all of its files are there. */
  get mayGo() {
    return !this.attach.busy && (this.message.value.trim() !== "" || this.attach.count > 0);
  }

  sendText(content, mode = null, attachments = []) {
    this.onSent();
    this.chat.outbox.send({ message_id: newId(), content, mode, attachments });
  }

  /** Put words into the box; what is there already stays before them. */
  keep(text) {
    const before = this.message.value.trim();
    this.take(before ? `${before}\n${text}` : text);
    this.message.focus();
  }

  /** Take the words of an edit that came too late. The first Enter is meant to save them: it sends nothing. */
  keepUnsaved(text) {
    this.keep(text);
    this.unsaved = "new";
  }

  tellUnsaved() {
    this.unsaved = "told";
    notice("Not sent: the message that you changed is with the agent already. Change a word or use the button to send this as another message.");
  }

  /** Who has been told, and goes on in the box, means it. */
  meant() {
    if (this.unsaved === "told" || !this.message.value.trim()) this.unsaved = null;
  }

  take(text) {
    this.message.value = text;
    this.edited();
  }

  edited() {
    draft.keep(this.chat.key, this.message.value);
    this.resize();
    this.show();
  }

  resize() {
    this.message.style.height = "auto";
    this.message.style.height = `${Math.min(this.message.scrollHeight, TALLEST_PX)}px`;
  }

  async setMode(mode) {
    const answer = await attempt(() => this.chat.call("set_mode", { mode }));
    if (!answer || !this.chat.status) return;
    this.chat.setStatus({ ...this.chat.status, mode: answer.mode });
    this.message.focus();
  }

  /** While the modifier is held, the button says what a click or Enter does then. */
  modified(event) {
    const held = event.type !== "blur" && (event.ctrlKey || event.metaKey || event.altKey);
    if (held === this.modifier) return;
    this.modifier = held;
    if (this.chat) this.show();
  }

  show() {
    const { chat } = this;
    const mode = this.modeNow;
    const other = otherThan(mode);
    const text = this.mayGo;
    this.menu.current = mode;
    say(byId("mode-name"), nameOf(mode));
    this.mode.title = "What a message does while the agent works";
    this.mode.setAttribute("aria-label", `Mode of this chat: ${nameOf(mode)}`);
    say(byId("send-name"), !chat.busy ? "Send" : nameOf(this.modifier ? other : mode));
    this.send.disabled = !text;
    this.send.classList.toggle("flipped", chat.busy && this.modifier);
    this.other.hidden = !(chat.busy && text);
    say(this.other, nameOf(other));
    this.other.title = `Send this message as: ${nameOf(other)} (${MAC ? "⌘" : "Ctrl"} Enter)`;
    const { ends } = this.control;
    this.stop.hidden = !chat.busy;
    say(this.stop.querySelector("span"), ends ? "Send all" : "Stop");
    this.stop.classList.toggle("resumes", ends);
    this.stop.setAttribute("aria-label", ends ? "Send all that is held" : "Stop the agent; what waits is held");
    this.showHint(mode, other);
  }

  showHint(mode, other) {
    const flip = MAC ? "⌘ Enter" : "Ctrl Enter";
    const parts = this.chat.busy ? [["Enter", nameOf(mode)], [flip, nameOf(other)]] : [["Enter", "send"], ["Shift Enter", "new line"]];
    const words = parts.map((part) => part.join(" ")).join(", ");
    if (this.hinted === words) return;
    this.hinted = words;
    this.hint.replaceChildren(...parts.flatMap(([keys, does]) => [...keys.split(" ").map((key) => make("kbd", {}, key)), make("span", {}, ` ${does.toLowerCase()} `)]));
  }
}

/** Return an id that nobody else has. `randomUUID` is only there on https and localhost. */
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
