// Owns tables of markdown: rows of text to rows of a table.

import { make } from "./dom.js";
import { Inline } from "./inline.js";

const MOST_CELLS = 64;

/** Whether the second line, of dashes, makes the first one the head of a table. */
export function makesTable(first, second) {
  return first.includes("|") && isDelimiterRow(second) && cells(first).length === cells(second).length;
}

export class Table {
  constructor(first, delimiters) {
    this.aligns = cells(delimiters).map((each) => (each.endsWith(":") ? (each.startsWith(":") ? "center" : "right") : ""));
    this.body = make("tbody");
    const head = make("tr", {}, ...cells(first).map((text, at) => cell("th", text, this.aligns[at])));
    const table = make("table", {}, make("thead", {}, head), this.body);
    this.element = make("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" }, table);
  }

  /** Add a row: as many cells as the head has. */
  add(text) {
    const texts = cells(text);
    this.body.append(make("tr", {}, ...this.aligns.map((align, at) => cell("td", texts[at] ?? "", align))));
  }
}

function cell(tag, text, align) {
  const element = make(tag, align ? { class: align } : {});
  const inline = new Inline(element);
  inline.append(text);
  inline.end();
  return element;
}

/** Return the cells of a table's row. A bar in code or behind a backslash divides nothing. */
function cells(line) {
  const found = [""];
  const text = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  let code = false;
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === "\\" && text[at + 1] === "|") found[found.length - 1] += text[(at += 1)];
    else if (text[at] === "|" && !code) found.push("");
    else {
      if (text[at] === "`") code = !code;
      found[found.length - 1] += text[at];
    }
  }
  return found.slice(0, MOST_CELLS).map((each) => each.trim());
}

function isDelimiterRow(text) {
  return text.length < 1000 && text.includes("-") && /^[\s|:-]+$/.test(text) && cells(text).every((each) => /^:?-+:?$/.test(each));
}
