// Owns a stream of events: fetch (EventSource cannot send a token), reconnecting, cursors. Knows no event.

import { authorization, refusal } from "./api.js";

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 10_000;
const HIDDEN_MS = 30_000; // a tab that nobody sees lets go of its line: browsers have six for all tabs of a server
const SILENCE_MS = 40_000; // the server pings every 15 s: after this long the line is dead

/** Cuts a text/event-stream into events. A line may come in pieces, and end in \n, \r\n or \r. */
export class EventParser {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.rest = "";
    this.data = [];
    this.id = undefined;
  }

  feed(text) {
    let buffer = this.rest + text;
    let from = 0;
    for (let at = nextEnd(buffer, from); at >= 0; at = nextEnd(buffer, from)) {
      if (buffer[at] === "\r" && at + 1 === buffer.length) break; // its \n may be on the way
      this.line(buffer.slice(from, at));
      from = at + (buffer[at] === "\r" && buffer[at + 1] === "\n" ? 2 : 1);
    }
    this.rest = buffer.slice(from);
  }

  line(line) {
    if (line === "") {
      if (this.data.length) this.onEvent(this.data.join("\n"), this.id);
      this.data = [];
      this.id = undefined;
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "data") this.data.push(value);
    else if (field === "id") this.id = value;
  }
}

function nextEnd(buffer, from) {
  const feed = buffer.indexOf("\n", from);
  const back = buffer.indexOf("\r", from);
  return feed < 0 ? back : back < 0 ? feed : Math.min(feed, back);
}

/** The stream at a path, for as long as it is not closed. Listeners: onData(text), onState("live" | "away" | "asleep" | "refused", message). */
export class Stream {
  constructor(path, { onData, onState }) {
    this.path = path;
    this.onData = onData;
    this.onState = onState;
    this.cursor = null;
    this.closed = false;
    this.wake = () => {};
    this.asleep = false;
    this.online = () => this.seen();
    window.addEventListener("online", this.online);
    document.addEventListener("visibilitychange", this.online);
    this.seen();
    void this.run();
  }

  close() {
    this.closed = true;
    clearTimeout(this.bedtime);
    window.removeEventListener("online", this.online);
    document.removeEventListener("visibilitychange", this.online);
    this.controller?.abort();
    this.wake();
  }

  /** The tab was hidden or is seen again, or the network is back. */
  seen() {
    clearTimeout(this.bedtime);
    if (document.hidden) this.bedtime = setTimeout(() => this.sleep(), HIDDEN_MS);
    this.wake();
  }

  sleep() {
    this.asleep = true;
    this.controller?.abort();
  }

  async run() {
    let wait = FIRST_WAIT_MS;
    while (!this.closed) {
      if (this.asleep) await this.awake();
      let message = "";
      try {
        await this.read(() => (wait = FIRST_WAIT_MS));
      } catch (error) {
        if (this.closed) return;
        message = error?.status ? error.message : "";
        if (error?.definite || error?.status === 401) {
          this.onState("refused", message);
          return;
        }
      }
      if (this.closed) return;
      if (this.asleep) continue;
      this.onState("away", message);
      await this.pause(wait * (0.75 + Math.random() / 2)); // not all tabs in the same moment
      wait = Math.min(wait * 2, LONGEST_WAIT_MS);
    }
  }

  async read(onLive) {
    const controller = (this.controller = new AbortController());
    const headers = { accept: "text/event-stream", ...authorization() };
    if (this.cursor !== null) headers["last-event-id"] = this.cursor;
    let guard = setTimeout(() => controller.abort(), SILENCE_MS);
    try {
      const response = await fetch(this.path, { headers, signal: controller.signal, cache: "no-store" });
      if (!response.ok) throw await refusal(response);
      const parser = new EventParser((data, id) => this.take(data, id));
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      onLive();
      this.onState("live", "");
      for (;;) {
        const { done, value } = await reader.read();
        if (done || this.closed) return;
        clearTimeout(guard);
        guard = setTimeout(() => controller.abort(), SILENCE_MS);
        parser.feed(decoder.decode(value, { stream: true }));
      }
    } finally {
      clearTimeout(guard);
      controller.abort();
    }
  }

  take(data, id) {
    if (this.closed) return;
    if (id !== undefined) this.cursor = id;
    this.onData(data);
  }

  /** Wait until somebody looks. */
  async awake() {
    this.onState("asleep", "");
    while (document.hidden && !this.closed) await new Promise((resolve) => (this.wake = resolve));
    this.asleep = false;
  }

  pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        if (!this.closed && document.hidden) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
