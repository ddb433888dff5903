// Owns what the model thought before an answer, folded away, and what a turn used.

import { icon, make, say, visible } from "./dom.js";

const SHOWN = 20_000; // characters that are put on the page; the record has all of them
const number = new Intl.NumberFormat("en");

/** The thoughts of one answer. They are plain text: a model thinks in whatever comes to it. */
export class Thought {
  constructor() {
    this.label = make("span");
    this.text = make("div", { class: "thought-text", dir: "auto" });
    this.details = make("details", {}, make("summary", {}, icon("chevron"), this.label), this.text);
    this.element = make("div", { class: "thought", hidden: true }, this.details);
    this.begin(null);
  }

  begin(source) {
    this.source = source; // the running text that is shown, null for what is recorded
    this.final = null;
    this.pieces = 0;
    this.chars = 0;
    this.shown = "";
    this.text.replaceChildren();
  }

  showLive(live) {
    if (this.source !== live) this.begin(live);
    for (; this.pieces < live.thoughts.length; this.pieces += 1) this.append(live.thoughts[this.pieces]);
    this.settle(live.open && !live.chunks.length);
  }

  /** What is recorded goes on from what is shown, so that it stays open where somebody reads it. */
  showRecorded(reasoning = "") {
    if (this.final !== reasoning) {
      if (!reasoning.startsWith(this.shown)) this.begin(null);
      this.final = reasoning;
      this.append(reasoning.slice(this.chars));
    }
    this.settle(false);
  }

  append(piece) {
    const room = SHOWN - this.chars;
    this.chars += piece.length;
    if (room <= 0) return;
    const part = piece.slice(0, room);
    this.shown += part;
    this.text.append(visible(part), piece.length > room ? "…" : "");
  }

  settle(running) {
    this.element.hidden = this.chars === 0;
    say(this.label, this.element.hidden ? "" : running ? "Thinking…" : "Thinking");
  }
}

/** Return what a turn used, in a line; null where there is nothing to say. */
export function tokensOf(usage) {
  if (!usage?.calls) return null;
  const unknown = usage.unmetered_calls ?? 0;
  const calls = (count) => `${number.format(count)} ${count === 1 ? "call" : "calls"}`;
  if (unknown >= usage.calls) return `Tokens unknown: ${calls(usage.calls)} to the model, not counted by its server`;
  const part = (count, word) => (count === undefined || count === null ? "" : ` (${number.format(count)} ${word})`);
  const read = `${number.format(usage.prompt_tokens)} tokens in${part(usage.cached_tokens, "cached")}`;
  const written = `${number.format(usage.completion_tokens)} out${part(usage.reasoning_tokens, "thinking")}`;
  return [read, written, unknown ? `${calls(unknown)} not counted` : ""].filter(Boolean).join(" · ");
}
