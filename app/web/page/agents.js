// Owns the panel of background agents: which there are, how it is with them, what they brought.

import { get } from "./api.js";
import { arrange, byId, icon, make, say } from "./dom.js";

const EVERY_MS = 3000;

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
    byId("agents-open").focus();
  }

  async load() {
    let found;
    try {
      const answer = await get("/agents");
      found = Array.isArray(answer) ? answer : (answer?.agents ?? []);
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
    const id = String(agent.agent_id ?? agent.id ?? "");
    if (!this.rows.has(id)) this.rows.set(id, new AgentRow());
    const row = this.rows.get(id);
    row.show(agent, id);
    return row.element;
  }
}

class AgentRow {
  constructor() {
    this.name = make("strong");
    this.state = make("span", { class: "agent-state" });
    this.id = make("code", { class: "agent-id" });
    this.body = make("pre", { tabindex: "0" });
    this.details = make("details", {}, make("summary", {}, "Details", icon("chevron")), this.body);
    this.element = make("li", { class: "agent" }, make("div", { class: "agent-head" }, this.name, this.state), this.id, this.details);
  }

  show(agent, id) {
    const state = String(agent.status ?? agent.state ?? "unknown");
    say(this.name, String(agent.agent_name ?? agent.name ?? agent.agent ?? "Agent"));
    say(this.state, state.toLowerCase().replaceAll("_", " "));
    this.element.dataset.state = state.toLowerCase();
    say(this.id, id);
    const { agent_id: _id, agent_name: _name, status: _status, ...rest } = agent;
    const said = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined);
    say(this.body, said.map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value, null, 2)}`).join("\n").slice(0, 20_000));
    this.details.hidden = said.length === 0;
  }
}
