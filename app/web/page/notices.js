// Owns the notices above the message box: what went wrong and what to do. They go by themselves.

import { byId, iconButton, make } from "./dom.js";

const SHOWN_MS = 9000;
const MOST = 3;

let shown = 0; // counts the chats that were opened

/** Show a sentence; the same one twice is shown once. */
export function notice(text) {
  const list = byId("notices");
  for (const each of list.children) if (each.firstChild.textContent === text) each.remove();
  const element = make("div", { class: "notice" }, make("span", {}, text), iconButton("close", "Dismiss", () => element.remove()));
  list.append(element);
  while (list.children.length > MOST) list.firstChild.remove();
  setTimeout(() => element.remove(), SHOWN_MS);
}

/** Another chat is shown: what went wrong in the last one is not said here, nor what goes wrong there later. */
export function clearNotices() {
  shown += 1;
  byId("notices").replaceChildren();
}

/** Run an action of a person; if it fails, say so. Return what it gave, undefined if it failed. */
export async function attempt(action) {
  const chat = shown;
  try {
    return await action();
  } catch (error) {
    if (chat === shown) notice(error.message);
    return undefined;
  }
}
