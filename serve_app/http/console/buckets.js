// The store's buckets, from /topology: asked for while somebody may be looking, and not once more.

import { byId, make, tell } from "./dom.js";
import { sentence } from "./keys.js";
import { Rates } from "./rates.js";
import { bytes, count, duration, plural, rate } from "./show.js";

const EVERY_MS = 2000;
const COLUMNS = ["Bucket", "State", "Records", "Bytes", "Disk free", "Writes waiting", "Writes/s"];
const NOTE =
  "Writes/s: how many revisions were given in the last ten seconds; what expires counts too. " +
  "Reads are counted in the metrics alone.";

export class Buckets {
  #timer = null;
  #asking = null;
  #rates = new Rates();
  #moving = null;
  #refused = false; // the token has no part in it

  constructor(api) {
    this.api = api;
    this.toggle = byId("store-toggle");
    this.toggle.addEventListener("click", () => this.turn());
  }

  /** Show or hide the table. */
  turn() {
    const shown = this.toggle.getAttribute("aria-expanded") !== "true";
    this.toggle.setAttribute("aria-expanded", String(shown));
    byId("buckets").hidden = !shown;
  }

  /** Ask from now on. again: also where the token was refused before. */
  start({ again = false } = {}) {
    if (again) this.#refused = false;
    if (this.#asking !== null || this.#timer !== null || this.#refused) return;
    this.#ask();
  }

  stop() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.#timer = this.#asking = null;
  }

  async #ask() {
    this.#timer = null;
    const leaving = (this.#asking = new AbortController());
    try {
      const topology = await this.api.json("topology", {}, leaving.signal);
      if (leaving.signal.aborted) return;
      this.#rates.note(topology, performance.now());
      this.#draw(topology);
    } catch (error) {
      if (leaving.signal.aborted) return;
      this.#refused = error.status === 401 || error.status === 403;
      this.#fail(error);
    }
    this.#asking = null;
    if (!this.#refused) this.#timer = setTimeout(() => this.#ask(), EVERY_MS);
  }

  #fail(error) {
    const text =
      error.status === 403
        ? `${sentence(error.message)} The buckets can't be shown; the rest works.`
        : sentence(error.message);
    tell(byId("store-summary"), text);
    byId("move").hidden = true;
    byId("buckets").replaceChildren(make("p", { class: "note" }, text));
  }

  #draw(topology) {
    const { buckets } = topology;
    const known = buckets.filter((bucket) => bucket.keys !== null);
    const sum = (field) => known.reduce((total, bucket) => total + bucket[field], 0);
    const writes = this.#rates.all(buckets.map((bucket) => bucket.bucket_id));
    const away = buckets.filter((bucket) => !bucket.reachable).length;
    const parts = [
      plural(topology.bucket_count, "bucket"),
      plural(topology.copies ?? 1, "copy", "copies"),
      plural(sum("keys"), "record"),
      bytes(sum("bytes")),
      writes === null ? null : `${rate(writes)} writes/s`,
      away ? `${count(away)} away` : null,
    ];
    tell(byId("store-summary"), parts.filter(Boolean).join(" · "));
    this.#drawMove(topology);
    const rows = buckets.map((bucket) => this.#row(bucket, topology));
    const columns = topology.phase === "moving" ? [...COLUMNS, "Move"] : COLUMNS;
    const table = make(
      "table",
      {},
      make("thead", {}, make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, ...rows),
    );
    const problem = topology.problem ? make("p", { class: "problem" }, topology.problem) : null;
    byId("buckets").replaceChildren(...[problem, table, make("p", { class: "note" }, NOTE)].filter(Boolean));
  }

  #row(bucket, topology) {
    const state = stateOf(bucket, topology);
    const writes = this.#rates.of(bucket.bucket_id);
    const cell = (at, ...what) => make("td", { "data-label": COLUMNS[at] }, ...what);
    const cells = [
      cell(
        1,
        make("span", { class: `state ${state.kind}` }, state.text),
        bucket.last_error ? make("span", { class: "why" }, bucket.last_error) : null,
      ),
      cell(2, count(bucket.keys)),
      cell(3, bytes(bucket.bytes)),
      cell(4, bytes(bucket.free_bytes)),
      cell(5, count(bucket.queued_writes)),
      cell(6, writes === null ? "–" : rate(writes)),
    ];
    if (topology.phase === "moving") cells.push(make("td", { "data-label": "Move" }, ...moveOf(bucket)));
    return make("tr", {}, make("th", { scope: "row" }, `bucket-${bucket.bucket_id}`), ...cells);
  }

  /** The move under way, which is shown whether the table is or not. */
  #drawMove(topology) {
    const place = byId("move");
    const moving = topology.phase === "moving";
    place.hidden = !moving;
    if (moving) {
      const [moved, remaining] = ["moved", "remaining"].map((field) =>
        topology.buckets.reduce((sum, bucket) => sum + (bucket[field] ?? 0), 0),
      );
      const left =
        topology.expected_end_s === null ? "time left not known yet" : `${duration(topology.expected_end_s)} left`;
      const title = `Moving from ${topology.bucket_count} to ${plural(topology.target_count, "bucket")}`;
      place.replaceChildren(
        make("strong", {}, title),
        make("progress", { max: Math.max(1, moved + remaining), value: moved, "aria-label": title }),
        make("span", {}, `${count(moved)} of about ${count(moved + remaining)} keys · ${left}`),
      );
    } else if (this.#moving) {
      tell(byId("store-said"), `The move is done: ${plural(topology.bucket_count, "bucket")}.`);
    }
    if (moving && !this.#moving)
      tell(
        byId("store-said"),
        `A move from ${topology.bucket_count} to ${topology.target_count} buckets is under way.`,
      );
    this.#moving = moving;
  }
}

function stateOf(bucket, topology) {
  if (!bucket.reachable) return { kind: "bad", text: "away" };
  if (bucket.disk_full) return { kind: "bad", text: "disk full" };
  if (bucket.last_error) return { kind: "warn", text: "damaged" };
  if (topology.phase === "moving" && bucket.bucket_id >= topology.bucket_count)
    return { kind: "good", text: "joining" };
  if (topology.phase === "moving" && bucket.bucket_id >= topology.target_count)
    return { kind: "good", text: "leaving" };
  return { kind: "good", text: "serves" };
}

function moveOf(bucket) {
  if (bucket.moved === null) return ["–"];
  if (bucket.waiting_for) return [`waits for ${bucket.waiting_for}`];
  const total = bucket.moved + bucket.remaining;
  if (!total) return ["nothing to give"];
  const left = !bucket.remaining
    ? "done"
    : bucket.keys_per_s
      ? `${duration(bucket.remaining / bucket.keys_per_s)} left`
      : "";
  const text = [
    `${count(bucket.moved)} of ${count(total)}`,
    bucket.keys_per_s ? `${rate(bucket.keys_per_s)}/s` : "",
    left,
  ];
  return [
    make("progress", {
      max: total,
      value: bucket.moved,
      "aria-label": `Keys that have left bucket-${bucket.bucket_id}`,
    }),
    ` ${text.filter(Boolean).join(" · ")}`,
  ];
}
