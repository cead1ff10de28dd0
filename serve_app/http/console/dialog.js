// Questions in the page, and the list of shortcuts. The browser's own <dialog> keeps the focus in it and closes by Escape.

import { button, byId, make } from "./dom.js";

/** Whether the user says yes. */
export function confirmed(title, text, yes, { danger = false, no = "Cancel" } = {}) {
  return new Promise((answered) => {
    const dialog = byId("dialog");
    let answer = false;
    const answerWith = (value) => () => {
      answer = value;
      dialog.close();
    };
    dialog.replaceChildren(
      make("h2", { id: "dialog-title" }, title),
      make("p", {}, text),
      make(
        "div",
        { class: "actions" },
        button(yes, answerWith(true), danger ? "danger" : "main"),
        button(no, answerWith(false)),
      ),
    );
    dialog.addEventListener("close", () => answered(answer), { once: true });
    dialog.showModal();
  });
}

const SHORTCUTS = [
  ["↑ ↓", "move in the list"],
  ["Enter", "open a key or a folder"],
  ["← or Backspace", "up a folder"],
  ["/", "to the prefix"],
  ["n", "a new key"],
  ["e", "edit the open key"],
  ["Delete", "delete the open key"],
  ["Ctrl Enter", "save"],
  ["Escape", "close the editor, then the key"],
  ["b", "show the buckets"],
  ["?", "this list"],
];

export function showShortcuts() {
  const dialog = byId("dialog");
  if (dialog.open) return;
  const rows = SHORTCUTS.map(([keys, what]) =>
    make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, keys)), make("td", {}, what)),
  );
  dialog.replaceChildren(
    make("h2", { id: "dialog-title" }, "Shortcuts"),
    make("table", { class: "shortcuts" }, make("tbody", {}, ...rows)),
    make(
      "div",
      { class: "actions" },
      button("Close", () => dialog.close(), "main"),
    ),
  );
  dialog.showModal();
}
