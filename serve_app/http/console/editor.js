// Writing a value: a new one, another text, or a file in its place. What others wrote meanwhile is never overwritten unseen.

import { newName } from "./api.js";
import { button, make } from "./dom.js";
import { Expiry } from "./expiry.js";
import { name as shown } from "./show.js";

const TYPE = /^[\x20-\x7e]{0,255}$/;
const MAX_KEY_BYTES = 1024;

/** Why this text can't be edited in a text area without changing more than what is typed; empty where it can. */
export function whyNot(text) {
  if (text === null) return "The value is no text.";
  if (text.includes("\r")) return "The value has carriage returns, which a text area would take out.";
  const area = document.createElement("textarea");
  area.value = text;
  return area.value === text ? "" : "The value has characters that a text area would change.";
}

export class Editor {
  #revision; // the ETag of the record that will be replaced; null where there is to be none
  #was; // what stood in the fields at first
  #attempt = { of: null, named: "" };
  #saving = false;
  #refused = false; // the last save was, for what another did

  /**
   * record: {key, text, type, etag, expires}, or {prefix} for a new key. file: whether a file takes the value's place.
   * saved: called with the key once it is; leave: called with a key to be shown as it is, where the user wants that instead;
   * cancel: where the user gives up.
   */
  constructor(api, record, { file = false, saved, leave, cancel }) {
    this.api = api;
    this.record = record;
    this.saved = saved;
    this.leave = leave;
    this.#revision = record.etag ?? null;
    this.isNew = record.key === undefined;
    this.key = make("input", {
      type: "text",
      required: true,
      value: record.prefix ?? "",
      autocomplete: "off",
      autocapitalize: "off",
      spellcheck: "false",
    });
    this.type = make("input", {
      type: "text",
      value: record.type ?? "text/plain; charset=utf-8",
      autocomplete: "off",
      spellcheck: "false",
    });
    this.expiry = new Expiry(record.expires ?? null, true);
    this.text = make("textarea", { rows: 14, spellcheck: "false", dir: "auto" });
    this.text.value = record.text ?? "";
    this.file = make("input", { type: "file", onchange: () => this.#chosen() });
    this.fromFile = file;
    this.conflict = make("div", { class: "conflict", role: "alert" });
    this.save = make(
      "button",
      { type: "submit", class: "main", "aria-keyshortcuts": "Control+Enter" },
      this.isNew ? "Create" : "Save",
    );
    this.element = make(
      "form",
      {
        class: "editor",
        "aria-label": this.isNew ? "New key" : "Edit",
        onsubmit: (event) => this.#submit(event),
        onkeydown: (event) => this.#press(event),
      },
      this.conflict,
      ...this.#fields(),
      make("div", { class: "actions" }, this.save, button("Cancel", cancel)),
    );
    this.#was = this.#state();
  }

  focus() {
    const first = this.isNew ? this.key : this.fromFile ? this.file : this.text;
    first.focus();
    if (first === this.key) this.key.setSelectionRange(this.key.value.length, this.key.value.length);
    else if (first === this.text) this.text.setSelectionRange(0, 0);
  }

  /** Whether leaving would lose something. */
  get dirty() {
    return this.#saving || this.#state() !== this.#was;
  }

  /** The record has another revision now, or none. */
  changed(what) {
    if (this.isNew || this.#saving || this.#refused) return; // it is being asked about already
    this.#tellConflict(what, null, false);
  }

  #state() {
    const file = this.file.files[0];
    return JSON.stringify([
      this.key.value,
      this.type.value,
      this.text.value,
      file ? [file.name, file.size, file.lastModified] : null,
      this.expiry.choice.value,
    ]);
  }

  #fields() {
    const labelled = (text, field, more = null) =>
      make("label", { class: "field" }, make("span", {}, text), field, more);
    const value = labelled("Value", this.text);
    const file = labelled("File", this.file);
    file.hidden = !this.fromFile;
    value.hidden = this.fromFile;
    const turn = button(
      this.fromFile ? "Type it instead" : "From a file instead",
      () => {
        this.fromFile = !this.fromFile;
        file.hidden = !this.fromFile;
        value.hidden = this.fromFile;
        turn.textContent = this.fromFile ? "Type it instead" : "From a file instead";
        this.focus();
      },
      "quiet",
    );
    const note =
      !this.isNew && this.fromFile && this.record.why
        ? make("p", { class: "note" }, `${this.record.why} It can be replaced from a file.`)
        : null;
    return [
      this.isNew && labelled("Key", this.key),
      note,
      value,
      file,
      // A text area is no place for a value that it would change.
      (this.isNew || !this.record.why) && turn,
      make(
        "div",
        { class: "pair" },
        labelled("Content type", this.type),
        make("div", { class: "field" }, make("span", {}, "Expires"), this.expiry.element),
      ),
    ].filter(Boolean);
  }

  #chosen() {
    const file = this.file.files[0];
    if (file && this.isNew) this.type.value = file.type || "application/octet-stream";
    else if (file?.type) this.type.value = file.type;
  }

  #press(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.element.requestSubmit();
    }
  }

  async #submit(event) {
    event.preventDefault();
    if (this.#saving) return;
    let request;
    try {
      request = this.#request();
    } catch (error) {
      this.#complain(error.message);
      return;
    }
    this.#saving = true;
    this.save.disabled = true;
    this.conflict.replaceChildren();
    this.#refused = false;
    try {
      await this.api.write("PUT", "v1/kv", request);
      this.#saving = false;
      this.#was = this.#state();
      this.saved(request.parameters.key);
    } catch (error) {
      this.#saving = false;
      this.#fail(error, request.parameters.key);
    } finally {
      this.#saving = false;
      this.save.disabled = false;
    }
  }

  #request() {
    const key = this.isNew ? this.key.value : this.record.key;
    const type = this.type.value.trim();
    if (!key) throw new Error("A key has at least one character.");
    if (!key.isWellFormed()) throw new Error("The key has half of a character (a lone surrogate).");
    if (new TextEncoder().encode(key).length > MAX_KEY_BYTES) throw new Error("A key has at most 1,024 bytes.");
    if (!TYPE.test(type)) throw new Error("A content type has at most 255 visible ASCII characters.");
    const file = this.file.files[0];
    if (this.fromFile && !file) throw new Error("Choose a file first.");
    const body = this.fromFile ? file : new TextEncoder().encode(this.text.value);
    const headers = {
      "Content-Type": type || "application/octet-stream",
      ...(this.#revision === null ? { "If-None-Match": "*" } : { "If-Match": this.#revision }),
    };
    const parameters = { key, ...this.expiry.parameters() };
    // The same write tried again, after its outcome stayed unknown, is the same request.
    const of = JSON.stringify([this.#state(), parameters, headers]);
    if (this.#attempt.of !== of) this.#attempt = { of, named: newName() };
    return { parameters, headers, body, named: this.#attempt.named };
  }

  #fail(error, key) {
    if (error.status === 412) {
      this.#refused = true;
      if (this.isNew) this.#tellTaken(error.etag, key);
      else this.#tellConflict(error.etag === null ? "deleted" : "written", error.etag, true);
      return;
    }
    if (!error.unknown) this.#attempt = { of: null, named: "" };
    this.#complain(
      error.unknown ? `Not known whether it was saved: ${error.message}. Saving again is safe.` : error.message,
    );
  }

  #ask(text, ...actions) {
    this.conflict.replaceChildren(make("p", {}, text), make("div", { class: "actions" }, ...actions));
    this.conflict.scrollIntoView({ block: "nearest" });
  }

  #complain(text) {
    this.#ask(text);
  }

  /** what: "written", "deleted" or "expired". etag: what there is now, where a save was refused for it. */
  #tellConflict(what, etag, refused) {
    const happened = {
      written: "Someone else has written this key meanwhile.",
      deleted: "This key has been deleted meanwhile.",
      expired: "This key has expired meanwhile.",
    }[what];
    const overwrite = (revision) => () => {
      this.#revision = revision;
      this.element.requestSubmit();
    };
    const actions = [];
    if (what === "written") actions.push(button("Load theirs", () => this.leave(this.record.key)));
    if (what === "written" && refused) actions.push(button("Overwrite theirs", overwrite(etag), "danger"));
    if (what !== "written") {
      if (this.expiry.choice.value === "keep") this.expiry.never();
      actions.push(button("Create it anew", overwrite(null)));
    }
    const note = refused ? " Nothing was saved." : " Saving will not overwrite that unasked.";
    this.#ask(happened + (what === "written" || refused ? note : ""), ...actions);
  }

  #tellTaken(etag, key) {
    const overwrite = () => {
      this.#revision = etag;
      this.element.requestSubmit();
    };
    this.#ask(
      `There is a key ${shown(key)} already. Nothing was saved.`,
      button("Open it", () => this.leave(key)),
      button("Overwrite it", overwrite, "danger"),
    );
  }
}
