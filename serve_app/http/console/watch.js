// Following changes by server-sent events. With fetch: an EventSource can't show a token.

const BACK_OFF_MS = [500, 1000, 2000, 5000, 10_000];
const SILENCE_MS = 35_000; // the store says something every 10 s

/**
 * A watch of one prefix at a time.
 *
 * on: {change(event), gap(), state(name, detail)}. change: one key's, {kind, key, revision}. gap: changes may have been
 * missed, so look at everything; also at the beginning. state: "live", "connecting", "lost" or "off".
 */
export class Watch {
  #prefix = null;
  #id = "";
  #leaving = null;

  constructor(api, on) {
    this.api = api;
    this.on = on;
  }

  /** Watch what begins with this from now on. */
  follow(prefix) {
    if (prefix === this.#prefix && this.#leaving !== null) return;
    if (prefix !== this.#prefix) this.#id = "";
    this.pause();
    this.#prefix = prefix;
    this.resume();
  }

  /** Leave; `resume` goes on where it was. */
  pause() {
    this.#leaving?.abort();
    this.#leaving = null;
  }

  resume() {
    if (this.#prefix === null || this.#leaving !== null) return;
    this.#leaving = new AbortController();
    this.#run(this.#leaving.signal);
  }

  async #run(signal) {
    let failures = 0;
    while (!signal.aborted) {
      this.on.state(failures ? "lost" : "connecting", "");
      try {
        await this.#listen(signal, () => {
          failures = 0;
        });
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 410) this.#id = "";
        else if (error.status >= 400 && error.status < 500) {
          this.#leaving = null;
          this.on.state("off", error.message);
          return;
        }
      }
      if (signal.aborted) return;
      failures += 1;
      this.on.state("lost", "");
      // A little of chance, so that all who lost the store at once do not come back at once.
      await sleep(BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length) - 1] * (0.75 + Math.random() / 2), signal);
    }
  }

  async #listen(signal, opened) {
    const silence = new AbortController();
    const both = AbortSignal.any([signal, silence.signal]);
    let timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const headers = this.#id ? { "Last-Event-ID": this.#id } : {};
      const answer = await this.api.ask("GET", "v1/watch", {
        parameters: { prefix: this.#prefix },
        headers,
        signal: both,
      });
      const parser = new Parser();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let begun = false;
      for (;;) {
        const { done, value } = await reader.read();
        if (done || signal.aborted) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE_MS);
        for (const event of parser.take(value)) {
          const anew = !this.#id;
          if (event.id) this.#id = event.id;
          if (!begun && this.#id) {
            begun = true;
            opened();
            this.on.state("live", "");
            if (anew) this.on.gap();
          }
          if (event.kind === "history-lost") this.#id = "";
          else if (event.data) this.on.change({ kind: event.kind, ...JSON.parse(event.data) });
        }
      }
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }
}

/** Of text in pieces, events: {kind, data, id} (WHATWG HTML Standard, 9.2.6). */
export class Parser {
  #left = "";
  #event = { kind: "", data: "", id: "" };

  *take(text) {
    const lines = (this.#left + text).split("\n");
    this.#left = lines.pop();
    for (const line of lines) {
      const { field, value } = split(line.replace(/\r$/, ""));
      if (field === "event") this.#event.kind = value;
      else if (field === "data") this.#event.data += this.#event.data ? `\n${value}` : value;
      else if (field === "id") this.#event.id = value;
      else if (field === null) {
        yield this.#event;
        this.#event = { kind: "", data: "", id: "" };
      }
    }
  }
}

function split(line) {
  if (!line) return { field: null, value: "" };
  const colon = line.indexOf(":");
  if (colon < 0) return { field: line, value: "" };
  return { field: line.slice(0, colon), value: line.slice(colon + 1).replace(/^ /, "") };
}

function sleep(ms, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      done();
    });
  });
}
