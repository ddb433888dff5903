// Owns the cards of tool calls that wait for a person: approve, reject with a reason, change the arguments; or answer.

import { arrange, byId, icon, make, say } from "./dom.js";
import { Form } from "./form.js";
import { attempt, notice } from "./notices.js";

export class Approvals {
  constructor() {
    this.section = byId("approvals");
    this.cards = new Map();
  }

  open(chat) {
    this.chat = chat;
    this.cards.clear();
    this.show();
  }

  show() {
    const { approvals } = this.chat;
    const known = this.cards;
    this.cards = new Map(approvals.map((each) => [each.approval_id, known.get(each.approval_id) ?? cardOf(this, each)]));
    arrange(this.section, [...this.cards.values()].map((card) => card.element));
    this.section.hidden = approvals.length === 0;
  }

  async decide(approval, decision) {
    const { call_id, approval_id } = approval;
    const answer = await attempt(() => this.chat.call("resolve_approval", { call_id, approval_id, ...decision }));
    if (answer && answer.result !== "applied") notice("Too late: that call does not wait any more.");
    return answer !== undefined;
  }
}

class Card {
  constructor(owner, approval) {
    this.owner = owner;
    this.approval = approval;
    const written = pretty(approval.arguments);
    this.written = written;
    this.editor = make("textarea", { class: "approval-arguments", rows: String(Math.min(8, written.split("\n").length)), spellcheck: "false", "aria-label": `Arguments of ${approval.name}, as JSON` });
    this.editor.value = written;
    this.reason = make("input", { class: "approval-reason", type: "text", maxlength: "1000", placeholder: "Reason, if you reject it", "aria-label": "Reason" });
    this.wrong = make("p", { class: "approval-wrong", role: "alert" });
    this.buttons = [
      make("button", { class: "quiet", type: "button", on: { click: () => this.approve() } }, icon("check"), "Approve"),
      make("button", { class: "quiet", type: "button", on: { click: () => this.decide({ decision: "reject", reason: this.reason.value.trim() }) } }, icon("close"), "Reject"),
    ];
    this.element = make("article", { class: "approval", "aria-label": `${approval.name} waits for your approval` },
      make("p", { class: "approval-head" }, make("strong", {}, approval.name), " waits for your approval ", untilOf(approval)),
      this.editor, this.wrong, make("div", { class: "approval-foot" }, this.reason, ...this.buttons),
    );
    this.element.dataset.approval = approval.approval_id;
  }

  /** Arguments that were changed go along; others are left as the agent wrote them. */
  approve() {
    if (this.editor.value === this.written) return this.decide({ decision: "approve" });
    const changed = read(this.editor.value);
    say(this.wrong, changed ? "" : "These arguments are no JSON object.");
    return changed ? this.decide({ decision: "approve", arguments: changed }) : undefined;
  }

  async decide(decision) {
    for (const button of this.buttons) button.disabled = true;
    await this.owner.decide(this.approval, decision);
    for (const button of this.buttons) button.disabled = false;
  }
}

function read(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** The card of a call that has begun, and asks something before it goes on. */
class QuestionCard {
  constructor(owner, approval) {
    this.owner = owner;
    this.approval = approval;
    const { message, answer_schema } = approval.question;
    this.form = new Form(answer_schema);
    this.reason = make("input", { class: "approval-reason", type: "text", maxlength: "1000", placeholder: "Reason, if you decline", "aria-label": "Reason" });
    this.buttons = [
      make("button", { class: "quiet", type: "button", on: { click: () => this.decide({ decision: "approve", answer: this.form.read() }) } }, icon("check"), "Answer"),
      make("button", { class: "quiet", type: "button", on: { click: () => this.decide({ decision: "reject", reason: this.reason.value.trim() }) } }, icon("close"), "Decline"),
    ];
    this.element = make("article", { class: "approval", "aria-label": `${approval.name} asks you` },
      make("p", { class: "approval-head" }, make("strong", {}, approval.name), " asks you ", untilOf(approval)),
      make("p", { class: "approval-question" }, message),
      this.form.element, make("div", { class: "approval-foot" }, this.reason, ...this.buttons),
    );
    this.element.dataset.approval = approval.approval_id;
  }

  async decide(decision) {
    for (const button of this.buttons) button.disabled = true;
    await this.owner.decide(this.approval, decision);
    for (const button of this.buttons) button.disabled = false;
  }
}

function cardOf(owner, approval) {
  return approval.question ? new QuestionCard(owner, approval) : new Card(owner, approval);
}

function untilOf(approval) {
  return approval.expires_at ? make("span", { class: "approval-until" }, `until ${new Date(approval.expires_at).toLocaleString()}`) : null;
}

/** Return arguments with one field a line. What changes when JavaScript reads it (big numbers, say) stays as it is. */
function pretty(text) {
  const value = read(text);
  if (value === null || JSON.stringify(value).replace(/\s/g, "") !== text.replace(/\s/g, "")) return text;
  return JSON.stringify(value, null, 2);
}
