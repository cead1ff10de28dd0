// The open key: its value and what is said of it, and what can be done with it.

import { Content, textOf } from "./content.js";
import { confirmed } from "./dialog.js";
import { button, byId, make, tell } from "./dom.js";
import { Editor, whyNot } from "./editor.js";
import { Expiry } from "./expiry.js";
import { sentence } from "./keys.js";
import { say } from "./messages.js";
import { folder, go } from "./place.js";
import { bytes as size, count, duration, fully, name as shown } from "./show.js";

const FIRST_BYTES = 1024 * 1024; // what is more than this is loaded when it is asked for

export class Record {
  #key = null;
  #prefix = "";
  #record = null; // what is shown
  #editor = null;
  #loading = null;
  #whole = false; // whether the user has asked for all of a large value

  constructor(api) {
    this.api = api;
    this.section = byId("record");
    this.content = new Content();
    this.failed = false;
    this.#empty();
  }

  get editing() {
    return this.#editor !== null;
  }

  /** Whether a new key is being written. */
  get fresh() {
    return this.#editor?.isNew ?? false;
  }

  get dirty() {
    return this.#editor?.dirty ?? false;
  }

  /** Show a key, or that none is open. focus: whether the user is to go on here. */
  async show(prefix, key, { focus = false } = {}) {
    this.#prefix = prefix;
    if (key === this.#key && (key !== null || !this.editing)) return;
    this.#key = key;
    this.#record = null;
    this.#editor = null;
    this.#whole = false;
    this.#loading?.abort();
    this.content.forget();
    if (key === null) this.#empty();
    else await this.load({ focus });
  }

  /** A change of some key that was told; whether it calls for a look at the open one. */
  concerns({ kind, key, revision }) {
    if (key !== this.#key || (this.#record && revision <= this.#record.number)) return false;
    if (!this.editing) return true;
    this.#editor.changed(kind === "put" ? "written" : kind === "expire" ? "expired" : "deleted");
    return false;
  }

  /** Ask for it again and show what there is. */
  async load({ focus = false } = {}) {
    if (this.#key === null || this.editing) return;
    this.#loading?.abort();
    const leaving = (this.#loading = new AbortController());
    const key = this.#key;
    try {
      const record = await this.#read(key, leaving.signal);
      if (leaving.signal.aborted || this.editing) return;
      this.failed = false;
      // What is the same stays as it is: somebody may be selecting text in it.
      if (this.#record?.etag !== record.etag || this.#record.bytes.length !== record.bytes.length) {
        this.#record = record;
        this.#draw();
      }
    } catch (error) {
      if (leaving.signal.aborted || this.editing) return;
      this.failed = error.passing;
      if (!error.passing || this.#record === null) this.#missing(error);
    }
    if (focus) this.section.querySelector("h2")?.focus();
  }

  edit() {
    if (this.#record && !this.editing && this.#record.whole) this.#open(this.#record.why !== "");
  }

  create(key = null) {
    if (this.editing) return;
    this.#editor = new Editor(this.api, { prefix: key ?? this.#prefix }, this.#leaving());
    this.content.clear();
    this.section.replaceChildren(this.#heading("New key", false), this.#editor.element);
    this.#shown(true);
    this.#editor.focus();
  }

  /** Close the editor, or where there is none the key; whether there was something to close. */
  async close() {
    if (this.editing) {
      if (this.dirty && !(await this.mayLeave())) return true;
      this.#editor = null;
      if (this.#key === null) this.#empty();
      else {
        if (this.#record) this.#draw();
        this.section.querySelector("h2")?.focus();
        await this.load({ focus: true });
      }
      return true;
    }
    if (this.#key === null) return false;
    go(this.#prefix);
    return true;
  }

  /** Whether what was typed may be lost. */
  async mayLeave() {
    return (
      !this.dirty ||
      confirmed("Leave the editor?", "What you typed has not been saved.", "Throw it away", {
        danger: true,
        no: "Go on editing",
      })
    );
  }

  /** What tells of time, which goes on. */
  tick() {
    const left = this.section.querySelector("[data-until]");
    if (left) tell(left, untilThen(left.dataset.until));
  }

  async remove() {
    const record = this.#record;
    if (!record || this.editing) return;
    const sure = await confirmed(
      "Delete this key?",
      `${shown(record.key)}, ${size(record.size)}. It can't be brought back.`,
      "Delete",
      { danger: true },
    );
    if (!sure) return;
    try {
      await this.api.write("DELETE", "v1/kv", {
        parameters: { key: record.key },
        headers: { "If-Match": record.etag },
      });
      if (this.#key === record.key) go(this.#prefix);
      say(`Deleted ${shown(record.key)}.`);
    } catch (error) {
      this.#told(error, "It was not deleted");
    }
  }

  async #read(key, signal) {
    const headers = this.#whole ? {} : { Range: `bytes=0-${FIRST_BYTES - 1}` };
    let got;
    try {
      got = await this.api.bytes("v1/kv", { key }, headers, signal);
    } catch (error) {
      if (error.status !== 416) throw error;
      got = await this.api.bytes("v1/kv", { key }, {}, signal); // an empty value has no first byte
    }
    const { answer, bytes } = got;
    const all = Number(answer.headers.get("Content-Range")?.split("/")[1] ?? bytes.length);
    const etag = answer.headers.get("ETag");
    const record = {
      key,
      bytes,
      size: all,
      whole: bytes.length === all,
      type: answer.headers.get("Content-Type") ?? "",
      etag,
      number: Number(etag?.replaceAll('"', "")),
      modified: answer.headers.get("Last-Modified"),
      expires: answer.headers.get("Expires-At"),
      bucket: answer.headers.get("Bucket"),
    };
    record.text = record.whole ? textOf(bytes) : null;
    record.why = record.whole ? whyNot(record.text) : "The value is large.";
    return record;
  }

  /** focusOn: the name of the button that is to have the focus; by default the one that has it. */
  #draw(focusOn = this.section.contains(document.activeElement) ? document.activeElement.dataset.act : undefined) {
    const record = this.#record;
    const scrolled = this.content.element.querySelector(".value")?.scrollTop ?? 0;
    const act = (name, what, kind = null, more = {}) => button(name, what, kind, { "data-act": name, ...more });
    const actions = make(
      "div",
      { class: "actions" },
      record.why ? null : act("Edit", () => this.edit(), "main", { "aria-keyshortcuts": "e" }),
      act("Replace from a file", () => this.#open(true)),
      act("Download", () => this.#download()),
      act("Delete", () => this.remove(), "danger", { "aria-keyshortcuts": "Delete" }),
    );
    this.section.replaceChildren(this.#heading(shown(record.key)), this.#facts(record), actions);
    if (record.why && record.size)
      this.section.append(
        make("p", { class: "note" }, `${record.why} It can't be edited here, but replaced from a file.`),
      );
    this.section.append(this.content.element);
    this.content.show(record, () => {
      this.#whole = true;
      this.load();
    });
    const value = this.content.element.querySelector(".value");
    if (value) value.scrollTop = scrolled;
    if (focusOn) this.section.querySelector(`[data-act="${focusOn}"]`)?.focus();
    this.#shown(true);
  }

  #heading(text, isKey = true) {
    const back = button("Back", () => this.close(), "quiet back", { "aria-label": "Back to the list" });
    const title = make("h2", { tabindex: -1, class: isKey ? "key" : null }, make("bdi", {}, text));
    return make("div", { class: "heading" }, back, title);
  }

  #facts(record) {
    const fact = (name, ...what) => [make("dt", {}, name), make("dd", {}, ...what)];
    const expires = record.expires
      ? [
          make("time", { datetime: record.expires }, fully(record.expires)),
          " · ",
          make("span", { "data-until": record.expires }, untilThen(record.expires)),
        ]
      : ["never"];
    const change = button("Change", () => this.#changeExpiry(), "quiet", {
      "data-act": "Change",
      "aria-label": "Change when it expires",
    });
    return make(
      "dl",
      { class: "facts" },
      ...fact("Size", make("span", { title: `${count(record.size)} bytes` }, size(record.size))),
      ...fact("Type", record.type),
      ...fact("Revision", String(record.number)),
      ...(record.modified
        ? fact("Modified", make("time", { datetime: new Date(record.modified).toISOString() }, fully(record.modified)))
        : []),
      ...fact("Expires", make("span", { id: "expires-at" }, ...expires, " ", change)),
      ...(record.bucket === null ? [] : fact("Bucket", `bucket-${record.bucket}`)),
    );
  }

  #changeExpiry() {
    const record = this.#record;
    const expiry = new Expiry(record.expires, false);
    const form = make(
      "form",
      { class: "inline", "aria-label": "Expiry" },
      expiry.element,
      make("button", { type: "submit", class: "main" }, "Set"),
      button("Cancel", () => this.#draw("Change")),
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        const parameters = { key: record.key, ...expiry.parameters() };
        await this.api.write("POST", "v1/touch", { parameters, headers: { "If-Match": record.etag } });
        await this.load();
        this.section.querySelector('[data-act="Change"]')?.focus();
      } catch (error) {
        this.#told(error, "The expiry was not changed");
      }
    });
    byId("expires-at").replaceChildren(form);
    expiry.choice.focus();
  }

  #open(file) {
    const { text, why, ...record } = this.#record;
    this.#editor = new Editor(this.api, { ...record, text: text ?? "", why }, { file, ...this.#leaving() });
    this.content.clear();
    this.section.replaceChildren(this.#heading(shown(record.key)), this.#editor.element);
    this.#editor.focus();
  }

  /** What an editor ends in. */
  #leaving() {
    const showing = (key) => {
      this.#editor = null;
      this.#record = null;
      if (key === this.#key) this.load({ focus: true });
      else go(key.startsWith(this.#prefix) ? this.#prefix : folder(key), key);
    };
    return {
      saved: (key) => {
        showing(key);
        say(`Saved ${shown(key)}.`);
      },
      leave: showing,
      cancel: () => this.close(),
    };
  }

  async #download() {
    const { key } = this.#record;
    try {
      const { answer, bytes } = await this.api.bytes("v1/kv", { key });
      const url = URL.createObjectURL(new Blob([bytes], { type: answer.headers.get("Content-Type") ?? "" }));
      // A name that no system takes for a folder or hides.
      const name = key
        .split("/")
        .at(-1)
        .replace(/[^\p{L}\p{N}._ -]/gu, "_")
        .replace(/^\.+/, "")
        .slice(0, 100);
      make("a", { href: url, download: name || "value" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (error) {
      this.#told(error, "It was not downloaded");
    }
  }

  #told(error, what) {
    if (error.status === 412 || error.status === 404) {
      say(`${what}: someone else has changed it meanwhile. This is what there is now.`, { failure: true });
      this.load();
    } else if (error.unknown) say(`Not known whether it happened: ${error.message}.`, { failure: true });
    else say(`${what}: ${error.message}`, { failure: true });
  }

  #missing(error) {
    this.#record = null;
    this.content.clear();
    const gone = error.status === 404;
    const key = this.#key;
    this.section.replaceChildren(
      this.#heading(shown(key)),
      make(
        "p",
        { class: "note", role: "status" },
        gone ? "No record has this key (any more)." : sentence(error.message),
      ),
      gone
        ? make(
            "div",
            { class: "actions" },
            button("Create it", () => this.create(key), "main"),
          )
        : "",
    );
    this.#shown(true);
  }

  #empty() {
    this.section.replaceChildren(make("p", { class: "note nothing" }, "Open a key to see its value."));
    this.#shown(false);
  }

  #shown(there) {
    byId("panes").classList.toggle("opened", there);
  }
}

function untilThen(moment) {
  const left = (new Date(moment) - Date.now()) / 1000;
  return left > 0 ? `in ${duration(left)}` : "due";
}
