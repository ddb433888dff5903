// Owns messages on their way: shown at once, posted one after the other until each has an answer, kept over a reload.
//
// The next one is posted only when the one before it has an answer: so they arrive in the order in which they were typed.

import { chatPath, post } from "./api.js";
import { unsent } from "./storage.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 5000;
const ANSWER_MS = 30_000; // after this long a request has no answer, and those behind it wait no more for it
const TOO_LARGE = 413;

const outboxes = new Map(); // by chat: one each, for as long as the page is open

/** Return the outbox of a chat. */
export function outboxOf(key) {
  if (!outboxes.has(key)) outboxes.set(key, new Outbox(key));
  return outboxes.get(key);
}

/** Send what has no answer yet, whichever chat it is for. */
export function wakeOutboxes() {
  for (const key of new Set([...unsent.keys(), ...outboxes.keys()])) outboxOf(key).wake();
}

class Outbox {
  constructor(key) {
    this.key = key;
    this.messages = new Map(); // by id, in order: {message_id, content, mode, attachments, state: "sending" | "sent" | "failed", why, status}
    this.pumping = false;
    this.rouse = () => {};
    this.tell({ onChange: () => {}, onReceipt: () => {} });
    for (const each of unsent.of(key)) {
      if (!each?.message_id || !(each.content || each.attachments?.length)) continue;
      const failed = each.state === "failed";
      this.messages.set(each.message_id, { ...each, state: failed ? "failed" : "sending", why: failed ? each.why : "" });
    }
  }

  /** Whoever shows the chat hears what changes, and by `onReceipt(message, receipt)` what became of a message. */
  tell({ onChange, onReceipt }) {
    Object.assign(this, { onChange, onReceipt });
    for (const [id, each] of this.messages) if (each.state === "sent") this.messages.delete(id); // the record is read anew, and has it
  }

  get size() {
    return this.messages.size;
  }

  has(messageId) {
    return this.messages.has(messageId);
  }

  get(messageId) {
    return this.messages.get(messageId);
  }

  values() {
    return this.messages.values();
  }

  /** Send a message behind those that are on their way. */
  send({ message_id, content, mode = null, attachments = [] }) {
    this.messages.delete(message_id); // a refused one goes to the end
    this.messages.set(message_id, { message_id, content, mode, attachments, state: "sending", why: "" });
    this.changed();
    this.wake();
  }

  /** The line may be back: try now. */
  wake() {
    this.rouse();
    if (!this.pumping) void this.pump();
  }

  async pump() {
    this.pumping = true;
    try {
      let wait = FIRST_WAIT_MS;
      for (let message = this.next(); message; message = this.next()) {
        if (await this.deliver(message)) wait = FIRST_WAIT_MS;
        else {
          await this.pause(wait);
          wait = Math.min(wait * 2, LONGEST_WAIT_MS);
        }
      }
    } finally {
      this.pumping = false;
    }
  }

  next() {
    return [...this.messages.values()].find((each) => each.state === "sending");
  }

  pause(ms) {
    return new Promise((resolve) => {
      this.rouse = resolve;
      setTimeout(resolve, ms);
    });
  }

  /** Post one message. With its id that may be done again and again. Return whether there is an answer. */
  async deliver(message) {
    const isOurs = () => this.messages.get(message.message_id) === message;
    try {
      const receipt = await post(chatPath(this.key, "messages"), bodyOf(message), AbortSignal.timeout(ANSWER_MS));
      if (!isOurs()) return true;
      Object.assign(message, { state: "sent", why: "" });
      this.onReceipt(message, receipt);
    } catch (error) {
      if (!isOurs()) return true; // the record has it, or its sender has taken it back
      message.why = error.message;
      if (error.definite ?? true) Object.assign(message, { state: "failed", status: error.status });
    }
    this.changed();
    return message.state !== "sending";
  }

  /** The message is in the record now, or its sender has taken it back. */
  drop(messageId) {
    if (!this.messages.delete(messageId)) return;
    this.changed();
    this.rouse(); // the one behind it waits no more
  }

  changed() {
    const left = [...this.messages.values()].filter((each) => each.state !== "sent");
    unsent.keep(this.key, left.map(({ message_id, content, mode, attachments, state, why, status }) => ({ message_id, content, mode, attachments, state, why, status })));
    this.onChange();
  }
}

/** Whether a refused message may fare better as it is. */
export function mayGoAgain(message) {
  return message.status !== TOO_LARGE;
}

function bodyOf({ message_id, content, mode, attachments = [] }) {
  const files = attachments.map(({ file_id }) => ({ file_id }));
  return { message_id, content, ...(mode ? { mode } : {}), ...(files.length ? { attachments: files } : {}) };
}

window.addEventListener("online", wakeOutboxes);
