// Owns the requests to the gateway: addresses, token, what an error says. Knows nothing of what is shown.

import { token } from "./storage.js";

/** An answer that is no success. `status` is 0 when nothing answered. `message` says what happened and what to do. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }

  /** Whether the same request may be sent again and do better. */
  get passing() {
    return [0, 408, 425, 429].includes(this.status) || this.status >= 500;
  }

  /** Whether the same request gets the same answer again. After a 401 the person signs in, and it may do better. */
  get definite() {
    return !this.passing && this.status !== 401;
  }
}

const NO_ANSWER = "The server does not answer. Check that it runs; this page tries again by itself.";
const SENTENCES = new Map([
  [401, "The token is not valid any more. Sign in again."],
  [403, "This chat is not yours. Choose one from the list, or start a new one."],
  [404, "The server does not know this. Reload the page; the server may be a newer version."],
  [413, "That is too long. Send it in parts."],
  [429, "That was too fast for the server. Wait a moment; what you have sent is tried again by itself."],
  [503, "The agent's record cannot be reached right now. It is tried again."],
]);

let onSignedOut = () => {};

/** Call `listener` when the server wants a (new) token. */
export function whenSignedOut(listener) {
  onSignedOut = listener;
}

export function authorization() {
  const value = token.get();
  return value ? { authorization: `Bearer ${value}` } : {};
}

/** Return the address of a chat's resource. */
export function chatPath(key, ...parts) {
  return ["/chats", encodeURIComponent(key), ...parts].join("/");
}

/** Return the JSON that answers a GET. Errors: Refused. */
export function get(path) {
  return request(path, { method: "GET" });
}

/** Return the JSON that answers a POST with a JSON body; `signal` gives it up. Errors: Refused. */
export function post(path, body = {}, signal = undefined) {
  return request(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });
}

/** Upload a file and return the JSON that answers; `onShare` hears which share of it has gone. Errors: Refused. */
export function upload(path, blob, name, onShare, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // `fetch` tells nothing of how far an upload is
    request.open("POST", path);
    const headers = { ...authorization(), "x-file-name": encodeURIComponent(name.toWellFormed?.() ?? name), "content-type": blob.type || "application/octet-stream" };
    for (const [header, value] of Object.entries(headers)) request.setRequestHeader(header, value);
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onShare(event.loaded / event.total));
    request.addEventListener("error", () => reject(new Refused(0, "The upload broke off. Check the connection, and add the file again.")));
    request.addEventListener("abort", () => reject(new Refused(0, "The upload was given up.")));
    request.addEventListener("load", async () => {
      const answer = new Response(request.responseText, { status: Math.max(request.status, 200) });
      if (answer.ok) resolve(await answer.json());
      else reject(await refusal(answer));
    });
    signal.addEventListener("abort", () => request.abort());
    request.send(blob);
  });
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...options.headers, ...authorization() }, cache: "no-store", credentials: "same-origin" });
  } catch {
    throw new Refused(0, NO_ANSWER);
  }
  if (response.ok) return response.status === 204 ? null : response.json().catch(() => null);
  throw await refusal(response);
}

/** Return the error that an answer tells of; a 401 shows the sign-in form too. */
export async function refusal(response) {
  const said = await response.json().catch(() => null);
  const words = said?.error?.message;
  if (response.status === 401) onSignedOut();
  const fallback = SENTENCES.get(response.status) ?? `The server answered ${response.status}. Try again; if it stays so, look into its log.`;
  return new Refused(response.status, typeof words === "string" && words && response.status !== 401 ? words : fallback);
}
