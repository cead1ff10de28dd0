// Something done at most once in a while, however often it is asked for, and never twice at the same time.

export class Seldom {
  #asked = false;
  #running = false;
  #timer = null;
  #lastMs = -Infinity;

  /** work: an async function. apartMs: between the beginnings of two. */
  constructor(work, apartMs = 1000) {
    this.work = work;
    this.apartMs = apartMs;
  }

  /** Have it done soon: at once where it was not done for a while. */
  ask() {
    this.#asked = true;
    if (this.#running || this.#timer !== null) return;
    const wait = this.#lastMs + this.apartMs - performance.now();
    this.#timer = setTimeout(() => this.#do(), Math.max(0, wait));
  }

  async #do() {
    this.#timer = null;
    this.#asked = false;
    this.#running = true;
    this.#lastMs = performance.now();
    try {
      await this.work();
    } finally {
      this.#running = false;
      if (this.#asked) this.ask();
    }
  }
}
