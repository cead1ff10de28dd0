// Reading the open key: its value, or the beginning of a large one, and what the headers say of it.

import { textOf } from "./content.js";
import { whyNot } from "./editor.js";

const FIRST_BYTES = 1024 * 1024; // what is more than this is loaded when it is asked for

/**
 * A record as the page goes by it: {key, bytes, size, whole, text, why, type, etag, number, modified, expires, bucket}.
 *
 * whole: asked for, all of a large value; in the record, whether all of it is there. text: null where it is none. why: what
 * is in the way of editing it; empty for nothing.
 */
export async function read(api, key, signal, { whole = false } = {}) {
  const headers = whole ? {} : { Range: `bytes=0-${FIRST_BYTES - 1}` };
  let got;
  try {
    got = await api.bytes("v1/kv", { key }, headers, signal);
  } catch (error) {
    if (error.status !== 416) throw error;
    got = await api.bytes("v1/kv", { key }, {}, signal); // an empty value has no first byte
  }
  const { answer, bytes } = got;
  const all = Number(answer.headers.get("Content-Range")?.split("/")[1] ?? bytes.length);
  const etag = answer.headers.get("ETag");
  const record = {
    key,
    bytes,
    size: all,
    whole: bytes.length === all,
    type: answer.headers.get("Content-Type") ?? "",
    etag,
    number: Number(etag?.replaceAll('"', "")),
    modified: answer.headers.get("Last-Modified"),
    expires: answer.headers.get("Expires-At"),
    bucket: answer.headers.get("Bucket"),
  };
  record.text = record.whole ? textOf(bytes) : null;
  record.why = record.whole ? whyNot(record.text) : "The value is large.";
  return record;
}
