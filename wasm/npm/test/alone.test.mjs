// What needs no cluster: addresses, runtimes without a WebSocket, links that fail, and that a program may end.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { connect, ConnectionError, folder, UsageError } from "./package.mjs";

/** A WebSocket that only remembers where it was to go, and then does what the test says. */
function fake(then) {
  const urls = [];
  class Fake {
    constructor(url) {
      urls.push(url);
      queueMicrotask(() => then(this));
    }
    send() {}
    close() {}
  }
  return { WebSocket: Fake, urls };
}

test("addresses are understood as people write them, and a token shows in no error (SEC-11)", async () => {
  const cases = {
    "ws://127.0.0.1:9876/ws?token=secret": "ws://127.0.0.1:9876/ws?token=secret",
    "ws://127.0.0.1:9876": "ws://127.0.0.1:9876/ws",
    "http://127.0.0.1:9876/#token=secret": "ws://127.0.0.1:9876/ws?token=secret",
    "https://mq.example/path": "wss://mq.example:443/path",
    "wss://[::1]:7/ws": "wss://[::1]:7/ws",
  };
  for (const [given, dialled] of Object.entries(cases)) {
    const { WebSocket, urls } = fake((socket) => socket.onclose({ reason: "" }));
    await assert.rejects(connect(given, { WebSocket }), (error) => {
      assert.ok(error instanceof ConnectionError && error.retryable, given);
      assert.ok(!error.message.includes("secret"), error.message);
      return error.message.includes("the right token");
    });
    assert.equal(urls[0], dialled);
  }
});

test("what is no address is refused with an example", async () => {
  for (const given of ["", "nonsense", "127.0.0.1:9876", "ftp://x/", 5, null, {}]) {
    await assert.rejects(connect(given), (error) => error instanceof UsageError && error.message.includes("ws://127.0.0.1:9876/ws"), `${given}`);
  }
  await assert.rejects(connect("ws://127.0.0.1:1/ws", { timeout: 0 }), UsageError);
});

test("a runtime without WebSocket is told what to do", async () => {
  const own = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  delete globalThis.WebSocket;
  try {
    await assert.rejects(connect("ws://127.0.0.1:1/ws"), (error) => error instanceof UsageError && error.message.includes("Node 22"));
  } finally {
    if (own !== undefined) Object.defineProperty(globalThis, "WebSocket", own);
  }
});

test("the reason of a failed WebSocket is in the error", async () => {
  const { WebSocket } = fake((socket) => socket.onerror({ message: "connect ECONNREFUSED" }));
  await assert.rejects(connect("ws://127.0.0.1:1/ws", { WebSocket }), /ECONNREFUSED/);
  class Throws {
    constructor() {
      throw new DOMException("mixed content", "SecurityError");
    }
  }
  await assert.rejects(connect("ws://127.0.0.1:1/ws", { WebSocket: Throws }), /mixed content/);
  await assert.rejects(connect("ws://127.0.0.1:1/ws", { WebSocket: class {} }), /neither a WebSocket nor a MessagePort/);
});

test("bytes that make no sense end the link (SEC-8)", async () => {
  const { WebSocket } = fake((socket) => {
    socket.onopen({});
    socket.onmessage({ data: new Uint8Array(64).fill(0xff).buffer });
  });
  await assert.rejects(connect("ws://127.0.0.1:1/ws", { WebSocket, timeout: 60_000 }), ConnectionError);
});

test("silence is a timeout, and an abort ends the wait at once", async () => {
  const { WebSocket } = fake(() => undefined);
  await assert.rejects(connect("ws://127.0.0.1:1/ws", { WebSocket, timeout: 50 }), (error) => error instanceof ConnectionError);
  const abort = new AbortController();
  const connecting = connect("ws://127.0.0.1:1/ws", { WebSocket, timeout: 60_000, signal: abort.signal });
  abort.abort("enough");
  await assert.rejects(connecting, (reason) => reason === "enough");
  await assert.rejects(connect("ws://127.0.0.1:1/ws", { WebSocket, signal: AbortSignal.abort("before") }), (reason) => reason === "before");
});

test("a module that does not start is an error that says so", async () => {
  const script = `
    const { start } = await import(${JSON.stringify(new URL("load.js", folder).href)});
    const glue = await import(${JSON.stringify(new URL("wasm/client.js", folder).href)});
    await start(glue, new Uint8Array([1, 2, 3])).then(() => console.log("started"), (error) => console.log(error.codeName));
  `;
  assert.equal(await run(script), "WASM");
});

test("importing has no effect and a closed client keeps no program alive", async () => {
  const index = JSON.stringify(new URL("index.js", folder).href);
  const tab = JSON.stringify(new URL("tab.js", folder).href);
  assert.equal(await run(`await import(${index}); await import(${tab}); console.log("imported");`), "imported");
  const talk = `
    import { startTabCluster } from ${tab};
    const cluster = await startTabCluster();
    const client = await cluster.connect();
    const { status } = await client.producer().send({ topic: "t", body: "x" });
    const consumer = client.consumer("t", { group: "g", from: "first" });
    for await (const message of consumer) { console.log(status, message.text()); break; }
    await cluster.close();
  `;
  assert.equal(await run(talk), "SEND_OK x");
});

/** Runs a module in a process of its own, which must end by itself, and answers what it printed. */
async function run(script) {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (data) => (out += data));
  const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
  const [code, signal] = await new Promise((resolve) => child.on("close", (...end) => resolve(end)));
  clearTimeout(timer);
  assert.equal(signal, null, `it did not end by itself; it printed: ${out}`);
  assert.equal(code, 0);
  return out.trim();
}
