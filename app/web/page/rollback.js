// Owns "Stop and undo…": asks what a rollback would undo, shows that to the person, and has it done. Undoes nothing unasked.

import { chatPath, get } from "./api.js";
import { byId, make, say } from "./dom.js";
import { attempt, notice } from "./notices.js";

export class Rollback {
  constructor(control) {
    this.control = control;
    this.button = byId("undo");
    this.dialog = byId("undo-dialog");
    this.button.addEventListener("click", () => this.ask());
    this.dialog.addEventListener("close", () => this.closed());
  }

  open(chat) {
    this.chat = chat;
    this.asked = null; // the preview that the person looks at
    if (this.dialog.open) this.dialog.close("cancel");
    this.show();
  }

  show() {
    this.button.hidden = !this.chat.busy;
  }

  async ask() {
    const { chat } = this;
    this.button.disabled = true;
    const preview = await attempt(() => get(chatPath(chat.key, "preview_rollback")));
    this.button.disabled = false;
    if (chat !== this.chat || !preview || this.dialog.open) return;
    if (preview.turn_id === null) {
      notice("Nothing runs that could be undone.");
      return;
    }
    this.asked = preview;
    this.list("undo-done", preview.undone);
    this.list("undo-left", preview.irreversible);
    say(byId("undo-none"), preview.undone.length + preview.irreversible.length ? "" : "No call of this turn has a result yet.");
    this.dialog.returnValue = "cancel";
    this.dialog.showModal();
  }

  list(id, calls) {
    const items = calls.map((call) => make("li", {}, make("strong", {}, call.name), " ", make("span", { class: "undo-arguments" }, this.argumentsOf(call))));
    byId(id).querySelector("ul").replaceChildren(...items);
    byId(id).hidden = calls.length === 0;
  }

  /** Return what a call was asked to do, as the record has it. */
  argumentsOf({ call_id, name }) {
    const entries = this.chat.turns.get(this.asked.turn_id)?.entries ?? [];
    const calls = entries.flatMap((entry) => entry.tool_calls ?? []).filter((call) => call.call_id === call_id && call.name === name);
    return calls.at(-1)?.arguments ?? "";
  }

  async closed() {
    const { asked } = this;
    this.asked = null;
    this.button.focus();
    if (!asked || this.dialog.returnValue !== "undo") return;
    const answer = await this.control.stop("hold", { turn_id: asked.turn_id, rollback: true });
    if (answer && !answer.stopped) notice("Too late: that turn is over. Nothing was undone.");
  }
}
