// JSON laid out in lines, with each number and text as it was written: parsing it would round numbers and lose what is
// given twice.

/** The text laid out, or null where it is no JSON. */
export function pretty(text) {
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  const out = [];
  let depth = 0;
  const newLine = () => out.push("\n", "  ".repeat(depth));
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gs) ?? [];
  tokens.forEach((token, at) => {
    if (token === "{" || token === "[") {
      out.push(token);
      depth += 1;
      if (!"}]".includes(tokens[at + 1])) newLine();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      if (!"{[".includes(tokens[at - 1])) newLine();
      out.push(token);
    } else if (token === ",") {
      out.push(token);
      newLine();
    } else out.push(token === ":" ? ": " : token);
  });
  return out.join("");
}
