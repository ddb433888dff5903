// Owns links of markdown: which addresses are safe, where an address begins and ends.

import { make } from "./dom.js";

const SAFE = new Set(["http:", "https:", "mailto:"]);

/** Return the address if a click on it can do no harm, else null. */
export function safeAddress(text) {
  const trimmed = text.trim();
  // Browsers skip control characters in a scheme: what has any, or did before it was made visible, is nobody's honest link.
  if (!/^(?:https?:\/\/|mailto:)/i.test(trimmed) || /[\u0000-\u0020\u007f-\u009f\u2028-\u202e\u2066-\u2069⟨⟩]/.test(trimmed)) return null;
  try {
    const url = new URL(trimmed);
    return SAFE.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

export function link(address, ...children) {
  return make("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

/** Return where the bracket that `text` begins with is closed, -1 for nowhere. */
export function closing(text) {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "[") depth += 1;
    else if (text[at] === "]" && (depth -= 1) === 0) return at;
  }
  return -1;
}

/** Return where the bracket around an address that begins at `from` is closed, -1 for nowhere. */
export function addressEnd(text, from) {
  let depth = 0;
  for (let at = from; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === "(") depth += 1;
    else if (text[at] === ")" && (depth -= 1) < 0) return at;
  }
  return -1;
}

/** A sentence goes on behind an address: its full stop is not part of it, nor is the bracket around it. */
export function withoutTail(address) {
  let end = address.search(/(?:&(?:lt|gt|quot);)/i); // an escaped bracket around it
  if (end < 0) end = address.length;
  for (; end > 8; end -= 1) {
    const char = address[end - 1];
    if (char === ")" && count(address, "(", end) >= count(address, ")", end)) break;
    if (!".,;:!?)*_~]".includes(char)) break;
  }
  return address.slice(0, end);
}

function count(text, char, end) {
  let found = 0;
  for (let at = 0; at < end; at += 1) if (text[at] === char) found += 1;
  return found;
}
