// Owns the markdown within one block: emphasis, code, links. Writes DOM nodes with text, never markup.
//
// It takes text in pieces and never goes back: a delimiter opens its element at once, and one that is still open at
// the end is unwrapped again. What needs a look ahead (a link, a run of stars) is held back, for so many characters.

import { make, visible } from "./dom.js";
import { decoded, entity } from "./entities.js";
import { addressEnd, closing, link, safeAddress, withoutTail } from "./links.js";

const DEEPEST = 6;
const LONGEST_LINK = 2000;
const TAGS = new Map([["*1", "em"], ["_1", "em"], ["*2", "strong"], ["_2", "strong"], ["~2", "del"]]);
const SPECIAL = /[*_~`[\]!\\&\nhH]/;
const WORD = /[\p{L}\p{N}]/u;
const PUNCTUATION = /[!-/:-@[-`{-~]/;

export class Inline {
  constructor(root, { links = true } = {}) {
    this.root = root;
    this.links = links;
    this.open = []; // {element, delimiter: "**", run: 2}
    this.code = null; // {element, fence: "``", text}
    this.held = "";
    this.before = " "; // the character before what is held
    this.literalUntil = 0; // characters of `held` in which [ is only a [
  }

  /** Add text. */
  append(text) {
    this.held += text;
    this.drain(false);
  }

  /** The block is over: nothing is held back any more, and what was not closed is what it was before: characters. */
  end() {
    this.drain(true);
    if (this.code) this.abandonCode();
    while (this.open.length) this.unwrap(this.open.pop());
  }

  get at() {
    return this.open.length ? this.open[this.open.length - 1].element : this.root;
  }

  drain(last) {
    let from = 0;
    const held = this.held;
    while (from < held.length) {
      const used = this.code ? this.inCode(held, from, last) : this.next(held, from, last);
      if (used === 0) break;
      from += used;
    }
    this.held = held.slice(from);
    this.literalUntil = Math.max(0, this.literalUntil - from);
  }

  // Each of these takes from `text` at `from`, and returns how much it took: 0 to wait for more.

  next(text, from, last) {
    const rest = text.slice(from, from + LONGEST_LINK + 64);
    const special = rest.search(SPECIAL);
    if (special < 0) return this.plain(rest);
    if (special > 0) return this.plain(rest.slice(0, special));
    switch (rest[0]) {
      case "\n":
        this.at.append(make("br"));
        this.before = " ";
        return 1;
      case "\\":
        return this.escaped(rest, last);
      case "&":
        return this.entity(rest, last);
      case "`":
        return this.openCode(rest, last);
      case "[":
        return from < this.literalUntil || !this.links ? this.plain("[") : this.bracket(rest, from, last);
      case "!":
        if (rest.length === 1 && !last) return 0;
        return rest[1] === "[" && this.links ? 1 : this.plain("!"); // an image is a link: nothing is fetched for an answer
      case "h":
      case "H":
        return this.bareLink(rest, last);
      case "]":
        return this.plain("]");
      default:
        return this.delimiter(rest, last);
    }
  }

  plain(text) {
    const into = this.at;
    if (into.lastChild?.nodeType === Node.TEXT_NODE) into.lastChild.appendData(text);
    else into.append(text);
    this.before = text[text.length - 1];
    return text.length;
  }

  escaped(rest, last) {
    if (rest.length === 1) return last ? this.plain("\\") : 0;
    if (rest[1] === "\n") return 1;
    if (!PUNCTUATION.test(rest[1])) return this.plain("\\");
    this.plain(rest[1]);
    return 2;
  }

  /** An entity is the character that it names, as text: no sign of markdown, still less of markup. */
  entity(rest, last) {
    const found = entity(rest, last);
    if (found === null) return 0;
    this.plain(visible(found.text));
    return found.length;
  }

  openCode(rest, last) {
    const fence = rest.match(/^`+/)[0];
    if (fence.length === rest.length && !last) return fence.length > 64 ? this.plain(fence) : 0;
    const element = make("code");
    this.at.append(element);
    this.code = { element, fence, size: 0 };
    return fence.length;
  }

  inCode(text, from, last) {
    const { element, fence } = this.code;
    const tick = text.indexOf("`", from);
    const until = tick < 0 ? text.length : tick;
    if (until > from) {
      const piece = text.slice(from, until).replaceAll("\n", " ");
      if (element.lastChild) element.lastChild.appendData(piece);
      else element.append(piece);
      return until - from;
    }
    let end = tick;
    while (text[end] === "`") end += 1;
    const run = end - tick;
    if (end === text.length && !last) return 0;
    if (run === fence.length) {
      trimCode(element);
      this.code = null;
      this.before = "`";
    } else if (element.lastChild) element.lastChild.appendData(text.slice(tick, end));
    else element.append(text.slice(tick, end));
    return run;
  }

  abandonCode() {
    const { element, fence } = this.code;
    this.code = null;
    element.replaceWith(fence + element.textContent);
  }

  delimiter(rest, last) {
    const char = rest[0];
    let run = 1;
    while (rest[run] === char) run += 1;
    if (run === rest.length && !last && run < 64) return 0; // the run, or what follows it, is not all here
    const after = rest[run] ?? " ";
    const [leftWord, rightWord] = [WORD.test(this.before), WORD.test(after)];
    const canOpen = !/\s/.test(after) && !(char === "_" && leftWord);
    const canClose = !/\s/.test(this.before) && !(char === "_" && rightWord);
    if (run > 3 || (char === "~" && run !== 2)) return this.plain(rest.slice(0, run));
    let left = run;
    for (let before = 0; canClose && left > 0 && left !== before; ) {
      before = left;
      left = this.close(char, left);
    }
    if (left > 0 && canOpen) left = this.openRuns(char, left);
    if (left > 0) this.plain(char.repeat(left));
    this.before = char;
    return run;
  }

  /** Close the innermost element of `char` that `count` of them can close; return how many are left. */
  close(char, count) {
    for (let at = this.open.length - 1; at >= 0; at -= 1) {
      const { char: own, run } = this.open[at];
      if (own !== char || run > count) continue;
      while (this.open.length > at + 1) this.unwrap(this.open.pop());
      this.open.pop();
      return count - run;
    }
    return count;
  }

  openRuns(char, count) {
    let left = count;
    while (left > 0 && this.open.length < DEEPEST) {
      const run = left >= 2 ? 2 : 1;
      const tag = TAGS.get(char + run);
      if (!tag) break;
      const element = make(tag);
      this.at.append(element);
      this.open.push({ element, char, run });
      left -= run;
    }
    return left;
  }

  unwrap({ element, char, run }) {
    element.replaceWith(char.repeat(run), ...element.childNodes);
  }

  /** A [ begins a link, if ](address) follows within reason. */
  bracket(rest, from, last) {
    const close = closing(rest);
    if (close < 0 || (close + 1 === rest.length && !last)) {
      if (rest.length < LONGEST_LINK && !last && !rest.includes("\n\n")) return 0;
      this.literalUntil = from + rest.length; // one look at all of it is enough
      return this.plain("[");
    }
    if (rest[close + 1] !== "(") return this.plain("[");
    const end = addressEnd(rest, close + 2);
    if (end < 0) {
      if (rest.length < LONGEST_LINK && !last) return 0;
      this.literalUntil = from + rest.length;
      return this.plain("[");
    }
    this.placeLink(rest.slice(1, close), rest.slice(close + 2, end));
    return end + 1;
  }

  placeLink(label, target) {
    const written = target.trim().replace(/\s+(?:"[^"]*"|'[^']*')$/, "").replace(/^<(.*)>$/, "$1");
    const address = safeAddress(decoded(written));
    const element = address ? link(address) : make("span", { class: "no-link", title: "This link was left out: it is none that is safe to follow" });
    const inner = new Inline(element, { links: false });
    inner.append(label);
    inner.end();
    if (!element.textContent.trim()) element.append(address ?? "link");
    this.at.append(element);
    this.before = ")";
  }

  bareLink(rest, last) {
    const start = rest.slice(0, 8).toLowerCase();
    const scheme = ["https://", "http://"].find((each) => each.startsWith(start) || start.startsWith(each));
    if (!scheme || !this.links || WORD.test(this.before)) return this.plain(rest[0]);
    if (rest.length <= scheme.length && !last) return 0;
    const found = rest.match(/^https?:\/\/[^\s<>"'`|\u0000-\u0020]+/i)?.[0];
    if (!found) return this.plain(rest[0]);
    if (found.length === rest.length && !last && found.length < LONGEST_LINK) return 0;
    const written = withoutTail(found);
    const address = safeAddress(written);
    if (!address) return this.plain(rest[0]);
    this.at.append(link(address, written));
    this.before = written[written.length - 1];
    return written.length;
  }
}

function trimCode(element) {
  const text = element.textContent;
  if (/^ .* $/.test(text) && text.trim()) element.textContent = text.slice(1, -1);
}
