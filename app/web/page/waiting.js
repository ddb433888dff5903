// Owns the chips of messages that wait or are held: edit in place, send now, withdraw, resume.

import { arrange, byId, icon, iconButton, make, say } from "./dom.js";
import { nameOf } from "./modes.js";
import { attempt, notice } from "./notices.js";

const TOO_LATE = "The agent was given that message before you had changed it. Your words are in the message box; Enter does not send them.";

export class Waiting {
  /** `control` stops and resumes; `keep(text)` takes the text of an edit that came too late. */
  constructor({ control, keep }) {
    this.control = control;
    this.keep = keep;
    this.section = byId("waiting");
    this.chips = new Map();
    this.queue = new Tray("Waiting", "Stop and hold", "pause", () => control.stop("hold"));
    this.heldTray = new Tray("Held", "Send all", "play", () => control.resume());
  }

  open(chat) {
    this.chat = chat;
    this.chips.clear();
    this.show();
  }

  show() {
    const { chat } = this;
    const gone = new Set(this.chips.keys());
    const [waiting, held] = [chat.waiting, chat.held].map((messages, isHeld) =>
      messages.map((message) => {
        gone.delete(message.message_id);
        return this.chip(message, Boolean(isHeld));
      }),
    );
    for (const id of gone) this.taken(id);
    this.queue.show(waiting);
    this.heldTray.show(held);
    arrange(this.section, [this.heldTray, this.queue].filter((tray) => tray.count).map((tray) => tray.element));
    this.section.hidden = waiting.length + held.length === 0;
  }

  chip(message, held) {
    let chip = this.chips.get(message.message_id);
    if (!chip) {
      chip = new Chip(this, message.message_id);
      this.chips.set(message.message_id, chip);
    }
    chip.show(message, held);
    return chip.element;
  }

  /** A message waits no more. Whoever was changing it keeps the words. */
  taken(id) {
    const chip = this.chips.get(id);
    this.chips.delete(id);
    if (!chip.editor) return;
    this.keep(chip.editor.value);
    notice(TOO_LATE);
  }

  async change(handler, body) {
    const answer = await attempt(() => this.chat.call(handler, body));
    const late = answer?.result === "already_taken";
    if (late) notice(body.content ? TOO_LATE : "Too late: the agent has this message already.");
    if (late && body.content) this.keep(body.content);
  }
}

class Tray {
  constructor(title, action, name, onclick) {
    this.count = 0;
    this.title = make("span", { class: "tray-title" });
    this.name = title;
    this.list = make("ul", { class: "chips", "aria-label": `${title} messages` });
    const button = make("button", { class: "quiet", type: "button", on: { click: onclick } }, icon(name), action, make("kbd", {}, "Esc"));
    this.element = make("div", { class: `tray tray-${title.toLowerCase()}` }, make("div", { class: "tray-head" }, this.title, button), this.list);
  }

  show(chips) {
    this.count = chips.length;
    say(this.title, `${this.name} · ${chips.length}`);
    arrange(this.list, chips);
  }
}

class Chip {
  constructor(owner, messageId) {
    this.owner = owner;
    this.id = messageId;
    this.editor = null;
    this.text = make("button", { class: "chip-text", type: "button", title: "Change the text", dir: "auto", on: { click: () => this.edit() } });
    this.mode = make("span", { class: "chip-mode" });
    const change = (handler) => () => owner.change(handler, { message_id: this.id });
    this.resume = iconButton("play", "Resume this message", () => attempt(() => owner.chat.call("resume", { message_ids: [this.id] })));
    this.hold = iconButton("pause", "Hold until it is resumed", change("hold_queued_message"));
    this.tools = make("span", { class: "chip-tools" },
      iconButton("edit", "Edit", () => this.edit()),
      this.hold,
      this.resume,
      iconButton("bolt", "Send now, ahead of the others", change("promote_queued_message")),
      iconButton("close", "Withdraw", change("withdraw_queued_message")),
    );
    this.element = make("li", { class: "chip" }, this.text, this.mode, this.tools);
  }

  show(message, held) {
    this.content = message.content;
    const files = (message.attachments ?? []).map((file) => file.name).join(", ");
    say(this.text, message.content || files);
    say(this.mode, [message.source, message.content && files, nameOf(message.mode)].filter(Boolean).join(" · "));
    this.hold.hidden = held;
    this.resume.hidden = !held;
    this.element.dataset.message = this.id;
  }

  edit() {
    if (this.editor) return;
    this.editor = make("textarea", { class: "chip-editor", rows: "2", "aria-label": "Change the message. Enter saves, Escape leaves it as it was." });
    this.editor.value = this.content;
    this.editor.addEventListener("keydown", (event) => this.key(event));
    const save = make("button", { class: "quiet", type: "button", on: { click: () => this.save() } }, "Save");
    const leave = make("button", { class: "quiet", type: "button", on: { click: () => this.leave() } }, "Cancel");
    this.element.replaceChildren(this.editor, make("span", { class: "chip-tools" }, save, leave));
    this.editor.focus();
    this.editor.setSelectionRange(this.content.length, this.content.length);
  }

  key(event) {
    const saves = event.key === "Enter" && !event.shiftKey && !event.isComposing;
    if (!saves && event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation();
    if (saves) void this.save();
    else this.leave();
  }

  async save() {
    const content = this.editor.value.trim();
    const same = content === this.content;
    if (!content) return void this.owner.change("withdraw_queued_message", { message_id: this.id });
    const { id, owner } = this;
    this.content = content;
    say(this.text, content);
    this.leave();
    if (!same) await owner.change("edit_queued_message", { message_id: id, content });
  }

  leave() {
    this.editor = null;
    this.element.replaceChildren(this.text, this.mode, this.tools);
    this.text.focus();
  }
}
