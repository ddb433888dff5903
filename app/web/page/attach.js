// Owns the files that the next message will bring: chosen, pasted or dropped, uploaded at once, removed before it is sent.

import { chatPath, upload } from "./api.js";
import { arrange, byId, icon, iconButton, make, say } from "./dom.js";
import { bitmapOf, knowPicture, showPicture, sizeOf } from "./files.js";
import { notice } from "./notices.js";
import { draftFiles } from "./storage.js";

const MOST = 8; // the server has its own limit, and says so

export class Attach {
  /** `onChange` is called whenever what is attached, or how far it is, has changed. */
  constructor({ onChange }) {
    this.onChange = onChange;
    this.list = byId("attached");
    this.input = byId("files");
    this.button = byId("attach");
    this.items = [];
    this.button.addEventListener("click", () => this.input.click());
    this.input.addEventListener("change", () => {
      this.add([...this.input.files]);
      this.input.value = "";
    });
    byId("message").addEventListener("paste", (event) => this.pasted(event));
    for (const name of ["dragenter", "dragover", "dragleave", "drop"]) window.addEventListener(name, (event) => this.dragged(event));
  }

  open(chat) {
    for (const item of this.items) item.leave?.();
    this.chat = chat;
    this.items = draftFiles.of(chat.key).map((file) => this.item(file, file));
    this.draw();
  }

  /** Whether some file is still on its way. */
  get busy() {
    return this.items.some((item) => item.state === "uploading");
  }

  get count() {
    return this.items.filter((item) => item.state === "there").length;
  }

  /** Return what is there, and begin afresh. What was refused goes, too: it was said. */
  take() {
    const files = this.items.filter((item) => item.state === "there").map((item) => item.file);
    this.items = [];
    this.changed();
    return files;
  }

  /** Take back the files of a message that was not sent. */
  keep(files) {
    for (const file of files) if (!this.items.some((item) => item.file?.file_id === file.file_id)) this.items.push(this.item(file, file));
    this.changed();
  }

  pasted(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length || event.clipboardData.types.includes("text/plain")) return; // of what office programs copy the text is meant
    event.preventDefault();
    this.add(files);
  }

  dragged(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault(); // the browser would leave the page for the file
    document.body.classList.toggle("dropping", event.type === "dragover" || event.type === "dragenter");
    if (event.type === "drop") this.add([...event.dataTransfer.files]);
  }

  add(files) {
    const room = MOST - this.items.length;
    if (files.length > room) notice(`A message brings ${MOST} files at most: ${files.length - Math.max(room, 0)} were left out.`);
    for (const file of files.slice(0, Math.max(room, 0))) void this.upload(file);
  }

  async upload(blob) {
    const { chat } = this;
    const item = this.item({ name: blob.name || "pasted", bytes: blob.size, media_type: blob.type }, null);
    const bitmap = blob.type.startsWith("image/") ? bitmapOf(blob) : Promise.resolve(null);
    const gone = new AbortController();
    item.leave = () => gone.abort();
    this.items.push(item);
    this.changed();
    void showPicture(item.look, blob, () => bitmap);
    try {
      item.file = await upload(chatPath(chat.key, "files"), blob, item.name, (share) => this.progress(item, share), gone.signal);
      item.state = "there";
      knowPicture(item.file.file_id, await bitmap);
    } catch (error) {
      if (gone.signal.aborted) return;
      Object.assign(item, { state: "failed", why: error.message });
    }
    item.leave = null;
    if (chat === this.chat) this.changed();
  }

  item({ name, bytes, media_type: kind }, file) {
    const item = { name, file, state: file ? "there" : "uploading", why: "", leave: null };
    item.words = make("span", { class: "attached-state", role: "status" });
    item.bar = make("progress", { max: "1", value: "0", "aria-label": `Upload of ${name}` });
    item.look = make("span", { class: "attached-look" }, icon(kind?.startsWith("image/") ? "image" : "file"));
    const remove = iconButton("close", `Remove ${name}`, () => this.remove(item));
    item.element = make("li", { class: "attached-file", title: `${name}, ${sizeOf(bytes)}` }, item.look, make("span", { class: "file-name" }, name), item.bar, item.words, remove);
    return item;
  }

  progress(item, share) {
    item.bar.value = share;
  }

  remove(item) {
    item.leave?.();
    this.items = this.items.filter((each) => each !== item);
    this.changed();
    byId("message").focus();
  }

  changed() {
    draftFiles.keep(this.chat.key, this.items.filter((item) => item.state === "there").map((item) => item.file));
    this.draw();
    this.onChange();
  }

  draw() {
    for (const item of this.items) {
      item.bar.hidden = item.state !== "uploading";
      item.element.dataset.state = item.state;
      say(item.words, item.state === "failed" ? item.why : "");
    }
    this.list.hidden = this.items.length === 0;
    arrange(this.list, this.items.map((item) => item.element));
  }
}
