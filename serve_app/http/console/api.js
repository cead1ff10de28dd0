// Requests to the API, and what went wrong with them. The token is kept in here, in memory alone.

/** An answer that is no success, or none at all. */
export class ApiError extends Error {
  constructor(detail, { status = 0, type = "", etag = null, retryAfterS = 0 } = {}) {
    super(detail);
    this.status = status;
    this.type = type.replace("urn:cloud-storage:", "");
    this.etag = etag;
    this.retryAfterS = retryAfterS;
  }

  /** Nothing was heard, or something in between answered. */
  get lost() {
    return this.status === 0 || ([500, 502, 503, 504].includes(this.status) && !this.type);
  }

  /** Whether a write may have happened all the same. */
  get unknown() {
    return this.lost || this.status === 504 || this.status === 500;
  }

  /** Whether it is worth asking the same again in a moment. */
  get passing() {
    return this.unknown || this.status === 503;
  }
}

const READ_TIMEOUT_MS = 30_000;
const PAUSES_MS = [300, 1000, 2500];
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class Api {
  #token = "";

  /** onUnauthorized: called with what the store says where it wants a token, or another one. */
  constructor(onUnauthorized) {
    this.onUnauthorized = onUnauthorized;
  }

  useToken(token) {
    this.#token = token;
  }

  get hasToken() {
    return this.#token !== "";
  }

  /** One request; the good answer, whose body is yet to be read. path: without a slash, below what the page lies below. */
  async ask(method, path, { parameters = {}, headers = {}, body = null, signal = null, timeoutMs = 0 } = {}) {
    const query = new URLSearchParams(parameters).toString();
    const url = new URL(query ? `${path}?${query}` : path, location.href);
    const shown = this.#token;
    const signals = [signal, timeoutMs ? AbortSignal.timeout(timeoutMs) : null].filter(Boolean);
    let answer;
    try {
      answer = await fetch(url, {
        method,
        body,
        headers: shown ? { ...headers, Authorization: `Bearer ${shown}` } : headers,
        signal: signals.length ? AbortSignal.any(signals) : null,
        cache: "no-store",
        credentials: "same-origin", // for a proxy in front that wants its own
        redirect: "error",
      });
    } catch (error) {
      throw failed(error, signal);
    }
    if (answer.ok) return answer;
    const problem = await problemOf(answer);
    // One that was asked with a token which has been replaced meanwhile says nothing of the new one.
    if (answer.status === 401 && shown === this.#token) this.onUnauthorized(problem.message);
    throw problem;
  }

  /** A GET's JSON. */
  async json(path, parameters = {}, signal = null) {
    const answer = await this.ask("GET", path, { parameters, signal, timeoutMs: READ_TIMEOUT_MS });
    return whole(answer.json(), signal);
  }

  /** A GET's {answer, bytes}. */
  async bytes(path, parameters, headers = {}, signal = null) {
    const answer = await this.ask("GET", path, { parameters, headers, signal });
    return { answer, bytes: new Uint8Array(await whole(answer.arrayBuffer(), signal)) };
  }

  /**
   * A write, sent again where it is not known what came of it: with its idempotency key it happens once. named: that key,
   * which the same write is to have when the user has it tried again.
   */
  async write(method, path, { parameters, headers = {}, body = null, named = newName() }) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.ask(method, path, { parameters, headers: { ...headers, "Idempotency-Key": named }, body });
      } catch (error) {
        if (!error.passing || attempt === PAUSES_MS.length) throw error;
        await pause(Math.max(PAUSES_MS[attempt], error.retryAfterS * 1000));
      }
    }
  }
}

/** An idempotency key. (crypto.randomUUID is there for https and loopback alone.) */
export function newName() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What reading a body comes to, or an ApiError where it breaks off. */
async function whole(reading, signal) {
  try {
    return await reading;
  } catch (error) {
    throw failed(error, signal);
  }
}

function failed(error, signal) {
  if (signal?.aborted) return error; // by the page itself, which wants nothing of it any more
  return new ApiError(
    error.name === "TimeoutError" ? "the store did not answer in time" : "the store can't be reached",
  );
}

async function problemOf(answer) {
  let problem = {};
  try {
    if (answer.headers.get("Content-Type")?.startsWith("application/problem+json")) problem = await answer.json();
  } catch {
    // It broke off; the status says enough.
  }
  return new ApiError(String(problem.detail ?? `the answer was ${answer.status} ${answer.statusText}`), {
    status: answer.status,
    type: String(problem.type ?? ""),
    etag: answer.headers.get("ETag"),
    retryAfterS: Math.min(10, Number(answer.headers.get("Retry-After")) || 0),
  });
}
