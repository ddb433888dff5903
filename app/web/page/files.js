// Owns how files of messages look: pictures of images, names of all others. Asks the gateway for each picture once.
//
// A picture is drawn: no address of a file is ever in the page, so nothing but this module reads one.

import { authorization, chatPath, refusal } from "./api.js";
import { arrange, icon, make } from "./dom.js";
import { attempt } from "./notices.js";

const LONGEST_PX = 480;
const MOST_KEPT = 200;
const UNITS = ["bytes", "kB", "MB"];

const pictures = new Map(); // by id: the promise of a bitmap, null for what is no image or gone

/** The files of one message. */
export class Files {
  constructor() {
    this.element = make("ul", { class: "files", "aria-label": "Files", hidden: true });
    this.shown = "";
  }

  /** Show the attachments of a message in the chat `key`. */
  show(key, attachments) {
    const ids = (attachments ?? []).map((each) => each.file_id).join(" ");
    if (ids === this.shown) return;
    this.shown = ids;
    this.element.hidden = ids === "";
    arrange(this.element, (attachments ?? []).map((file) => fileOf(key, file)));
  }
}

function fileOf(key, file) {
  const save = () => void attempt(() => saveFile(key, file));
  const named = `${file.name}, ${sizeOf(file.bytes)}`;
  const button = make("button", { class: "file", type: "button", title: `Save ${named}`, on: { click: save } }, icon("file"), make("span", { class: "file-name" }, file.name), make("span", { class: "file-size" }, sizeOf(file.bytes)));
  if (file.media_type.startsWith("image/")) void showPicture(button, file, () => pictureOf(key, file));
  return make("li", {}, button);
}

/** Put a picture in place of icon and name, when it is there. */
export async function showPicture(element, file, load) {
  const bitmap = await load();
  if (!bitmap) return;
  const canvas = make("canvas", { class: "picture", role: "img", "aria-label": file.name, width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  element.classList.add("with-picture");
  element.querySelector("svg")?.replaceWith(canvas);
}

/** Return a small bitmap of an image, null for what no browser can show. */
export async function bitmapOf(blob) {
  try {
    const whole = await createImageBitmap(blob);
    const scale = Math.min(1, LONGEST_PX / Math.max(whole.width, whole.height));
    if (scale === 1) return whole;
    const size = { resizeWidth: Math.max(1, Math.round(whole.width * scale)), resizeHeight: Math.max(1, Math.round(whole.height * scale)), resizeQuality: "high" };
    return await createImageBitmap(whole, size);
  } catch {
    return null;
  }
}

/** Keep the picture of a file that was chosen here: it need not be asked for. */
export function knowPicture(fileId, bitmap) {
  pictures.set(fileId, Promise.resolve(bitmap));
  if (pictures.size > MOST_KEPT) pictures.delete(pictures.keys().next().value);
}

/** Return the size of a file in words. */
export function sizeOf(bytes) {
  const unit = bytes >= 1e6 ? 2 : bytes >= 1000 ? 1 : 0;
  const number = bytes / 1000 ** unit;
  return `${number < 10 && unit ? number.toFixed(1) : Math.round(number)} ${UNITS[unit]}`;
}

function pictureOf(key, file) {
  if (!pictures.has(file.file_id)) {
    knowPicture(file.file_id, null);
    pictures.set(file.file_id, read(key, file).then(bitmapOf, () => (pictures.delete(file.file_id), null)));
  }
  return pictures.get(file.file_id);
}

async function read(key, file) {
  const response = await fetch(chatPath(key, `files/${encodeURIComponent(file.file_id)}`), { headers: authorization(), credentials: "same-origin" });
  if (!response.ok) throw await refusal(response);
  return response.blob();
}

async function saveFile(key, file) {
  const url = URL.createObjectURL(await read(key, file));
  make("a", { href: url, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
