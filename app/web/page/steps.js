// Owns the timeline of tool calls under an answer: name, arguments, how it goes, result.

import { arrange, icon, make, say } from "./dom.js";

const OUTCOMES = new Map([
  ["ok", { word: "done", icon: "check" }],
  ["failed", { word: "failed", icon: "alert" }],
  ["skipped", { word: "not started", icon: "pause" }],
  ["unknown", { word: "ended early; it may have run", icon: "alert" }],
  ["running", { word: "running", icon: null }],
  ["done", { word: "done", icon: "check" }],
]);
const BRIEF = 90;
const SHOWN = 20_000; // characters of a result that are put on the page at once

/** The calls of one answer. */
export class Steps {
  constructor() {
    this.element = make("ol", { class: "steps", "aria-label": "Tool calls", hidden: true });
    this.nodes = new Map();
  }

  /** `calls`: {call_id, name, arguments, state, result, progress} in order. */
  show(calls) {
    this.element.hidden = calls.length === 0;
    const wanted = calls.map((call, at) => {
      const key = `${at}:${call.call_id}`;
      if (!this.nodes.has(key)) this.nodes.set(key, new Step());
      const step = this.nodes.get(key);
      step.show(call);
      return step.element;
    });
    arrange(this.element, wanted);
  }
}

class Step {
  constructor() {
    this.dot = make("span", { class: "step-dot", "aria-hidden": "true" });
    this.name = make("span", { class: "step-name" });
    this.brief = make("span", { class: "step-brief" });
    this.outcome = make("span", { class: "step-outcome" });
    this.progress = make("p", { class: "step-progress", hidden: true });
    this.body = make("div", { class: "step-body" });
    const summary = make("summary", {}, this.name, this.brief, this.outcome, icon("chevron"));
    this.details = make("details", { on: { toggle: () => this.fill() } }, summary, this.body);
    this.element = make("li", { class: "step" }, this.dot, this.details, this.progress);
  }

  show(call) {
    this.call = call;
    const outcome = OUTCOMES.get(call.state) ?? OUTCOMES.get("unknown");
    this.element.dataset.state = OUTCOMES.has(call.state) ? call.state : "unknown";
    if (this.drawn !== call.state) {
      this.drawn = call.state;
      this.dot.replaceChildren(...(outcome.icon ? [icon(outcome.icon)] : []));
    }
    say(this.name, call.name);
    say(this.brief, brief(call.arguments));
    say(this.outcome, outcome.word);
    this.progress.hidden = !(call.state === "running" && call.progress);
    say(this.progress, call.progress || "");
    if (this.details.open) this.fill();
  }

  /** The details are made when somebody opens them. */
  fill() {
    if (!this.details.open) return;
    const { call } = this;
    const filled = `${call.arguments} ${call.result}`;
    if (this.filled === filled) return;
    this.filled = filled;
    this.body.replaceChildren(...part("Arguments", indented(call.arguments)), ...(call.result === null ? [] : part("Result", call.result)));
  }
}

function part(title, text) {
  const cut = text.length > SHOWN;
  const shown = cut ? `${text.slice(0, SHOWN)}\n… ${text.length - SHOWN} more characters` : text;
  return [make("h4", {}, title), make("pre", { tabindex: "0" }, shown || "(empty)")];
}

/** Return arguments on one line, without the braces that all have. */
function brief(text) {
  const flat = text.slice(0, 600).replace(/\s+/g, " ").trim();
  const values = valuesOf(text);
  const said = values === null ? flat : values;
  return said.length > BRIEF ? `${said.slice(0, BRIEF)}…` : said;
}

function valuesOf(text) {
  if (text.length > 5000) return null;
  try {
    const found = JSON.parse(text);
    if (!found || typeof found !== "object" || Array.isArray(found)) return null;
    const values = Object.entries(found);
    return values.map(([name, value]) => (values.length === 1 ? flatText(value) : `${name}: ${flatText(value)}`)).join(" · ");
  } catch {
    return null;
  }
}

function flatText(value) {
  return (typeof value === "string" ? value : JSON.stringify(value)).slice(0, 300).replace(/\s+/g, " ");
}

function indented(text) {
  if (text.length > SHOWN) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
