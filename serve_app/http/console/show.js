// How sizes, times, counts and names are written for people.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
const COUNT = new Intl.NumberFormat("en");
const SHORT = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const LONG = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** Characters that can't be seen, or turn the direction of what follows them. */
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

export const count = (number) => (number === null || number === undefined ? "–" : COUNT.format(number));

/** 1234567 -> "1.2 MB". */
export function bytes(number) {
  if (number === null || number === undefined) return "–";
  let unit = 0;
  let left = number;
  while (left >= 999.5 && unit < UNITS.length - 1) {
    left /= 1000;
    unit += 1;
  }
  return `${unit && left < 99.5 ? left.toFixed(1) : COUNT.format(Math.round(left))} ${UNITS[unit]}`;
}

/** A rate, with a digit behind the point where it is small. */
export const rate = (number) => (number < 9.95 && number > 0 ? number.toFixed(1) : COUNT.format(Math.round(number)));

/** A moment in a list: the time today, else the day. */
export function briefly(moment) {
  const when = new Date(moment);
  return when.toDateString() === new Date().toDateString() ? SHORT.format(when) : DAY.format(when);
}

export const fully = (moment) => LONG.format(new Date(moment));

/** Seconds as their two largest units: "3 h 20 min". */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [
    [Math.floor(whole / 86400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = parts.findIndex(([number]) => number > 0);
  if (first < 0) return "0 s";
  const shown = parts.slice(first, first + 2).filter(([number]) => number > 0);
  return shown.map(([number, unit]) => `${COUNT.format(number)} ${unit}`).join(" ");
}

/** A key or a part of it, with what could not be seen written out: two keys never look the same. */
export const name = (text) =>
  text.replace(UNSEEN, (character) => `⟨U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
