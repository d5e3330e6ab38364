// The playground on this server's cluster, with the official Java client at the other end.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { java, javaSend, launch, live, openPage, selectTopic, sendInPage, startServer, tailRow, waitFor } from "./support.mjs";

let server;
let browser;
before(async () => {
  server = await startServer();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test("a message that Java sent appears in the live tail, unless the tail is paused", async () => {
  const { page, faults, close } = await openPage(browser, server.playground);
  await live(page);
  await javaSend(server, "from-java", 1, "v4");
  await selectTopic(page, "from-java");
  await page.getByTestId("tail").waitFor({ state: "attached" });
  await tailRow(page, "from-java:0:").waitFor();

  // Message 2 is new with this run, and has the tag "Aa".
  await javaSend(server, "from-java", 3);
  const row = tailRow(page, "from-java:2:");
  await row.waitFor();
  assert.match(await row.innerText(), /Aa/);

  await page.getByTestId("tail-pause").click();
  await javaSend(server, "from-java", 5);
  await waitFor("the queues to show all nine messages", async () => (await sumOfMaxOffsets(page)) === 9);
  assert.equal(await tailRow(page, "from-java:4:").count(), 0, "a paused tail moves");
  await page.getByTestId("tail-pause").click();
  await tailRow(page, "from-java:4:").waitFor();
  assert.deepEqual(faults, []);
  await close();
});

async function sumOfMaxOffsets(page) {
  const cells = await page.getByTestId("queue-table").locator("tbody tr td.strong").allInnerTexts();
  return cells.map(Number).reduce((sum, max) => sum + max, 0);
}

test("a message sent in the page reaches a Java consumer as it was written", async () => {
  const { page, faults, close } = await openPage(browser, server.playground);
  await live(page);
  const body = 'Grüße, 你好 🦀 — "quoted" \\ <b>not markup</b>\nsecond line';
  await sendInPage(page, { topic: "from-page", body: "first" });
  const args = ["--namesrv", server.namesrv, "--topic", "from-page", "--group", "readers", "--expect", "2", "--print", "true"];
  const consumers = { v4: java("v4", "consume", ...args), v5: java("v5", "consume", ...args.with(5, "readers-5")) };
  for (const consumer of Object.values(consumers)) await consumer.report((report) => report.kind === "ready");
  await sendInPage(page, { topic: "from-page", tag: "TagA", keys: "k1 k2", body });
  for (const [version, consumer] of Object.entries(consumers)) {
    const message = await consumer.report((report) => report.kind === "message" && report.tag === "TagA");
    assert.equal(message.body, body, version);
    assert.equal(message.keys, "k1 k2", version);
    await consumer.report((report) => report.kind === "message" && report.body === "first");
    await consumer.stop();
  }
  assert.equal(await page.locator(".row b, .row-body b").count(), 0, "a body became markup (SEC-15)");
  assert.deepEqual(faults, []);
  await close();
});

test("the page shows the cluster, the topic's queues and their offsets", async () => {
  const { page, faults, close } = await openPage(browser, server.playground);
  await live(page);
  await sendInPage(page, { topic: "counted", body: "{n}", count: 50 });
  await selectTopic(page, "counted");
  await waitFor("the queues to show 50 messages", async () => (await sumOfMaxOffsets(page)) === 50);
  assert.match(await page.getByTestId("cluster-panel").innerText(), new RegExp(server.broker.replaceAll(".", "\\.")));
  await page.getByTestId("throughput").locator("canvas").waitFor();
  assert.deepEqual(faults, []);
  await close();
});

test("a topic that appears does not write into the topic field while a person is in it", async () => {
  const own = await startServer();
  const [mine, theirs] = [await openPage(browser, own.playground), await openPage(browser, own.playground)];
  await live(mine.page);
  const field = mine.page.getByTestId("send-topic");
  const before = await field.inputValue();
  await field.focus();
  await live(theirs.page);
  await sendInPage(theirs.page, { topic: "late", body: "x" });
  await mine.page.getByTestId("topic-list").locator('[data-topic="late"]').waitFor();
  assert.equal(await field.inputValue(), before);
  await mine.page.getByTestId("send-tag").focus();
  await waitFor("the form to follow the topic again", async () => (await field.inputValue()) === "late");
  await Promise.all([mine.close(), theirs.close()]);
  await own.stop();
});

test("language and colours change at once and are remembered", async () => {
  const { page, faults, close } = await openPage(browser, server.playground);
  await live(page);
  const ink = () => page.evaluate(() => getComputedStyle(document.body).color);
  const light = await ink();
  await page.getByTestId("theme-toggle").click();
  assert.notEqual(await ink(), light);
  await page.getByTestId("language-toggle").click();
  assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
  const heading = await page.locator("main h2").first().innerText();
  assert.match(heading, /\p{Script=Han}/u);
  await page.reload();
  await live(page);
  assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
  assert.notEqual(await ink(), light);
  assert.deepEqual(faults, []);
  await close();
});

test("without the token the page says where to find it", async () => {
  const address = new URL(server.playground);
  address.hash = "";
  const { page, close } = await openPage(browser, address.href);
  await page.locator('[data-testid="status"][data-state="token"]').waitFor();
  assert.match(await page.locator("main").innerText(), /skylark up/);
  await close();
});

test("the page says that nobody answers when the server has stopped", async () => {
  const own = await startServer();
  const { page, close } = await openPage(browser, own.playground);
  await live(page);
  await own.stop();
  await page.locator('[data-testid="status"][data-state="waiting"]').waitFor({ timeout: 30_000 });
  assert.match(await page.locator("main").innerText(), new RegExp(new URL(own.playground).host.replaceAll(".", "\\.")));
  await close();
});
