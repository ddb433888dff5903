// Owns the entities of HTML in markdown: the character that each names, as text.

const LONGEST = 12; // of the names that are known, and of numbers: what is longer is no entity
const NAMED = new Map(
  Object.entries({
    amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", reg: "®", trade: "™", hellip: "…",
    ndash: "–", mdash: "—", lsquo: "‘", rsquo: "’", sbquo: "‚", ldquo: "“", rdquo: "”", bdquo: "„", laquo: "«", raquo: "»",
    bull: "•", middot: "·", times: "×", divide: "÷", plusmn: "±", deg: "°", micro: "µ", para: "¶", sect: "§", euro: "€",
    pound: "£", yen: "¥", cent: "¢", larr: "←", uarr: "↑", rarr: "→", darr: "↓", harr: "↔", rArr: "⇒", le: "≤", ge: "≥",
    ne: "≠", asymp: "≈", infin: "∞", minus: "−", shy: "\u00ad", ensp: "\u2002", emsp: "\u2003", thinsp: "\u2009",
  }),
);
const WHOLE = /^&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z]{2,8}));/;
const BEGUN = /^&(?:#?[0-9a-zA-Z]*)$/;

/** Return what `text`, which begins with &, has for that: {text, length}; null if that cannot be told yet. */
export function entity(text, last) {
  const found = text.match(WHOLE);
  const character = found && characterOf(found);
  if (character) return { text: character, length: found[0].length };
  if (!last && text.length < LONGEST && BEGUN.test(text)) return null;
  return { text: "&", length: 1 };
}

/** Return a text with all entities decoded. */
export function decoded(text) {
  return text.replace(/&[#0-9a-zA-Z]{2,10};/g, (each) => {
    const { text: said, length } = entity(each, true);
    return said + each.slice(length);
  });
}

function characterOf([, decimal, hexadecimal, name]) {
  if (name !== undefined) return NAMED.get(name) ?? null;
  const code = decimal !== undefined ? Number(decimal) : parseInt(hexadecimal, 16);
  if (code === 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return "\ufffd";
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return " ";
  return String.fromCodePoint(code);
}
