// Drives an official AG-UI client for pytest: a command as JSON on each line of stdin, an answer on each line of stdout.
// Usage: node drive.mjs 0|1 http://127.0.0.1:8000 [TOKEN]
import { createInterface } from "node:readline";

const [version, url, token] = process.argv.slice(2);
const { HttpAgent, runHttpRequest, transformHttpEventStream } = await import(`ag-ui-client-${version}`);
const headers = token ? { authorization: `Bearer ${token}` } : {};

// As CopilotKit's agent does it: the official HttpAgent itself has no connect().
class Agent extends HttpAgent {
  connect(input) {
    const address = this.url.replace(/run$/, "connect");
    return transformHttpEventStream(runHttpRequest(() => fetch(address, this.requestInit(input))));
  }
}

const agents = new Map();

function open({ as, thread }) {
  const agent = new Agent({ url: `${url}/agent/default/run`, threadId: thread, headers });
  const seen = { agent, events: [], error: null, running: null, waiting: [] };
  agent.subscribe({
    onEvent: ({ event }) => {
      seen.events.push(event);
      look(seen);
    },
    onMessagesChanged: () => look(seen),
    onRunFailed: ({ error }) => {
      seen.error = String(error.message ?? error);
    },
  });
  agents.set(as, seen);
}

function look(seen) {
  seen.waiting = seen.waiting.filter(({ holds, resolve }) => !(holds() && (resolve(), true)));
}

function found(as) {
  const seen = agents.get(as);
  if (!seen) throw new Error(`no agent ${as}`);
  return seen;
}

function report({ agent, events, error }) {
  return { messages: agent.messages, events, error };
}

const commands = {
  open,
  run({ as, message, runId, props, resume }) {
    const seen = found(as);
    Object.assign(seen, { events: [], error: null });
    if (message) seen.agent.addMessage({ role: "user", ...message });
    seen.running = seen.agent.runAgent({ runId, forwardedProps: props, ...(resume ? { resume } : {}) }).then(
      () => {},
      (error) => (seen.error = String(error.message ?? error)),
    );
  },
  connect({ as, runId }) {
    const seen = found(as);
    Object.assign(seen, { events: [], error: null });
    seen.running = seen.agent.connectAgent({ runId }).then(
      () => {},
      (error) => (seen.error = String(error.message ?? error)),
    );
  },
  async wait({ as }) {
    await found(as).running;
    return report(found(as));
  },
  // Wait until one of the messages contains a text.
  async until({ as, text }) {
    const seen = found(as);
    const holds = () => JSON.stringify(seen.agent.messages).includes(JSON.stringify(text).slice(1, -1));
    if (!holds()) await new Promise((resolve) => seen.waiting.push({ holds, resolve }));
    return report(seen);
  },
  abort({ as }) {
    found(as).agent.abortRun();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  // Not awaited here: while one command waits, others are carried out.
  Promise.resolve()
    .then(() => commands[command.do](command))
    .then((answer) => ({ id: command.id, answer: answer ?? null }))
    .catch((error) => ({ id: command.id, fault: String(error.stack ?? error) }))
    .then((answer) => console.log(JSON.stringify(answer)));
}
