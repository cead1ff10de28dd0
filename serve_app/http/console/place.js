// Where one is, {prefix, key}, in the URL's fragment: it is never sent to anyone, and back, forward and links work by it.

/** The fragment for a place; key is null where none is open. */
export function fragment(prefix, key = null) {
  const parts = new URLSearchParams();
  if (prefix) parts.set("prefix", prefix);
  if (key !== null) parts.set("key", key);
  return `#${parts}`;
}

/** The place that the URL names. A key alone is shown in its folder. */
export function here() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const key = parts.get("key") || null;
  return { prefix: parts.get("prefix") ?? (key === null ? "" : folder(key)), key };
}

/** Go to a place. instead: without a step in the history, as while a prefix is being typed. */
export function go(prefix, key = null, { instead = false } = {}) {
  const target = fragment(prefix, key);
  if (target === location.hash || (target === "#" && !location.hash)) return;
  if (instead) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  window.dispatchEvent(new Event("hashchange"));
}

/** "a/b/c" -> "a/b/": what it lies in. */
export const folder = (name) => name.slice(0, name.lastIndexOf("/") + 1);

/** The folder above a prefix: "a/b" and "a/b/" are both below "a/". */
export const above = (prefix) => folder(prefix.endsWith("/") ? prefix.slice(0, -1) : prefix);
