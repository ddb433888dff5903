// Owns how elements are made: text goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

const TURNS = /[\u202a-\u202e\u2066-\u2069]/g; // they turn the order of what follows, also of what others wrote

/** Return a text in which nothing turns the order of the rest of the line: those characters are shown by their names. */
export function visible(text) {
  return text.replace(TURNS, (char) => `⟨U+${char.charCodeAt(0).toString(16).toUpperCase()}⟩`);
}

/** Return the element of the page with this id. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no #${id}`);
  return element;
}

/** Return a new element. `attributes`: `class`, `on` (listeners by event) and plain attributes; children are nodes or text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined).map((child) => (typeof child === "string" ? visible(child) : child)));
  return element;
}

/** Return an icon from the sprite in index.html; `name` is ours, never a stranger's. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Return a button that shows an icon and says its `label` to those who cannot see it. */
export function iconButton(name, label, onclick, kind = "icon-button small") {
  return make("button", { class: kind, type: "button", "aria-label": label, title: label, on: { click: onclick } }, icon(name));
}

/** Put `nodes` into `parent` in this order, moving as few as it takes: focus and selection stay where they are. */
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.childNodes]) if (!wanted.has(child)) child.remove();
  let place = parent.firstChild;
  for (const node of nodes) {
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
}

/** Set the text of an element if it is another one, so that screen readers hear changes only. */
export function say(element, text) {
  const shown = visible(text);
  if (element.textContent !== shown) element.textContent = shown;
}

/** Copy text; return whether that worked. On plain http browsers have no clipboard API. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { class: "hidden", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
