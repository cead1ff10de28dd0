// Asking for a token. It goes from the field to the API's memory, and nowhere else.

import { byId, tell } from "./dom.js";
import { sentence } from "./keys.js";

const TOKEN = /^[A-Za-z0-9._~+/-]{1,512}=*$/;

export class TokenField {
  /** changed: called when there is another token, or none any more. */
  constructor(api, changed) {
    this.api = api;
    this.form = byId("token");
    this.field = byId("token-field");
    this.changed = changed;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#use(this.field.value.trim());
    });
    byId("forget").addEventListener("click", () => this.#forget());
  }

  /** The store wants one, or another one. */
  ask(reason) {
    const anew = this.form.hidden;
    this.form.hidden = false;
    tell(byId("token-reason"), sentence(reason));
    if (anew && !document.activeElement.matches("input, textarea, select")) this.field.focus();
  }

  #use(token) {
    if (!TOKEN.test(token)) {
      tell(byId("token-reason"), "A token has letters, digits and - . _ ~ + / alone.");
      return;
    }
    this.field.value = "";
    this.form.hidden = true;
    byId("forget").hidden = false;
    this.api.useToken(token);
    this.changed();
  }

  #forget() {
    byId("forget").hidden = true;
    this.api.useToken("");
    this.changed();
  }
}
