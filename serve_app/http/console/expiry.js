// Choosing when a record expires: as it is, never, or after a while.

import { make } from "./dom.js";
import { fully } from "./show.js";

const UNITS = [
  ["seconds", 1],
  ["minutes", 60],
  ["hours", 3600],
  ["days", 86400],
];

export class Expiry {
  /** expires: when the record does now, or null. keep: whether it may stay so. */
  constructor(expires, keep) {
    this.expires = expires;
    const choices = [
      keep && expires && ["keep", `stays at ${fully(expires)}`],
      ["never", "never"],
      ["after", "after"],
    ].filter(Boolean);
    this.choice = make(
      "select",
      { "aria-label": "Expires", onchange: () => this.#show() },
      ...choices.map(([value, text]) => make("option", { value }, text)),
    );
    this.number = make("input", { type: "number", min: "0.001", step: "any", value: "60", "aria-label": "How long" });
    this.unit = make(
      "select",
      { "aria-label": "Unit" },
      ...UNITS.map(([text]) => make("option", { value: text }, text)),
    );
    this.unit.value = "minutes";
    this.element = make("span", { class: "expiry" }, this.choice, this.number, this.unit);
    this.#show();
  }

  never() {
    this.choice.value = "never";
    this.#show();
  }

  /** As the API's parameters. Throws an Error with a sentence where what was typed can't be meant. */
  parameters() {
    if (this.choice.value === "keep") return { expires_at: this.expires };
    if (this.choice.value === "never") return { expires_at: "never" };
    const factor = UNITS.find(([text]) => text === this.unit.value)[1];
    const seconds = Math.round(Number(this.number.value) * factor * 1000) / 1000;
    if (!(seconds > 0)) throw new Error("A time to live is a number above 0.");
    return { ttl: seconds.toFixed(3) };
  }

  #show() {
    this.number.hidden = this.unit.hidden = this.choice.value !== "after";
  }
}
