// What has come of something, said at the edge of the page and to screen readers.

import { button, byId, make } from "./dom.js";

const SHOWN_MS = 6000;
let timer = null;

/** Say it for a while; a failure stays until it is put away or something else is said. */
export function say(text, { failure = false } = {}) {
  clearTimeout(timer);
  const message = make(
    "div",
    { class: failure ? "message failure" : "message", role: failure ? "alert" : "status" },
    make("p", {}, text),
    button("Close", hush, "quiet"),
  );
  byId("messages").replaceChildren(message);
  if (!failure) timer = setTimeout(hush, SHOWN_MS);
}

export const hush = () => byId("messages").replaceChildren();
