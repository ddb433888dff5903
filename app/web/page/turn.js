// Owns how one turn looks: what was asked, answers with their timeline, how it ended.

import { isOpen } from "./chat.js";
import { arrange, icon, make, say } from "./dom.js";
import { Files } from "./files.js";
import { Markdown } from "./markdown.js";
import { Steps } from "./steps.js";
import { Thought, tokensOf } from "./thought.js";

const MARKS = new Map([
  ["sending", { icon: "clock", word: "Sending" }],
  ["sent", { icon: "check", word: "Sent" }],
  ["read", { icon: "checks", word: "Read" }],
  ["failed", { icon: "alert", word: "Not sent" }],
]);
const ENDINGS = new Map([
  ["interrupted", "Interrupted"],
  ["rolled_back", "Rolled back: the agent does not see this turn any more"],
  ["withdrawn", "Withdrawn: the agent never got this"],
]);

/** One turn. `again(text, attachments)` is called when a person wants a failed message sent once more. */
export class TurnView {
  constructor(again) {
    this.again = again;
    this.element = make("section", { class: "turn" });
    this.nodes = new Map();
    this.thinking = make("p", { class: "thinking", "aria-hidden": "true" }, make("i"), make("i"), make("i"));
    this.ending = make("p", { class: "ending" });
    this.tokens = make("p", { class: "tokens" });
    this.failure = null;
  }

  /** `read` are the ids of messages that the model has; `key` is that of the chat. */
  show(turn, read, key) {
    this.key = key;
    this.element.dataset.status = turn.status;
    const groups = groupsOf(turn);
    const nodes = groups.map((group) => this.node(group, turn, read, groups));
    const writing = [...turn.texts.values()].some((text) => text.open && (text.chunks.length || text.thoughts.length));
    const acting = [...turn.calls.values()].some((call) => call.running);
    if (turn.status === "running" && !writing && !acting) nodes.push(this.thinking);
    const told = turn.status === "rolled_back" ? turn.error : null; // what was undone is no failure
    const ending = ENDINGS.get(turn.status) && [ENDINGS.get(turn.status), told].filter(Boolean).join(". ");
    if (ending && groups.length) {
      say(this.ending, ending);
      nodes.push(this.ending);
    }
    if (turn.error && !told) nodes.push(this.failureOf(turn));
    const used = isOpen(turn) ? null : tokensOf(turn.usage);
    if (used && groups.length) {
      say(this.tokens, used);
      nodes.push(this.tokens);
    }
    arrange(this.element, nodes);
    this.element.hidden = nodes.length === 0;
  }

  node(group, turn, read, groups) {
    const known = this.nodes.get(group.key);
    const node = known ?? (group.kind === "user" ? new Said() : new Answer());
    this.nodes.set(group.key, node);
    if (group.kind === "user") node.show(group.entry.content, markOf(group, turn, read, groups), { source: group.entry.source, key: this.key, attachments: group.entry.attachments });
    else node.show(group);
    return node.element;
  }

  failureOf(turn) {
    const limit = turn.status === "limit_reached";
    const last = turn.entries.findLast((entry) => entry.role === "user" && !entry.waits && !entry.source);
    if (!this.failure) {
      this.failureText = make("p", { class: "failure-text" });
      this.button = make("button", { class: "quiet", type: "button", on: { click: () => this.again(...this.failureAgain) } }, icon("again"), make("span"));
      this.failure = make("div", { class: "failure", role: "group", "aria-label": "This turn failed" }, icon("alert"), make("div", {}, this.failureText, this.button));
    }
    say(this.failureText, turn.error);
    say(this.button.lastChild, limit ? "Go on" : "Try again");
    this.failureAgain = limit ? ["Go on.", []] : [last?.content ?? "", last?.attachments ?? []];
    this.button.hidden = !this.failureAgain.some((each) => each.length);
    return this.failure;
  }
}

/** What a person said, or a background agent. */
export class Said {
  constructor() {
    this.text = make("div", { class: "bubble", dir: "auto" });
    this.mark = make("span", { class: "mark" });
    this.more = make("div", { class: "said-more" }, this.mark);
    this.files = new Files();
    this.element = make("article", { class: "said", "aria-label": "You" }, this.files.element, this.text, this.more);
  }

  show(content, mark, { source = null, key = "", attachments = [] } = {}) {
    say(this.text, content);
    this.text.hidden = !content;
    this.files.show(key, attachments);
    if (source && !this.source) {
      this.source = source;
      this.element.classList.add("by-agent");
      this.element.setAttribute("aria-label", `Background agent ${source}`);
      this.element.prepend(make("div", { class: "said-by" }, icon("agents"), make("span", {}, source)));
    }
    if (this.shown === mark) return;
    this.shown = mark;
    const { icon: name, word } = MARKS.get(mark);
    this.mark.dataset.mark = mark;
    this.mark.title = word;
    this.mark.replaceChildren(icon(name), make("span", { class: "hidden" }, word));
  }
}

/** One reply of the model, with the calls it asked for. */
class Answer {
  constructor() {
    this.body = make("div", { class: "markdown", dir: "auto" });
    this.thought = new Thought();
    this.steps = new Steps();
    this.cut = make("p", { class: "cut", hidden: true });
    this.element = make("article", { class: "answer", "aria-label": "Agent" }, this.thought.element, this.body, this.cut, this.steps.element);
    this.begin(null);
  }

  begin(source) {
    this.source = source; // the running text that is shown, null for none
    this.pieces = [];
    this.final = null;
    this.body.replaceChildren();
    this.markdown = new Markdown(this.body);
  }

  show({ entry, live, calls }) {
    if (entry) this.thought.showRecorded(entry.reasoning);
    else if (live) this.thought.showLive(live);
    if (entry) this.showRecorded(entry.content);
    else if (live) this.showLive(live);
    this.body.hidden = !this.body.firstChild;
    this.element.classList.toggle("writing", Boolean(!entry && live?.open));
    this.cut.hidden = !entry?.partial;
    if (entry?.partial) say(this.cut, entry.content ? "The text was cut off here" : "Cut off before the first word");
    this.steps.show(calls);
  }

  showLive(live) {
    if (this.source !== live) this.begin(live);
    for (let at = this.pieces.length; at < live.chunks.length; at += 1) {
      this.pieces.push(live.chunks[at]);
      this.markdown.append(live.chunks[at]);
    }
    if (!live.open && this.final === null) {
      this.final = this.pieces.join("");
      this.markdown.end();
    }
  }

  /** What is recorded goes on from what is shown, if it begins with that: nothing flickers. */
  showRecorded(content) {
    if (this.final === content) return;
    const shown = this.pieces.join("");
    if (this.final !== null || !content.startsWith(shown)) this.begin(null);
    this.markdown.append(this.pieces.length ? content.slice(shown.length) : content);
    this.markdown.end();
    this.final = content;
  }
}

/** Return what a turn shows, in order: {key, kind, entry, live, calls, place}. */
function groupsOf(turn) {
  const groups = [];
  const byPlace = new Map();
  let last = null;
  for (const entry of turn.entries) {
    if (entry.waits || entry.role === "system") continue;
    if (entry.role === "tool") {
      const call = last?.calls.find((each) => each.call_id === entry.tool_call_id && each.result === null);
      if (call) Object.assign(call, { state: entry.outcome ?? "ok", result: entry.content });
      continue;
    }
    const group = { key: `${entry.role}-${entry.place}`, kind: entry.role, place: entry.place, entry, live: null, calls: recordedCalls(entry, turn) };
    groups.push(group);
    if (entry.role === "assistant") byPlace.set(entry.place, (last = group));
  }
  for (const [place, live] of turn.texts) groups.push(running(place, live, byPlace));
  for (const call of turn.calls.values()) addCall(call, groups, byPlace);
  // A message that was handed over while a text runs stands behind it, as in the record.
  return groups.sort((a, b) => a.place - b.place || (a.kind === "user" ? -1 : 1));
}

function recordedCalls(entry, turn) {
  const state = isOpen(turn) ? "running" : "unknown";
  return (entry.tool_calls ?? []).map((call) => ({ call_id: call.call_id, name: call.name, arguments: call.arguments ?? "", state, result: null, progress: "" }));
}

function running(place, live, byPlace) {
  const group = { key: `assistant-${place}`, kind: "assistant", place, entry: null, live, calls: [] };
  byPlace.set(place, group);
  return group;
}

function addCall(call, groups, byPlace) {
  if (!byPlace.has(call.index)) groups.push(running(call.index, null, byPlace));
  const { calls } = byPlace.get(call.index);
  const known = calls.find((each) => each.call_id === call.call_id && each.result === null);
  const shown = { ...call, state: call.running ? "running" : "done" };
  if (known) Object.assign(known, shown);
  else calls.push(shown);
}

function markOf(group, turn, read, groups) {
  if (read.has(group.entry.message_id)) return "read";
  return groups.some((each) => each.kind === "assistant" && each.place > group.place) ? "read" : "sent";
}
