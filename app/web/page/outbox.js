// Owns messages on their way: shown at once, sent again with their ids until there is an answer, kept over a reload.

import { Refused, chatPath, post } from "./api.js";
import { unsent } from "./storage.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];

export class Outbox {
  /** `onReceipt(message, receipt)` hears what became of a message. */
  constructor(key, { onChange, onReceipt }) {
    Object.assign(this, { key, onChange, onReceipt });
    this.messages = new Map(); // by id: {message_id, content, mode, state: "sending" | "sent" | "failed", why}
    for (const each of unsent.of(key)) if (each?.message_id && each.content) this.messages.set(each.message_id, { ...each, state: "sending", why: "" });
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

  /** Send a message. With its id that may be done again and again. */
  send(message) {
    this.messages.set(message.message_id, { ...message, state: "sending", why: "" });
    return this.deliver(message.message_id);
  }

  /** Send again what had no answer when the page was closed. */
  resend() {
    for (const each of [...this.messages.values()]) if (each.state === "sending") void this.deliver(each.message_id);
  }

  async deliver(messageId) {
    const message = this.messages.get(messageId);
    if (!message) return;
    Object.assign(message, { state: "sending", why: "" });
    this.changed();
    for (let attempt = 0; this.messages.get(messageId) === message; attempt += 1) {
      try {
        const receipt = await post(chatPath(this.key, "messages"), bodyOf(message));
        message.state = "sent";
        this.onReceipt(message, receipt);
        break;
      } catch (error) {
        message.why = error.message;
        if (!(error instanceof Refused && error.passing) || attempt >= RETRY_MS.length) {
          message.state = "failed";
          break;
        }
        this.changed();
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS[attempt]));
      }
    }
    this.changed();
  }

  /** The message is in the record now, or its sender has taken it back. */
  drop(messageId) {
    if (this.messages.delete(messageId)) this.changed();
  }

  changed() {
    const left = [...this.messages.values()].filter((each) => each.state !== "sent");
    unsent.keep(this.key, left.map(({ message_id, content, mode }) => ({ message_id, content, mode })));
    this.onChange();
  }
}

function bodyOf({ message_id, content, mode }) {
  return { message_id, content, ...(mode ? { mode } : {}) };
}
