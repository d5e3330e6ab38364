// How bodies become strings for the page (SEC-15).

import assert from "node:assert/strict";
import { test } from "node:test";
import { preview, toHex, toJson, toText } from "../src/data/body.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

test("text keeps every character, and says when bytes are not text", () => {
  assert.deepEqual(toText(utf8("<b>&amp; 云雀 🐦\u0000")), { text: "<b>&amp; 云雀 🐦\u0000", exact: true });
  assert.deepEqual(toText(Uint8Array.of(0x61, 0xff, 0x62)), { text: "a\ufffdb", exact: false });
  assert.deepEqual(toText(utf8("\ufeffx")), { text: "\ufeffx", exact: true });
});

test("hex has sixteen bytes a line and lines up to the last one", () => {
  const bytes = Uint8Array.from({ length: 18 }, (_, i) => i + 0x38);
  assert.equal(
    toHex(bytes),
    [
      "00000000  38 39 3a 3b 3c 3d 3e 3f  40 41 42 43 44 45 46 47  89:;<=>?@ABCDEFG",
      "00000010  48 49                                             HI",
    ].join("\n"),
  );
  assert.equal(toHex(new Uint8Array()), "");
});

test("JSON is laid out from its own characters", () => {
  const json = toJson(utf8('{"id":12345678901234567890,"a":[1,{"b":"}, \\"["}],"a":[],"e":{ }}'));
  assert.ok(json.ok);
  assert.equal(
    json.pretty,
    [
      "{",
      '  "id": 12345678901234567890,',
      '  "a": [',
      "    1,",
      "    {",
      '      "b": "}, \\"["',
      "    }",
      "  ],",
      '  "a": [],',
      '  "e": {}',
      "}",
    ].join("\n"),
  );
});

test("what is not JSON is refused with a reason", () => {
  for (const bad of ["", "{", "{'a':1}", "hello"]) {
    const json = toJson(utf8(bad));
    assert.ok(!json.ok && json.reason !== "", bad);
  }
  assert.equal(toJson(Uint8Array.of(0x22, 0xff, 0x22)).ok, false);
});

test("a preview is one short line, also where a character is cut", () => {
  assert.equal(preview(utf8("a\n\tb\u0000c  ")), "a b c");
  assert.equal(preview(utf8("云".repeat(400)), 10), `${"云".repeat(10)}…`);
  assert.equal(preview(Uint8Array.of(0xca, 0xfe)), "ca fe");
  assert.equal(preview(new Uint8Array(30).fill(0xff)), `${"ff ".repeat(24)}…`);
  assert.equal(preview(new Uint8Array()), "");
});
