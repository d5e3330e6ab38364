// Message bodies as strings for text nodes: text, hex, checked JSON (SEC-15). Nothing here makes markup.
//
// JSON is checked by the engine's parser and then laid out from its own characters, not from the parsed value: numbers
// beyond 2^53, repeated keys and escapes are shown as they were sent.

/** At most this many bytes of a body are laid out. */
export const BODY_LIMIT = 64 * 1024;

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });

export interface Text {
  readonly text: string;
  /** False when some bytes are not UTF-8 and stand as U+FFFD. */
  readonly exact: boolean;
}

export function toText(bytes: Uint8Array): Text {
  try {
    return { text: strict.decode(bytes), exact: true };
  } catch {
    return { text: lenient.decode(bytes), exact: false };
  }
}

/** Sixteen bytes a line: offset, hex, printable ASCII. */
export function toHex(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    let hex = "";
    let ascii = "";
    for (let i = 0; i < 16; i++) {
      const byte = row[i];
      if (i === 8) hex += " ";
      if (byte === undefined) {
        hex += "   ";
        continue;
      }
      hex += `${byte.toString(16).padStart(2, "0")} `;
      ascii += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".";
    }
    lines.push(`${at.toString(16).padStart(8, "0")}  ${hex} ${ascii}`);
  }
  return lines.join("\n");
}

export type Json = { readonly ok: true; readonly pretty: string } | { readonly ok: false; readonly reason: string };

export function toJson(bytes: Uint8Array): Json {
  const { text, exact } = toText(bytes);
  if (!exact) return { ok: false, reason: "UTF-8" };
  try {
    JSON.parse(text);
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
  return { ok: true, pretty: indentJson(text) };
}

/** Lays out text that is known to be JSON. */
function indentJson(text: string): string {
  let out = "";
  let depth = 0;
  const line = (): string => `\n${"  ".repeat(depth)}`;
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (c === '"') {
      const start = i;
      for (i++; text.charAt(i) !== '"'; i++) if (text.charAt(i) === "\\") i++;
      out += text.slice(start, i + 1);
    } else if (c === "{" || c === "[") {
      const rest = text.slice(i + 1).match(/^\s*([}\]])/);
      if (rest) {
        out += c + (rest[1] ?? "");
        i += rest[0].length;
      } else {
        depth++;
        out += c + line();
      }
    } else if (c === "}" || c === "]") {
      depth--;
      out += line() + c;
    } else if (c === ",") out += c + line();
    else if (c === ":") out += ": ";
    else if (!/\s/.test(c)) out += c;
  }
  return out;
}

/** One short line for a list: the text with controls as spaces, or the first bytes in hex. */
export function preview(bytes: Uint8Array, max = 160): string {
  const head = bytes.subarray(0, max * 4);
  const cut = bytes.length > head.length;
  const { text, exact } = toText(head);
  // A cut may fall inside a character; what stands before it is still text.
  if (exact || (cut && !text.slice(0, -3).includes("\ufffd"))) {
    const line = text.replace(/[\s\p{Cc}]+/gu, " ").trim();
    return line.length > max ? `${line.slice(0, max)}…` : line;
  }
  const hex = Array.from(bytes.subarray(0, 24), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return bytes.length > 24 ? `${hex} …` : hex;
}
