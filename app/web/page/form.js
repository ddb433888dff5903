// Owns the form in which a person answers the question of a tool call. Its fields are a server's: text, never markup.

import { make } from "./dom.js";

export class Form {
  /** `schema` is the JSON schema of the answer: an object of plain fields. */
  constructor(schema) {
    const required = Array.isArray(schema.required) ? schema.required : [];
    this.fields = Object.entries(schema.properties ?? {}).map(([name, field]) => new Field(name, field ?? {}, required.includes(name)));
    this.element = make("div", { class: "form" }, ...this.fields.map((field) => field.element));
  }

  /** Return the answer; what is left empty and need not be filled in is not in it. */
  read() {
    const answer = Object.create(null); // a field may be called __proto__
    for (const field of this.fields) {
      const value = field.read();
      if (value !== undefined) answer[field.name] = value;
    }
    return answer;
  }
}

class Field {
  constructor(name, field, required) {
    this.name = name;
    this.kind = field.type;
    this.required = required;
    this.choices = choicesOf(field.type === "array" ? (field.items ?? {}) : field);
    this.input = this.control(field);
    const label = make("span", { class: "form-label" }, String(field.title ?? name), required ? " *" : "");
    const help = field.description ? make("span", { class: "form-help" }, String(field.description)) : null;
    this.element = make("label", { class: "form-field" }, label, this.input, help);
  }

  control(field) {
    const preset = field.default;
    if (this.choices) {
      const many = this.kind === "array";
      const chosen = new Set(many ? (Array.isArray(preset) ? preset : []) : [preset]);
      const none = many || this.required ? [] : [make("option", { value: "" }, "–")];
      const options = this.choices.map(({ value, title }) => make("option", { value, selected: chosen.has(value) }, title));
      return make("select", { multiple: many }, ...none, ...options);
    }
    if (this.kind === "boolean") return make("input", { type: "checkbox", checked: preset === true });
    const input = make("input", { type: "text", inputmode: this.isNumber ? "decimal" : undefined, maxlength: "10000" });
    input.value = preset === undefined || preset === null ? "" : String(preset);
    return input;
  }

  get isNumber() {
    return this.kind === "number" || this.kind === "integer";
  }

  read() {
    if (this.kind === "array") return this.list();
    if (this.kind === "boolean" && !this.choices) return this.input.checked;
    const text = this.input.value;
    if (text === "" && !this.required) return undefined;
    if (!this.isNumber || text.trim() === "") return text;
    const number = Number(text);
    return Number.isFinite(number) ? number : text; // the chat says what is wrong with it
  }

  list() {
    const chosen = this.choices
      ? [...this.input.selectedOptions].map((option) => option.value)
      : this.input.value.split(",").map((text) => text.trim()).filter((text) => text !== "");
    return chosen.length || this.required ? chosen : undefined;
  }
}

/** Return the texts among which a field chooses, null for any other field. */
function choicesOf(field) {
  if (Array.isArray(field.enum)) return field.enum.map((value) => ({ value: String(value), title: String(value) }));
  const titled = field.oneOf ?? field.anyOf;
  if (!Array.isArray(titled) || !titled.every((each) => each && "const" in each)) return null;
  return titled.map((each) => ({ value: String(each.const), title: String(each.title ?? each.const) }));
}
