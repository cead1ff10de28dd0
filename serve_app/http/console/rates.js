// How many writes a second each bucket takes: every write takes a revision, so the difference of two is how many there were.

const WHILE_MS = 10_000;

export class Rates {
  #epoch = null;
  /** By bucket, what was seen in the last while: [[atMs, revision], …]. */
  #seen = new Map();

  /** Note an answer of /topology. In a move, and with another shape, revisions jump: what was before says nothing then. */
  note(topology, nowMs) {
    if (topology.epoch !== this.#epoch || topology.phase !== "stable") this.#seen.clear();
    this.#epoch = topology.epoch;
    for (const { bucket_id: id, revision } of topology.buckets) {
      const seen = this.#seen.get(id) ?? [];
      if (typeof revision !== "number" || (seen.length && revision < seen.at(-1)[1])) {
        this.#seen.delete(id);
        continue;
      }
      seen.push([nowMs, revision]);
      while (seen.length > 2 && seen[1][0] < nowMs - WHILE_MS) seen.shift();
      this.#seen.set(id, seen);
    }
  }

  /** Writes a second of a bucket over the last while, or null where that can't be told (yet). */
  of(id) {
    const seen = this.#seen.get(id) ?? [];
    if (seen.length < 2) return null;
    const [[firstMs, first], [lastMs, last]] = [seen[0], seen.at(-1)];
    return lastMs > firstMs ? ((last - first) * 1000) / (lastMs - firstMs) : null;
  }

  /** Of all buckets together, or null where some can't be told. */
  all(ids) {
    const each = ids.map((id) => this.of(id));
    return each.includes(null) ? null : each.reduce((sum, rate) => sum + rate, 0);
  }
}
