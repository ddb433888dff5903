// Owns what modes are called and the menu that chooses one. Sets nothing itself.

import { byId, icon, make } from "./dom.js";

/** The modes, as the service spells them, with what each does to the agent's work. */
export const MODES = new Map([
  ["INTERRUPT", { name: "Interrupt", does: "Stop the work, keep what it brought, answer this" }],
  ["STEER", { name: "Steer", does: "Put it in now; the same work goes on with it" }],
  ["INCORPORATE", { name: "Incorporate", does: "Put it in at the next step; nothing is cut off" }],
  ["QUEUE", { name: "Queue", does: "Answer it when the work is done" }],
  ["ROLLBACK", { name: "Roll back", does: "Undo the work, then answer this" }],
  ["REJECT", { name: "Reject", does: "Take no message while the agent works" }],
]);

export function nameOf(mode) {
  return MODES.get(mode)?.name ?? mode ?? "…";
}

/** Return the mode that a message gets with the modifier key: to wait, or to steer where waiting is the rule. */
export function otherThan(mode) {
  return mode === "QUEUE" ? "STEER" : "QUEUE";
}

export class ModeMenu {
  /** `choose(mode)` is for the chat; `once(mode)` for the message in the box; `mayOnce()` whether there is one. */
  constructor(button, { choose, once, mayOnce }) {
    Object.assign(this, { button, choose, once, mayOnce, menu: byId("menu") });
    button.addEventListener("click", () => (this.menu.hidden ? this.show() : this.hide()));
    this.menu.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("pointerdown", (event) => {
      if (!this.menu.hidden && !this.menu.contains(event.target) && !button.contains(event.target)) this.hide(false);
    });
    window.addEventListener("resize", () => this.hide(false));
  }

  show(current = this.current) {
    const rows = [...MODES].map(([mode, { name, does }]) => this.row(mode, name, does, mode === current));
    this.menu.replaceChildren(make("p", { class: "menu-title", role: "presentation" }, "While the agent works, a message shall…"), ...rows);
    this.menu.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    const place = this.button.getBoundingClientRect();
    this.menu.style.left = `${Math.max(8, Math.min(place.left, innerWidth - this.menu.offsetWidth - 8))}px`;
    this.menu.style.bottom = `${innerHeight - place.top + 8}px`;
    (this.menu.querySelector('[aria-checked="true"]') ?? this.menu.querySelector("button")).focus();
  }

  row(mode, name, does, chosen) {
    const text = make("span", { class: "menu-text" }, make("strong", {}, name), make("span", {}, does));
    const pick = make("button", { class: "menu-row", type: "button", role: "menuitemradio", "aria-checked": String(chosen), tabindex: "-1", "data-mode": mode }, make("span", { class: "menu-tick" }, chosen ? icon("check") : ""), text);
    pick.addEventListener("click", () => this.pick(() => this.choose(mode)));
    const row = make("div", { class: "menu-line", role: "presentation" }, pick);
    if (this.mayOnce()) {
      const once = make("button", { class: "menu-once", type: "button", role: "menuitem", tabindex: "-1", "aria-label": `Send this message only as: ${name}`, title: `Send this message only as: ${name}` }, "just this", icon("send"));
      once.addEventListener("click", () => this.pick(() => this.once(mode)));
      row.append(once);
    }
    return row;
  }

  pick(action) {
    this.hide();
    action();
  }

  hide(refocus = true) {
    if (this.menu.hidden) return;
    this.menu.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
    if (refocus) this.button.focus();
  }

  key(event) {
    const items = [...this.menu.querySelectorAll("button")];
    const at = items.indexOf(document.activeElement);
    const moves = { ArrowDown: at + 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: items.length - 1 };
    if (event.key === "Escape" || event.key === "Tab") this.hide();
    else if (Object.hasOwn(moves, event.key)) items[(moves[event.key] + items.length) % items.length].focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
