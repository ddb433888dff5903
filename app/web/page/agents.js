// Owns the panel of background agents: which there are, how it is with them, what they brought.

import { get } from "./api.js";
import { arrange, byId, icon, make, say, visible } from "./dom.js";
import { Stream } from "./stream.js";

const EVERY_MS = 3000;
const SHOWN = 20_000; // characters of a result, and of what is streamed
const ENDED = new Set(["completed", "failed", "cancelled", "terminated"]);

export class Agents {
  constructor() {
    this.panel = byId("agents");
    this.list = byId("agents-list");
    this.rows = new Map();
    byId("agents-open").addEventListener("click", () => (this.panel.hidden ? this.show() : this.hide()));
    byId("agents-close").addEventListener("click", () => this.hide());
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.hide();
    });
    setInterval(() => this.panel.hidden || document.hidden || this.load(), EVERY_MS);
  }

  show() {
    this.panel.hidden = false;
    byId("agents-close").focus();
    void this.load();
  }

  hide() {
    this.panel.hidden = true;
    for (const row of this.rows.values()) row.close();
    byId("agents-open").focus();
  }

  async load() {
    let found;
    try {
      found = (await get("/agents")).agents;
    } catch (error) {
      this.list.replaceChildren(make("li", { class: "agents-none" }, error.message));
      return;
    }
    if (!found.length) {
      this.list.replaceChildren(make("li", { class: "agents-none" }, "No agent runs in the background. Start one from a chat, or by curl."));
      return;
    }
    arrange(this.list, found.map((agent) => this.row(agent)));
  }

  row(agent) {
    const id = String(agent.agent_id);
    if (!this.rows.has(id)) this.rows.set(id, new AgentRow(id));
    const row = this.rows.get(id);
    row.show(agent, id);
    return row.element;
  }
}

/** One agent. While its details are open, what its functions stream is shown as it comes. */
class AgentRow {
  constructor(id) {
    this.path = `/agents/${encodeURIComponent(id)}/events`;
    this.name = make("strong");
    this.state = make("span", { class: "agent-state" });
    this.id = make("code", { class: "agent-id" });
    this.facts = make("p", { class: "agent-facts" });
    this.result = make("pre", { tabindex: "0", hidden: true });
    this.output = make("pre", { class: "agent-output", tabindex: "0", "aria-label": "What it streams", hidden: true });
    this.details = make("details", { on: { toggle: () => this.watch() } }, make("summary", {}, "Details", icon("chevron")), this.facts, this.result, this.output);
    this.element = make("li", { class: "agent" }, make("div", { class: "agent-head" }, this.name, this.state), this.id, this.details);
  }

  show(agent, id) {
    const state = String(agent.status ?? "unknown").toLowerCase();
    this.ended = ENDED.has(state);
    say(this.name, String(agent.agent_name ?? "Agent"));
    say(this.state, agent.blocked ? "stands still" : state.replaceAll("_", " "));
    this.element.dataset.state = state;
    say(this.id, id);
    const facts = [[agent.events, "events"], [agent.run_number, "runs"]].filter(([value]) => Number.isInteger(value)).map(([value, what]) => `${value} ${value === 1 ? what.slice(0, -1) : what}`);
    const places = [agent.task_queue && `queue ${agent.task_queue}`, agent.parent_id && `child of ${agent.parent_id}`];
    say(this.facts, [...facts, ...places.filter(Boolean)].join(" · "));
    const brought = agent.failure ?? agent.result;
    this.result.hidden = brought === null || brought === undefined;
    say(this.result, this.result.hidden ? "" : (typeof brought === "string" ? brought : JSON.stringify(brought, null, 2)).slice(0, SHOWN));
  }

  watch() {
    this.stream?.close();
    this.stream = null;
    if (!this.details.open || this.ended || !this.element.isConnected) return;
    this.stream = new Stream(this.path, { onData: (piece) => this.streamed(piece), onState: () => {} });
  }

  streamed(piece) {
    this.output.hidden = false;
    this.output.textContent = (this.output.textContent + visible(piece)).slice(-SHOWN);
    this.output.scrollTop = this.output.scrollHeight;
  }

  close() {
    this.details.open = false;
    this.stream?.close();
  }
}
