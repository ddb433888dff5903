// Owns what is known of one chat: turns, running text, status, messages on their way. Draws nothing.
//
// What the record says wins over what runs: a running text is there until the record shows the entry in its place.

import { chatPath, get, post } from "./api.js";
import { outboxOf } from "./outbox.js";

const OPEN = new Set(["queued", "running"]);
const STARTS = new Set(["started", "interrupted", "rolled_back"]); // of the decisions in a receipt
export const FIRST_TURNS = 12;
const MORE_TURNS = 25;

export function isOpen(turn) {
  return OPEN.has(turn.status);
}

/** A turn as the page keeps it. `texts` (by index) and `calls` (by id) are what runs and is not in the record yet. */
function blankTurn(turnId) {
  return { turn_id: turnId, status: "running", mode: null, entries: [], error: null, usage: null, started_at: null, ended_at: null, texts: new Map(), calls: new Map(), seen: 0 };
}

export class Chat {
  /** `onChange(what, turnId)`: what is "turn", "status", "outbox", "all", "link" or "answer". */
  constructor(key, onChange) {
    this.key = key;
    this.onChange = onChange;
    this.turns = new Map();
    this.status = null;
    this.read = new Set(); // ids of messages that the model has
    this.outbox = outboxOf(key);
    this.outbox.tell({ onChange: () => onChange("outbox"), onReceipt: (message, receipt) => STARTS.has(receipt?.decision) && this.place(message, receipt.turn_id) });
    this.link = { state: "joining", message: "" };
    this.older = null; // the turn before which there is more; null: nothing
    this.clock = 0; // counts what came by the stream, so that an older page never replaces what is newer
    this.loaded = false;
  }

  // The record

  /** Read the newest turns. Errors: Refused. */
  async loadNewest() {
    const page = await this.loadPage(`?limit=${FIRST_TURNS}`);
    this.older = page.next_before_turn ?? null;
    this.loaded = true;
    this.onChange("all");
  }

  /** Read turns before the oldest that is known; return whether there were any. Errors: Refused. */
  async loadOlder() {
    if (this.older === null) return false;
    const page = await this.loadPage(`?before_turn=${this.older}&limit=${MORE_TURNS}`);
    this.older = page.next_before_turn ?? null;
    return true;
  }

  /** Read again what may have changed while the line was away. Errors: Refused. */
  async refresh() {
    const newest = Math.max(0, ...this.turns.keys());
    const asked = this.clock;
    const page = await get(`${chatPath(this.key)}?limit=50`);
    const next = page.next_before_turn ?? null;
    if (next !== null && next > newest + 1) {
      this.turns.clear(); // more has passed than one page holds: begin as after a reload
      this.older = next;
    }
    this.takePage(page, asked);
    this.onChange("all");
  }

  async loadPage(query) {
    const asked = this.clock;
    const page = await get(chatPath(this.key) + query);
    this.takePage(page, asked);
    return page;
  }

  takePage(page, asked) {
    const byTurn = new Map();
    for (const entry of page.entries) {
      if (entry.role === "summary") continue; // it is no part of the turn, see summary.js
      if (!byTurn.has(entry.turn_id)) byTurn.set(entry.turn_id, []);
      byTurn.get(entry.turn_id).push(entry);
    }
    for (const [turnId, entries] of byTurn) {
      if ((this.turns.get(turnId)?.seen ?? -1) > asked) continue; // the stream was faster
      const error = entries.find((each) => each.role === "system")?.content ?? null;
      const told = entries.find((each) => each.index !== undefined || each.role !== "user") ?? entries[0];
      const usage = (page.turns ?? []).find((each) => each.turn_id === turnId)?.usage ?? null;
      this.putTurn({ turn_id: turnId, status: told.status, entries, error, usage }, asked);
    }
  }

  putTurn(view, seen) {
    const turn = this.turns.get(view.turn_id) ?? blankTurn(view.turn_id);
    const wasOpen = this.turns.has(view.turn_id) && isOpen(turn);
    const waited = this.status?.open_turns.find((each) => each.turn_id === turn.turn_id)?.waiting ?? [];
    turn.waited = new Set([...turn.entries, ...waited].map((each) => each.message_id).filter(Boolean)); // until now
    const { turn_id, status, mode = turn.mode, entries = [], error = null, usage = turn.usage, started_at = turn.started_at, ended_at = turn.ended_at } = view;
    Object.assign(turn, { turn_id, status, mode, entries: withPlaces(entries), error, usage, started_at, ended_at, seen });
    for (const entry of turn.entries) {
      if (entry.role === "assistant") turn.texts.delete(entry.place);
      if (entry.role === "tool" && hasResult(entry, entry.tool_call_id, turn.calls.get(entry.tool_call_id)?.index)) turn.calls.delete(entry.tool_call_id);
      if (entry.message_id) this.outbox.drop(entry.message_id);
    }
    if (!isOpen(turn)) {
      turn.texts.clear();
      turn.calls.clear();
    }
    this.turns.set(turn.turn_id, turn);
    this.onChange("turn", turn.turn_id);
    if (wasOpen && !isOpen(turn)) this.onChange("answer", turn.turn_id);
  }

  // The stream

  /** Take one AG-UI event. What is not known is left alone. */
  apply(event) {
    this.clock += 1;
    switch (event.type) {
      case "STATE_SNAPSHOT":
        return this.setStatus(event.snapshot);
      case "CUSTOM":
        return this.custom(event.name, event.value);
      case "TEXT_MESSAGE_START":
        return this.startText(event);
      case "TEXT_MESSAGE_CONTENT":
        return this.withText(event.messageId, (text) => text.chunks.push(event.delta));
      case "TEXT_MESSAGE_END":
        return this.withText(event.messageId, (text) => (text.open = false));
      case "REASONING_MESSAGE_CONTENT":
        return this.withThought(event, (text) => text.thoughts.push(event.delta));
      case "TOOL_CALL_START":
        return this.startCall(event);
      case "TOOL_CALL_ARGS":
        return this.withCall(event.toolCallId, (call) => (call.arguments += event.delta));
      case "TOOL_CALL_RESULT":
        return this.withCall(event.toolCallId, (call) => Object.assign(call, { result: event.content, running: false }));
      default:
        return undefined;
    }
  }

  setStatus(status) {
    const before = this.status;
    this.status = status;
    this.unavailable = "";
    if (status.last_turn_id === 0 && before && before.last_turn_id > 0) this.forgotten();
    for (const each of status.held ?? []) this.outbox.drop(each.message_id);
    for (const turn of status.open_turns) for (const each of turn.waiting) this.outbox.drop(each.message_id);
    this.onChange("status");
  }

  forgotten() {
    this.turns.clear();
    this.read.clear();
    this.older = null;
    this.onChange("all");
  }

  custom(name, value) {
    if (name === "turn") this.putTurn(value, this.clock);
    else if (name === "read") {
      for (const id of value.message_ids) {
        this.read.add(id);
        const message = this.outbox.get(id) ?? [...this.waiting, ...this.held].find((each) => each.message_id === id);
        if (message) this.place(message, value.turn_id);
      }
      this.onChange("turn", value.turn_id);
    } else if (name === "progress") this.withCall(value.call_id, (call) => (call.progress = value.text));
    else if (name === "unavailable") {
      this.unavailable = value.message;
      this.onChange("status");
    }
  }

  startText({ messageId, rawEvent }) {
    const place = placeOf(messageId, rawEvent);
    if (!place) return;
    const turn = this.turnOf(place.turnId);
    if (turn.entries.some((entry) => entry.role === "assistant" && entry.place === place.index)) return;
    turn.texts.set(place.index, { id: messageId, chunks: [], thoughts: [], open: true, seen: performance.now() });
    this.onChange("turn", turn.turn_id);
  }

  withText(messageId, change) {
    for (const turn of this.turns.values()) {
      if (!isOpen(turn)) continue;
      for (const text of turn.texts.values()) {
        if (text.id !== messageId) continue;
        change(text);
        this.onChange("turn", turn.turn_id);
        return;
      }
    }
  }

  /** Thoughts lead to the text at their place, whichever attempt writes it. */
  withThought({ messageId }, change) {
    const place = placeOf(messageId);
    const turn = place ? this.turns.get(place.turnId) : undefined;
    const text = turn && isOpen(turn) ? turn.texts.get(place.index) : undefined;
    if (!text) return;
    change(text);
    this.onChange("turn", turn.turn_id);
  }

  startCall({ toolCallId, toolCallName, parentMessageId, rawEvent }) {
    const place = placeOf(parentMessageId ?? "", rawEvent);
    const turn = place ? this.turnOf(place.turnId) : this.newestOpen();
    if (!turn || turn.entries.some((entry) => hasResult(entry, toolCallId, place?.index))) return;
    const call = { call_id: toolCallId, name: toolCallName, arguments: "", index: place?.index ?? Infinity, running: true, result: null, progress: "" };
    turn.calls.set(toolCallId, call);
    this.onChange("turn", turn.turn_id);
  }

  withCall(callId, change) {
    for (const turn of this.turns.values()) {
      const call = isOpen(turn) ? turn.calls.get(callId) : undefined;
      if (!call) continue;
      change(call);
      this.onChange("turn", turn.turn_id);
      return;
    }
  }

  /** A message that begins a turn stands in it at once: its answer may be heard of before the record has it. */
  place({ message_id, content, source, attachments }, turnId) {
    const turn = this.turnOf(turnId);
    const there = turn.entries.filter((entry) => !entry.waits);
    if (there.some((entry) => !entry.early || entry.message_id === message_id)) return; // the record knows better
    turn.entries = [...there, { role: "user", content, message_id, source, attachments, turn_id: turnId, status: "running", place: there.length, early: true }];
    this.outbox.drop(message_id);
    this.onChange("turn", turnId);
  }

  turnOf(turnId) {
    if (!this.turns.has(turnId)) this.turns.set(turnId, blankTurn(turnId));
    return this.turns.get(turnId);
  }

  newestOpen() {
    return [...this.turns.values()].filter(isOpen).sort((a, b) => a.turn_id - b.turn_id)[0];
  }

  /** The line went away or came back. After a break the record is read again: turns may have passed unseen. */
  async setLink(state, message) {
    const came = state === "live" && (this.link.state === "away" || this.link.state === "asleep");
    this.link = { state, message };
    this.onChange("link");
    if (!came || !this.loaded) return;
    try {
      await this.refresh();
    } catch {
      // The stream says what is wrong, and the next break tries again.
    }
  }

  // What a person does

  /** Call another handler of the chat. Errors: Refused. */
  call(handler, body = {}) {
    return post(chatPath(this.key, handler), body);
  }

  /** Whether a turn is open; its text may be here before the status that tells of it. */
  get busy() {
    const known = this.status?.last_turn_id ?? 0;
    return Boolean(this.status?.busy) || [...this.turns.values()].some((turn) => turn.status === "running" && turn.turn_id > known);
  }

  /** Messages that wait behind the open turns, in order. */
  get waiting() {
    return (this.status?.open_turns ?? []).flatMap((turn) => turn.waiting);
  }

  get held() {
    return this.status?.held ?? [];
  }

  /** Tool calls that a person must approve. */
  get approvals() {
    return (this.status?.open_turns ?? []).flatMap((turn) => turn.approvals ?? []);
  }

  /** Whether a message is with another turn than the one that it waited in. */
  isElsewhere(messageId) {
    const known = [...this.waiting, ...[...this.turns.values()].flatMap((turn) => turn.entries)];
    return known.some((each) => each.message_id === messageId);
  }
}

/** Give each entry that is in the transcript its place there; older servers leave it out. */
function withPlaces(entries) {
  let next = 0;
  return entries.map((entry) => {
    const waits = entry.role === "user" && (entry.held || (entry.status === "queued" && entry.index === undefined));
    if (waits || entry.role === "system") return { ...entry, waits, place: null };
    const place = entry.index ?? next;
    next = place + 1;
    return { ...entry, waits: false, place };
  });
}

/** Whether an entry is the result of a call made at `index`. Some LLMs use the same ids again in every reply. */
function hasResult(entry, callId, index = -1) {
  return entry.role === "tool" && entry.tool_call_id === callId && entry.place > index;
}

function placeOf(messageId, raw) {
  if (Number.isInteger(raw?.turnId) && Number.isInteger(raw?.index)) return raw;
  const found = /^(\d+)-(\d+)(?:-|$)/.exec(messageId);
  return found ? { turnId: Number(found[1]), index: Number(found[2]) } : null;
}
