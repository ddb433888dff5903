// Owns the line behind the last turn that is summed up: what the agent sees in place of all before it, when it is opened.

import { chatPath, get } from "./api.js";
import { make, say } from "./dom.js";

export class SummaryLine {
  constructor() {
    this.text = make("p", { class: "summary-text", dir: "auto" });
    const label = make("summary", {}, "Summed up to here. The agent sees a summary of what is above.");
    this.element = make("details", { class: "summary", on: { toggle: () => this.element.open && void this.read() } }, label, this.text);
  }

  /** Put it where it belongs in the `list` of turns; `after(place)` is the element before which a place is. */
  show(chat, list, after) {
    const upTo = chat.status?.summary?.up_to_turn ?? 0;
    if (!chat.turns.has(upTo)) {
      this.element.remove();
      return;
    }
    if (this.chat === chat && this.upTo === upTo && this.element.isConnected) return;
    Object.assign(this, { chat, upTo });
    this.element.remove();
    this.element.open = false;
    this.element.dataset.turn = upTo + 0.5;
    say(this.text, "");
    list.insertBefore(this.element, after(upTo + 0.5));
  }

  async read() {
    const { chat, upTo } = this;
    let words = "It cannot be read now. Open it again.";
    try {
      const page = await get(`${chatPath(chat.key)}?before_turn=${upTo + 1}&limit=1`);
      words = page.entries.find((entry) => entry.role === "summary")?.content ?? words;
    } catch {
      // said above
    }
    if (this.chat === chat && this.upTo === upTo) say(this.text, words);
  }
}
