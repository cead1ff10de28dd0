// The console: what is asked for, when, and what each key on the keyboard does.

import { Api } from "./api.js";
import { Buckets } from "./buckets.js";
import { showShortcuts } from "./dialog.js";
import { byId, tell } from "./dom.js";
import { Keys } from "./keys.js";
import { hush } from "./messages.js";
import { fragment, go, here } from "./place.js";
import { Record } from "./record.js";
import { Seldom } from "./seldom.js";
import { TokenField } from "./token.js";
import { Watch } from "./watch.js";

const TYPING_MS = 200; // the prefix is looked for when its typing pauses
const WATCH_MS = 400; // a watch is not begun anew with every step through folders

const api = new Api((reason) => token.ask(reason));
const keys = new Keys(api);
const record = new Record(api);
const buckets = new Buckets(api);
const token = new TokenField(api, startAnew);
const listAgain = new Seldom(() => keys.load());
const recordAgain = new Seldom(() => record.load());
const watch = new Watch(api, { change, gap: lookAgain, state: showState });

let place = null; // what is shown; null before the first
let watchTimer = null;
const prefix = byId("prefix");

/** Show what the URL names. */
async function arrive() {
  const next = here();
  const same = place !== null && next.prefix === place.prefix && next.key === place.key;
  if (same) return;
  if (record.dirty && (place === null || next.key !== place.key || record.fresh)) {
    const before = place;
    if (!(await record.mayLeave())) {
      history.pushState(null, "", fragment(before.prefix, before.key));
      prefix.value = before.prefix;
      return;
    }
  }
  const before = place;
  place = next;
  hush();
  if (document.activeElement !== prefix) prefix.value = next.prefix;
  document.title = `${next.key ?? (next.prefix || "Console")} · Cloud Storage`;
  const focusInRecord = byId("record").contains(document.activeElement) || document.activeElement === document.body;
  keys.show(next.prefix, next.key);
  await record.show(next.prefix, next.key, { focus: before !== null && next.key !== null && before.key !== next.key });
  if (before?.key && next.key === null && focusInRecord) keys.focus(before.key);
  if (before === null || before.prefix !== next.prefix) {
    clearTimeout(watchTimer);
    watchTimer = setTimeout(() => document.hidden || watch.follow(place.prefix), before === null ? 0 : WATCH_MS);
  }
}

/** Of one key, which begins with the prefix. */
function change(event) {
  listAgain.ask();
  if (record.concerns(event)) recordAgain.ask();
}

/** Changes may have been missed. */
function lookAgain() {
  listAgain.ask();
  recordAgain.ask();
}

function showState(name, why) {
  const live = byId("live");
  const texts = { live: "Live", connecting: "Connecting…", lost: "Reconnecting…", off: "Not live" };
  live.dataset.state = name;
  live.title = why;
  tell(live, texts[name]);
}

/** There is another token: what was refused before may be answered now. */
function startAnew() {
  watch.pause();
  buckets.stop();
  keys.load();
  record.load();
  watch.follow(place.prefix);
  buckets.start({ again: true });
}

/** A page that nobody sees asks for nothing, and keeps no connection; it goes on where it was. */
function seenOrNot() {
  if (document.hidden) {
    watch.pause();
    buckets.stop();
  } else {
    watch.follow(place.prefix);
    buckets.start();
  }
}

function press(event) {
  if (event.defaultPrevented || byId("dialog").open) return;
  const typing = event.target.closest("input, textarea, select");
  if (event.key === "Escape") {
    if (typing === prefix) keys.focus();
    else record.close();
    event.preventDefault();
    return;
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const does = {
    "/": () => prefix.select(),
    n: () => create(),
    e: () => record.edit(),
    b: () => buckets.turn(),
    "?": showShortcuts,
    Delete: () => record.remove(),
    Backspace: () => keys.up(),
  }[event.key];
  if (!does) return;
  event.preventDefault();
  does();
}

async function create() {
  if (record.editing && !(await record.close())) return;
  record.create();
}

function typed() {
  clearTimeout(typed.timer);
  typed.timer = setTimeout(() => {
    if (prefix.value.isWellFormed()) go(prefix.value, null, { instead: true });
  }, TYPING_MS);
}

window.addEventListener("hashchange", arrive);
window.addEventListener("beforeunload", (event) => record.dirty && event.preventDefault());
document.addEventListener("visibilitychange", seenOrNot);
document.addEventListener("keydown", press);
prefix.addEventListener("input", typed);
prefix.addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown" && event.key !== "Enter") return;
  event.preventDefault();
  keys.focus();
});
byId("new").addEventListener("click", create);
byId("help").addEventListener("click", showShortcuts);
setInterval(() => {
  if (document.hidden) return;
  record.tick();
  if (keys.failed || record.failed) lookAgain();
}, 1000);

arrive();
if (!document.hidden) buckets.start();
