// Owns markdown as it streams in: lines to blocks. Each character is looked at once; blocks that are over stay as they are.
//
// The beginning of a line says which block it is. Until it does, it is held back; after that the rest of the line goes
// straight into its block. So nothing is ever drawn twice, and a long answer costs what is new of it.

import { codeBlock } from "./code.js";
import { make, visible } from "./dom.js";
import { Inline } from "./inline.js";
import { LONGEST_START, indentOf, isRule, withoutMarks } from "./lines.js";
import { Table, makesTable } from "./table.js";

const DEEPEST = 8; // quotes and lists within each other; beyond that their signs are text

export class Markdown {
  constructor(root) {
    this.root = root;
    this.containers = []; // from outside in: {kind: "quote" | "list" | "item", element, ...}
    this.leaf = null; // the open block of text: {kind, element, inline}
    this.line = ""; // the beginning of a line that may still be anything
    this.rest = false; // whether the line's block is known, and text goes straight into it
    this.blank = false; // whether the line before was empty
  }

  append(text) {
    let from = 0;
    while (from < text.length) {
      const end = text.indexOf("\n", from);
      const piece = visible(text.slice(from, end < 0 ? undefined : end).replaceAll("\r", ""));
      this.piece(piece);
      if (end < 0) return;
      this.endLine();
      from = end + 1;
    }
  }

  /** The text is complete, for now: show what was held back. */
  end() {
    if (this.line || this.rest) this.endLine();
    this.closeLeaf();
    this.containers = [];
  }

  piece(text) {
    if (this.rest) {
      this.leaf.inline.append(text);
      return;
    }
    this.line += text;
    if (this.line) this.start(this.line, false);
  }

  endLine() {
    if (!this.rest) this.start(this.line, true);
    else if (this.leaf?.kind === "code") this.codeText("\n");
    this.rest = false;
    this.line = "";
  }

  /** Find out what a line is and begin its block. With an incomplete line it may be too early to tell. */
  start(line, complete) {
    const inside = this.walk(line, complete);
    if (inside === null) return;
    let { text, depth } = inside;
    if (text.trim() === "") {
      if (complete) this.blankLine(depth);
      return;
    }
    if (this.leaf?.kind === "code" && depth === this.containers.length) {
      this.codeLine(text, complete);
      return;
    }
    const plan = this.plan(text, depth, complete);
    if (plan !== null) this.carryOut(plan, complete);
  }

  /** Return what is left of the line within the open containers, and how many of them it is in; null: wait. */
  walk(line, complete) {
    let text = line;
    let depth = 0;
    for (const container of this.containers) {
      if (container.kind === "quote") {
        const quote = text.match(/^ {0,3}>( ?)/);
        if (!quote) break;
        if (!complete && quote[0].length === text.length && !quote[1]) return null;
        text = text.slice(quote[0].length);
      } else if (container.kind === "item") {
        const indent = indentOf(text);
        const inFence = this.leaf?.kind === "code" && this.leaf.depth > depth;
        const nested = indent >= container.from + 2 && /^\s*(?:[-*+]|\d{1,9}[.)]) /.test(text); // two spaces, as LLMs write it
        if (text.trim() === "" && (complete || indent < container.indent)) {
          if (!complete) return null;
        } else if (indent >= container.indent || nested || (inFence && indent >= 2)) text = text.slice(Math.min(container.indent, indent));
        else break;
      }
      depth += 1;
    }
    // A list goes on only with another item of it.
    if (depth > 0 && this.containers[depth - 1]?.kind === "list") depth -= 1;
    return { text, depth };
  }

  /** Return what the line begins, as {depth, opens: [...], kind, ...}; null if it cannot be told yet. */
  plan(line, depth, complete) {
    const opens = [];
    let text = line;
    for (;;) {
      const inner = text.trimStart();
      const indent = text.length - inner.length;
      if (!complete && /^(?:[-*_=|+: ]+|#{1,6}|\d{1,9}[.)]?|[`~]{1,2})$/.test(inner) && inner.length < LONGEST_START) return null;
      if (!complete && inner === ">") return null;
      if (isRule(inner) && !(this.isTitle(depth, opens) && /^-+\s*$/.test(inner))) return complete ? { depth, opens, kind: "rule" } : null;
      const quote = inner.match(/^> ?/);
      if (quote && this.room(depth, opens)) {
        opens.push({ kind: "quote" });
        text = inner.slice(quote[0].length);
        if (text === "") return complete ? { depth, opens, kind: "nothing" } : null;
        continue;
      }
      const item = inner.match(/^(?:([-*+])|(\d{1,9})([.)]))(?: |$)/);
      if (item && this.room(depth, opens) && this.mayBegin(item, depth, opens)) {
        opens.push({ kind: "item", mark: item[1] ?? item[3], number: item[2], indent: indent + item[0].length, from: indent });
        text = inner.slice(item[0].length);
        if (text.trim() === "") return complete ? { depth, opens, kind: "nothing" } : null;
        continue;
      }
      return this.leafPlan(inner, depth, opens, complete);
    }
  }

  room(depth, opens) {
    return depth + opens.length < DEEPEST * 2;
  }

  /** Whether a line of dashes makes a heading of the line before it. */
  isTitle(depth, opens) {
    return this.leaf?.kind === "paragraph" && this.leaf.lines === 1 && !opens.length && depth === this.containers.length;
  }

  /** A number in the middle of a paragraph begins a list only if it is 1. */
  mayBegin(item, depth, opens) {
    const inParagraph = this.leaf?.kind === "paragraph" && !opens.length && depth === this.containers.length && !this.blank;
    return !inParagraph || item[1] !== undefined || item[2] === "1" || this.containers[depth]?.kind === "list";
  }

  leafPlan(text, depth, opens, complete) {
    const fence = text.match(/^(`{3,}|~{3,})/)?.[1];
    if (fence && !(fence[0] === "`" && text.slice(fence.length).includes("`")))
      return complete || text.length > LONGEST_START ? { depth, opens, kind: "code", fence, language: text.slice(fence.length).trim() } : null;
    const heading = text.match(/^(#{1,6})(?:[ \t]+|$)/);
    if (heading) return { depth, opens, kind: "heading", level: heading[1].length, text: text.slice(heading[0].length) };
    const same = !opens.length && depth === this.containers.length;
    const short = text.length < LONGEST_START * 10;
    if (same && this.leaf?.kind === "table" && short) return complete ? { depth, opens, kind: "row", text } : null;
    if (text[0] === "|" && short && !complete) return null;
    if (same && this.leaf?.kind === "paragraph" && complete) {
      if (this.leaf.lines === 1 && makesTable(this.leaf.first, text))
        return { depth, opens, kind: "table", text };
      const under = text.match(/^(=+|-+)\s*$/);
      if (under && this.leaf.lines === 1) return { depth, opens, kind: "underline", level: under[1][0] === "=" ? 1 : 2 };
    }
    return { depth, opens, kind: "text", text };
  }

  carryOut(plan, complete) {
    const { opens, kind } = plan;
    // A paragraph goes on although the signs of its quote or the indent of its item are left out.
    const lazy = kind === "text" && !opens.length && this.leaf?.kind === "paragraph" && !this.blank;
    if (lazy) {
      this.more(plan.text, complete);
      return;
    }
    const same = !opens.length && plan.depth === this.containers.length;
    if (same && kind === "row") return void this.leaf.table.add(plan.text);
    if (same && kind === "table") return void this.table(plan.text);
    if (same && kind === "underline") return void this.underline(plan.level);
    this.closeLeaf();
    this.containers.length = this.keepList(plan);
    for (const each of opens) this.openContainer(each);
    this.blank = false;
    if (kind === "rule") this.into.append(make("hr"));
    else if (kind === "code") this.openCode(plan);
    else if (kind === "heading") this.openText("heading", make(`h${Math.min(plan.level + 2, 6)}`), plan.text, complete);
    else if (kind === "text") this.openText("paragraph", make("p"), plan.text, complete);
  }

  /** Return how many containers stay open: the list too, if the line brings another item of it. */
  keepList({ depth, opens }) {
    const list = this.containers[depth];
    const first = opens[0];
    return list?.kind === "list" && first?.kind === "item" && first.mark === list.mark ? depth + 1 : depth;
  }

  get into() {
    return this.containers.length ? this.containers[this.containers.length - 1].element : this.root;
  }

  openContainer(open) {
    if (open.kind === "quote") {
      const element = make("blockquote");
      this.into.append(element);
      this.containers.push({ kind: "quote", element });
      return;
    }
    if (this.containers[this.containers.length - 1]?.kind !== "list") {
      const element = make(open.number === undefined ? "ul" : "ol");
      if (open.number !== undefined && open.number !== "1") element.setAttribute("start", String(Number(open.number)));
      this.into.append(element);
      this.containers.push({ kind: "list", element, mark: open.mark });
    }
    const element = make("li");
    this.into.append(element);
    this.containers.push({ kind: "item", element, indent: open.indent, from: open.from });
  }

  openText(kind, element, text, complete) {
    this.into.append(element);
    this.leaf = { kind, element, inline: new Inline(element), lines: 0, first: text };
    this.leaf.inline.append(text);
    this.leaf.lines = 1;
    this.rest = !complete;
    if (kind === "heading" && complete) this.closeLeaf();
  }

  more(text, complete) {
    this.leaf.lines += 1;
    this.leaf.inline.append("\n");
    this.leaf.inline.append(text);
    this.rest = !complete;
  }

  blankLine(depth) {
    if (this.leaf?.kind === "code" && depth === this.containers.length) {
      this.codeText("\n");
      return;
    }
    this.closeLeaf();
    this.blank = true;
    const quote = this.containers.findIndex((each, at) => at >= depth && each.kind === "quote");
    if (quote >= 0) this.containers.length = quote;
  }

  closeLeaf() {
    this.leaf?.inline?.end();
    if (this.leaf?.kind === "heading") withoutMarks(this.leaf.element);
    this.leaf = null;
  }

  // Code

  openCode({ fence, language }) {
    const { element, code } = codeBlock(language.split(/\s/)[0].slice(0, 30));
    this.into.append(element);
    this.leaf = { kind: "code", element: code, fence, depth: this.containers.length };
  }

  codeLine(text, complete) {
    const { fence } = this.leaf;
    const trimmed = text.trim();
    const mayClose = trimmed[0] === fence[0] && trimmed.split(fence[0]).join("") === "" && indentOf(text) < 4;
    if (mayClose && trimmed.length >= fence.length) {
      if (complete) this.closeLeaf();
      return;
    }
    if (complete) this.codeText(`${text}\n`);
    else if (!mayClose && trimmed !== "" && !(indentOf(text) === text.length)) {
      this.codeText(text);
      this.leaf.inline ??= { append: (more) => this.codeText(more), end: () => {} };
      this.rest = true;
    }
  }

  codeText(text) {
    const { element } = this.leaf;
    if (element.lastChild) element.lastChild.appendData(text);
    else element.append(text);
  }

  // Tables and headings that a second line makes of a first

  table(delimiters) {
    const table = new Table(this.leaf.first, delimiters);
    this.leaf.element.replaceWith(table.element);
    this.leaf = { kind: "table", table };
  }

  underline(level) {
    this.leaf.inline.end();
    const heading = make(`h${level + 2}`, {}, ...this.leaf.element.childNodes);
    this.leaf.element.replaceWith(heading);
    this.leaf = null;
  }
}
