// A value as people can look at it: as text, JSON in lines, an image, or its bytes in hex.

import { button, make } from "./dom.js";
import { pretty } from "./pretty.js";
import { bytes as size } from "./show.js";

const HEX_BYTES = 4096;

/** The bytes as text, or null where they are none. cut: the last character may be incomplete. */
export function textOf(bytes, cut = false) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes, { stream: cut });
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}

export class Content {
  #view = null;
  #imageUrl = null;

  constructor() {
    this.element = make("div", { class: "content" });
  }

  /** record: {key, bytes, size, type, whole}. all: called to have a value loaded that is not. */
  show(record, all) {
    this.clear();
    const views = viewsOf(record);
    if (!views.some(([name]) => name === this.#view)) this.#view = views[0][0];
    const body = make("div", { class: "body" });
    const tabs = views.map(([name]) =>
      button(
        name,
        () => {
          this.#view = name;
          this.show(record, all);
          this.element.querySelector('[aria-pressed="true"]')?.focus();
        },
        "tab",
        { "aria-pressed": String(name === this.#view) },
      ),
    );
    const [, draw] = views.find(([name]) => name === this.#view);
    body.append(draw((url) => (this.#imageUrl = url)));
    this.element.replaceChildren(
      make("div", { class: "tabs", role: "group", "aria-label": "Shown as" }, ...tabs),
      body,
    );
    if (!record.whole) {
      const text = `The first ${size(record.bytes.length)} of ${size(record.size)}. `;
      this.element.append(make("p", { class: "note" }, text, button("Load all of it", all)));
    }
  }

  /** Let go of what it shows. */
  clear() {
    if (this.#imageUrl !== null) URL.revokeObjectURL(this.#imageUrl);
    this.#imageUrl = null;
    this.element.replaceChildren();
  }

  /** Another key is shown from here on. */
  forget() {
    this.clear();
    this.#view = null;
  }
}

/** [name, draw] of each way to look at it, the best first. */
function viewsOf(record) {
  const text = textOf(record.bytes, !record.whole);
  const views = [];
  if (/^image\//i.test(record.type) && record.whole && record.size)
    views.push(["Image", (keep) => image(record, keep)]);
  if (text !== null) {
    views.push(["Text", () => lines(text, "The value is empty.")]);
    const laidOut = record.whole && /^\s*[[{]/.test(text) ? pretty(text) : null;
    if (laidOut !== null) views.push(["JSON", () => lines(laidOut, "")]);
  }
  if (record.size || !views.length) views.push(["Hex", () => hex(record.bytes, record.size)]);
  return views;
}

function lines(text, empty) {
  return text
    ? make("pre", { class: "value", tabindex: 0, "aria-label": "Value", dir: "auto" }, text)
    : make("p", { class: "note" }, empty);
}

/** In an <img> nothing of an SVG runs, and nothing is loaded for it. */
function image(record, keep) {
  const url = URL.createObjectURL(new Blob([record.bytes], { type: record.type.split(";")[0].trim() }));
  keep(url);
  const frame = make("div", { class: "picture" });
  const picture = make("img", {
    src: url,
    alt: "The value as an image",
    onerror: () =>
      frame.replaceChildren(make("p", { class: "note" }, "The bytes are no image that the browser can show.")),
  });
  frame.append(picture);
  return frame;
}

function hex(bytes, whole) {
  const rows = [];
  const end = Math.min(bytes.length, HEX_BYTES);
  for (let start = 0; start < end; start += 16) {
    const row = [...bytes.subarray(start, Math.min(start + 16, end))];
    const numbers = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const letters = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
    rows.push(`${start.toString(16).padStart(8, "0")}  ${numbers.padEnd(47)}  ${letters}`);
  }
  if (end < whole) rows.push(`… ${size(whole - end)} more`);
  return make("pre", { class: "value hex", tabindex: 0, "aria-label": "Value in hex" }, rows.join("\n"));
}
