// Elements and their text. Text is only ever text here: keys and values are anybody's, and may be HTML.

/** A new element. properties: `class`, `on…` listeners, and attributes; one that is null or false is left out. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [property, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (property.startsWith("on")) element.addEventListener(property.slice(2), value);
    else element.setAttribute(property, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Change an element's text only where it is another, so that nobody is read the same twice. */
export function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A button. kind: "main", "danger", "quiet" or none. */
export function button(text, onclick, kind = null, more = {}) {
  return make("button", { type: "button", class: kind, onclick, ...more }, text);
}
