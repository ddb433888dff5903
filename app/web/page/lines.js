// Owns what a line of markdown looks like, taken alone.

export const LONGEST_START = 400; // characters of a line that waits for its end before it is what it is

/** Take away the #s that may close a heading. */
export function withoutMarks(heading) {
  const last = heading.lastChild;
  const text = last?.nodeType === Node.TEXT_NODE ? last.data.trimEnd() : "";
  let end = text.length;
  while (text[end - 1] === "#") end -= 1;
  if (end < text.length && text[end - 1] === " ") last.data = text.slice(0, end).trimEnd();
}

/** Whether a line is a rule across the page. */
export function isRule(text) {
  if (text.length > LONGEST_START) return false;
  const bare = text.replaceAll(" ", "");
  return bare.length >= 3 && "-*_".includes(bare[0]) && bare.split(bare[0]).join("") === "";
}

/** Return how many blanks a line begins with. */
export function indentOf(text) {
  return text.length - text.trimStart().length;
}
