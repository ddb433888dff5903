// Owns how a block of code looks, and copying it.

import { copy, icon, make } from "./dom.js";

const SAID_MS = 1500;

/** Return a block with a button that copies: {element, code}; text goes into `code`. */
export function codeBlock(language) {
  const code = make("code");
  const button = make("button", { class: "copy", type: "button", "aria-label": "Copy code" }, icon("copy"), make("span", {}, "Copy"));
  button.addEventListener("click", () => copied(button, code));
  const head = make("div", { class: "code-head" }, make("span", {}, language), button);
  return { element: make("div", { class: "code" }, head, make("pre", { tabindex: "0" }, code)), code };
}

async function copied(button, code) {
  const worked = await copy(code.textContent);
  const label = button.lastChild;
  label.textContent = worked ? "Copied" : "Press Ctrl+C";
  if (!worked) getSelection().selectAllChildren(code);
  setTimeout(() => (label.textContent = "Copy"), SAID_MS);
}
