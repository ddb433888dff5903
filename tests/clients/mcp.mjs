// Drives an official MCP client for pytest: calls a tool of a server, and tells as a JSON line what came of it.
// Usage: node mcp.mjs PACKAGE http://127.0.0.1:8000/mcp TOKEN TOOL ARGUMENTS
const [name, url, token, tool, written] = process.argv.slice(2);
const modern = name.endsWith("/client"); // the package for the protocol of 2026; that for those before is "/sdk"
const { Client } = await import(modern ? name : `${name}/client/index.js`);
const { StreamableHTTPClientTransport } = await import(modern ? name : `${name}/client/streamableHttp.js`);
const headers = token ? { authorization: `Bearer ${token}` } : {};
const client = new Client({ name: "npm", version: "1" }, modern ? { versionNegotiation: { mode: "auto" } } : {});
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
const told = [];
const call = { name: tool, arguments: JSON.parse(written) };
const options = { onprogress: ({ message }) => told.push(message), timeout: 60000 };
const result = await (modern ? client.callTool(call, options) : client.callTool(call, undefined, options));
const tools = (await client.listTools()).tools.map((each) => each.name);
const version = client.getNegotiatedProtocolVersion?.() ?? null;
console.log(JSON.stringify({ result, told, tools, version }));
await client.close();
