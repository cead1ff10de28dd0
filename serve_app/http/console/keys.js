// The list: the keys and folders with a prefix, a page at a time.

import { byId, make, tell } from "./dom.js";
import { above, folder, fragment, go } from "./place.js";
import { briefly, bytes, fully, name as shown, plural } from "./show.js";

const PAGE = 200; // rows that are drawn at once, however many keys there are

export class Keys {
  #prefix = null;
  #open = null;
  /** Where each page up to this one begins. */
  #starts = [""];
  #next = null;
  #loading = null;
  /** What each row was drawn for, by its name: {row, entry}. */
  #drawn = new Map();
  /** The row to be focused once there are some: a name, or "" for the first. */
  #focusOn = null;
  /** Whether it is worth asking again in a moment. */
  failed = false;
  #drawnFor = null;

  constructor(api) {
    this.api = api;
    this.rows = byId("rows");
    this.rows.addEventListener("keydown", (event) => this.#press(event));
    this.rows.addEventListener("focusin", (event) => this.#stand(event.target.closest("a")));
    byId("next").addEventListener("click", () => this.#turn(1));
    byId("previous").addEventListener("click", () => this.#turn(-1));
  }

  /** Show what begins with the prefix; open: the key that is, or null. */
  show(prefix, open) {
    this.#open = open;
    if (prefix === this.#prefix) {
      this.#markOpen();
      return null;
    }
    if (this.rows.contains(document.activeElement)) {
      const left = this.#prefix ?? "";
      this.#focusOn = left.startsWith(prefix) ? left : "";
    }
    this.#prefix = prefix;
    this.#starts = [""];
    this.#crumbs();
    return this.load();
  }

  /** Ask for the page again. */
  async load() {
    this.#loading?.abort();
    const leaving = (this.#loading = new AbortController());
    this.rows.setAttribute("aria-busy", "true");
    try {
      const start = this.#starts.at(-1);
      const asked = { prefix: this.#prefix, delimiter: "/", limit: PAGE, ...(start && { start_after: start }) };
      const page = await this.api.json("v1/keys", asked, leaving.signal);
      if (leaving.signal.aborted) return;
      this.failed = false;
      this.#draw(page);
    } catch (error) {
      if (leaving.signal.aborted) return;
      this.failed = error.passing;
      this.#fail(error);
    } finally {
      if (this.#loading === leaving) this.rows.removeAttribute("aria-busy");
    }
  }

  /** Put the focus on a row, by default the open key's; or on where the focus was. */
  focus(name = this.#open) {
    const known = this.#drawn.get(name)?.row ?? (name === null ? this.rows.querySelector('a[tabindex="0"]') : null);
    if (known || name === null) {
      (known ?? byId("prefix")).focus();
      return;
    }
    this.#focusOn = name; // it may have been made just now, or be gone: the list is about to tell
    this.load();
  }

  up() {
    if (this.#prefix) go(above(this.#prefix));
  }

  #turn(by) {
    if (by > 0 && this.#next !== null) this.#starts.push(this.#next);
    else if (by < 0 && this.#starts.length > 1) this.#starts.pop();
    else return;
    this.#focusOn = "";
    this.load();
  }

  #draw(page) {
    const entries = merged(page.keys, page.common_prefixes);
    const focused = this.rows.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const before = this.#drawn;
    this.#drawn = new Map();
    const items = entries.map((entry) => {
      const known = before.get(entry.name);
      const row = this.#row(entry);
      if (known && entry.revision !== known.entry.revision) row.classList.add("changed");
      this.#drawn.set(entry.name, { row, entry });
      return make("li", {}, row);
    });
    this.rows.replaceChildren(...items);
    this.#drawnFor = this.#prefix;
    this.#next = page.next;
    byId("pages").hidden = this.#next === null && this.#starts.length === 1;
    byId("next").disabled = this.#next === null;
    byId("previous").disabled = this.#starts.length === 1;
    tell(byId("list-note"), this.#note(entries.length));
    this.#markOpen();
    this.#focusAgain(focused);
  }

  #row(entry) {
    const inner = entry.name.slice(folder(this.#prefix).length);
    // A key that is its folder's own name would be nothing here.
    const text = make("bdi", { class: "name" }, shown(inner || entry.name));
    const link = { "data-name": entry.name, tabindex: -1 };
    if (entry.folder) {
      return make(
        "a",
        { ...link, class: "row folder", href: fragment(entry.name) },
        text,
        make("span", { class: "what" }, "folder"),
      );
    }
    return make(
      "a",
      { ...link, class: "row", href: fragment(this.#prefix, entry.name) },
      text,
      make("span", { class: "size" }, bytes(entry.size)),
      make("time", { datetime: entry.modified, title: `modified ${fully(entry.modified)}` }, briefly(entry.modified)),
      entry.expires && make("span", { class: "expires", title: `expires ${fully(entry.expires)}` }, "expires"),
    );
  }

  /** One row alone is in the order of Tab: arrows go on from there. */
  #stand(row) {
    if (!row) return;
    this.rows.querySelector('a[tabindex="0"]')?.setAttribute("tabindex", "-1");
    row.setAttribute("tabindex", "0");
  }

  #markOpen() {
    for (const [name, { row }] of this.#drawn) {
      if (name === this.#open) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    if (!this.rows.querySelector('a[tabindex="0"]')) {
      this.#stand(this.#drawn.get(this.#open)?.row ?? this.rows.querySelector("a"));
    }
  }

  /** Rows are new; who stood on one stands on it still, or on what follows where it was. */
  #focusAgain(focused) {
    const wanted = this.#focusOn ?? focused;
    this.#focusOn = null;
    if (wanted === null) return;
    const rows = [...this.rows.querySelectorAll("a")];
    const row = rows.find((each) => inOrder(each.dataset.name, wanted) >= 0) ?? rows.at(-1);
    (row ?? byId("prefix")).focus();
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const rows = [...this.rows.querySelectorAll("a")];
    const at = rows.indexOf(event.target.closest("a"));
    const steps = { ArrowDown: at + 1, ArrowUp: Math.max(at - 1, 0), Home: 0, End: rows.length - 1 };
    if (event.key in steps) {
      const more = byId("next");
      if (steps[event.key] < rows.length) rows[steps[event.key]].focus();
      else if (this.#next !== null) more.focus();
    } else if (event.key === "ArrowLeft" || event.key === "Backspace") {
      this.up();
    } else if (event.key === "ArrowRight" && rows[at]?.classList.contains("folder")) {
      rows[at].click();
    } else return;
    event.preventDefault();
  }

  #crumbs() {
    const parts = folder(this.#prefix).split("/").slice(0, -1);
    const links = parts.map((part, at) => {
      const whole = `${parts.slice(0, at + 1).join("/")}/`;
      return make(
        "a",
        { href: fragment(whole), "aria-current": at === parts.length - 1 && "location" },
        make("bdi", {}, `${shown(part)}/`),
      );
    });
    const all = make("a", { href: fragment(""), "aria-current": !parts.length && "location" }, "All keys");
    byId("crumbs").replaceChildren(all, ...links);
  }

  #note(rows) {
    const page = this.#starts.length;
    if (!rows && page > 1) return "Nothing follows any more.";
    if (!rows) return this.#prefix ? `No key begins with ${shown(this.#prefix)}` : "No keys yet. Press n to make one.";
    if (page > 1 || this.#next !== null)
      return `Page ${page}: ${plural(rows, "name")}${this.#next === null ? "." : ", more follow."}`;
    return `${plural(rows, "name")}.`;
  }

  #fail(error) {
    if (!error.passing || this.#drawnFor !== this.#prefix) {
      this.rows.replaceChildren();
      this.#drawn = new Map();
      byId("pages").hidden = true;
    }
    const advice =
      error.status === 403 ? " Type the prefix that it is for, above." : error.passing ? " Trying again." : "";
    tell(byId("list-note"), `${sentence(error.message)}${advice}`);
  }
}

export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;

/** Keys and folders as one list in the order of their bytes, as each of the two is: that of their code points. */
function merged(keys, prefixes) {
  const entries = [
    ...keys.map((entry) => ({ ...entry, name: entry.key })),
    ...prefixes.map((name) => ({ name, folder: true })),
  ];
  return entries.sort((one, other) => inOrder(one.name, other.name));
}

function inOrder(one, other) {
  const length = Math.min(one.length, other.length);
  let at = 0;
  while (at < length && one[at] === other[at]) at += 1;
  if (at === length) return one.length - other.length;
  // Within a pair the first halves are the same, and the second ones are in order.
  const [a, b] = [one.codePointAt(at), other.codePointAt(at)];
  return a - b;
}
