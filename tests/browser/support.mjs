// What these tests share: a server process, the official Java client, a browser, and waiting for what a page shows.
//
// Every server gets free loopback ports and a folder of its own, and is stopped by its process id. The Java client is the
// one of tests/java, prepared as tests/src/java.rs does it: the two share the folder and the stamp.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { chromium } from "playwright-core";

export const root = resolve(import.meta.dirname, "../..");
export const target = process.env.CARGO_TARGET_DIR ? resolve(root, process.env.CARGO_TARGET_DIR) : join(root, "target");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const START_MS = 30_000;

// What a failed test left running would keep the run from ending: it is killed when all else has ended long ago.
const children = new Set();
after(() => {
  const kill = () => children.forEach((child) => child.kill("SIGKILL"));
  setTimeout(kill, 20_000).unref();
});

/** Asks `ready` every 20 ms until it gives something true. */
export async function waitFor(what, ready, ms = 20_000) {
  for (const end = Date.now() + ms; ; await pause(20)) {
    const value = await ready();
    if (value) return value;
    assert.ok(Date.now() < end, `waited ${ms} ms in vain for ${what}`);
  }
}

/** A new folder; `remove` it when the test has passed. */
export function folder() {
  const path = mkdtempSync(join(tmpdir(), "skylark-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** The program under test: SKYLARK_BIN, or the one that was built last. */
function binary() {
  if (process.env.SKYLARK_BIN) return process.env.SKYLARK_BIN;
  const built = ["release", "debug"].map((profile) => join(target, profile, "skylark")).filter(existsSync);
  assert.ok(built.length > 0, "there is no program skylark: run `cargo build --bin skylark`, or name it in SKYLARK_BIN");
  return built.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
}

/** Starts `skylark up` on free ports over a folder of its own. */
export async function startServer(...more) {
  const home = folder();
  const args = ["up", "--dir", join(home.path, "store"), "--namesrv", "127.0.0.1:0", "--broker", "127.0.0.1:0", "--json", ...more];
  const child = spawn(binary(), args, { stdio: ["ignore", "pipe", "pipe"] });
  children.add(child);
  let words = "";
  child.stderr.on("data", (data) => (words += data));
  const ended = once(child, "exit");
  const lines = createInterface({ input: child.stdout });
  const first = await Promise.race([once(lines, "line"), ended.then(() => null), pause(START_MS, null, { ref: false })]);
  if (first === null) child.kill("SIGKILL");
  assert.ok(first, `the server did not start:\n${words}`);
  const { namesrv, broker, playground } = JSON.parse(first[0]);
  return {
    namesrv,
    broker,
    playground,
    token: new URLSearchParams(new URL(playground).hash.slice(1)).get("token"),
    /** Ends it gracefully; fails if it panicked meanwhile. */
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      await ended;
      assert.ok(!words.includes("panicked"), `the server panicked:\n${words}`);
      assert.equal(child.exitCode, 0, `the server ended badly (${child.signalCode}):\n${words}`);
      home.remove();
    },
  };
}

const VERSIONS = { v4: "4.9.8", v5: "5.3.3" };
const JAVA_PROJECT = join(root, "tests/java");

/** Builds the Java client of this profile if its sources changed, and returns where its classes are. */
function prepareJava(profile) {
  const build = join(target, "java", VERSIONS[profile]);
  const sources = join(JAVA_PROJECT, "src/main/java/skylark/tests");
  const paths = [join(JAVA_PROJECT, "pom.xml"), ...readdirSync(sources).sort().map((name) => join(sources, name))];
  const text = paths.map((path) => readFileSync(path, "utf8")).join("");
  const stamp = join(build, "built-from");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === text) return build;
  mkdirSync(build, { recursive: true });
  const args = ["--quiet", "--batch-mode", `-P${profile}`, `-Dskylark.build=${build}`, "compile"];
  const made = spawnSync("mvn", args, { cwd: JAVA_PROJECT, encoding: "utf8" });
  assert.equal(made.status, 0, `mvn could not build the Java client: ${made.error ?? made.stdout}`);
  writeFileSync(stamp, text);
  return build;
}

/**
 * Runs the Java client. `reports` grows with each line that it prints; `report(test)` waits for one that passes;
 * `ended` gives its exit code.
 */
export function java(profile, ...args) {
  const build = prepareJava(profile);
  const home = folder();
  const options = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", `-Duser.home=${home.path}`];
  options.push(`-Drocketmq.client.logRoot=${home.path}`, "-Drocketmq.client.logLevel=WARN", "-Drocketmq.log.level=WARN");
  const child = spawn("java", [...options, "-cp", `${build}/classes:${build}/lib/*`, "skylark.tests.Main", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.add(child);
  const reports = [];
  createInterface({ input: child.stdout }).on("line", (line) => reports.push(JSON.parse(line)));
  const ended = once(child, "close").then(([code]) => (home.remove(), code));
  return {
    reports,
    ended,
    report: async (test) => {
      const found = () => reports.find(test);
      await waitFor("a report of the Java client", () => found() || child.exitCode !== null, 60_000);
      // The last lines may be read after the exit was seen.
      await (child.exitCode === null || ended);
      assert.ok(found(), `the Java client ended without it: ${JSON.stringify(reports)}`);
      return found();
    },
    stop: async () => {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

/** Sends messages 0 to count-1 of tests/java's Content to the topic. */
export async function javaSend(server, topic, count, profile = "v5") {
  const run = java(profile, "send", "--namesrv", server.namesrv, "--topic", topic, "--count", `${count}`, "--mode", "sync");
  assert.equal(await run.ended, 0, JSON.stringify(run.reports));
}

export function launch() {
  return chromium.launch({ executablePath: CHROMIUM, headless: true, args: ["--disable-dev-shm-usage", "--disable-gpu"] });
}

/** A page of its own context. `faults` collects what went wrong in it: exceptions, errors on the console, broken policy. */
export async function openPage(browser, address, options = {}) {
  const context = await browser.newContext({ locale: "en-US", colorScheme: "light", viewport: { width: 1280, height: 860 }, ...options });
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(`exception: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && faults.push(`console: ${message.text()}`));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(address);
  return { page, context, faults, close: () => context.close() };
}

/** Waits until the page says that it is connected to the chosen cluster. */
export function live(page) {
  return page.locator('[data-testid="status"][data-state="live"]').waitFor();
}

/** Chooses a topic in the list, once it is there. */
export async function selectTopic(page, topic) {
  const row = page.getByTestId("topic-list").locator(`[data-topic="${topic}"]`);
  await row.click();
  assert.equal(await row.getAttribute("aria-selected"), "true");
}

/** Fills the form and sends; returns once the page shows where the message was stored. */
export async function sendInPage(page, { topic, tag = "", keys = "", body, count = 1 }) {
  await page.getByTestId("send-topic").fill(topic);
  await page.getByTestId("send-tag").fill(tag);
  await page.getByTestId("send-keys").fill(keys);
  await page.getByTestId("send-body").fill(body);
  await page.getByTestId("send-count").fill(`${count}`);
  await page.getByTestId("send-button").click();
  await page.getByTestId("send-result").waitFor();
}

/** A row of the live tail that shows this text. */
export function tailRow(page, text) {
  return page.getByTestId("tail-row").filter({ hasText: text });
}

/** Writes a picture where the README finds it when that was asked for, otherwise below target/. */
export function picturePath(name) {
  const place = process.env.UPDATE_SCREENSHOTS === "1" ? join(root, "docs") : join(target, "screenshots");
  mkdirSync(place, { recursive: true });
  return join(place, name);
}
