// The page for everyone: no axe violation in any colours and language, and everything by keyboard alone.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { launch, live, openPage, selectTopic, sendInPage, startServer, tailRow } from "./support.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

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

async function assertAccessible(page, what) {
  // The picture of a moment: nothing may be between two colours while contrast is measured.
  await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.effect?.getTiming().iterations === Infinity ? null : animation.finished.catch(() => null))));
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => {
    const result = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return result.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.target.join(" ")).join(", ")}`);
  });
  assert.deepEqual(violations, [], what);
}

for (const colorScheme of ["light", "dark"]) {
  for (const locale of ["en-US", "zh-CN"]) {
    test(`axe finds nothing, ${colorScheme}, ${locale}`, async () => {
      const { page, close } = await openPage(browser, server.playground, { colorScheme, locale });
      await live(page);
      await assertAccessible(page, "at first");
      await sendInPage(page, { topic: "access", tag: "TagA", keys: "k", body: '{"json": true}' });
      await selectTopic(page, "access");
      await tailRow(page, "json").first().waitFor();
      await assertAccessible(page, "with messages");
      await tailRow(page, "json").first().click();
      await page.getByRole("dialog").waitFor();
      await assertAccessible(page, "with a message open");
      await page.keyboard.press("Escape");
      await page.getByTestId("tail-pause").click();
      await page.getByTestId("send-topic").fill("not a topic!");
      await page.getByTestId("send-button").click();
      await page.getByTestId("send-fault").waitFor();
      await assertAccessible(page, "paused, with a fault");
      await close();
    });
  }
}

test("axe finds nothing on a narrow screen and without the token", async () => {
  const phone = await openPage(browser, server.playground, { viewport: { width: 360, height: 740 } });
  await live(phone.page);
  await assertAccessible(phone.page, "narrow");
  const wide = await phone.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `the page is ${wide} px wider than a phone`);
  await phone.close();
  const address = new URL(server.playground);
  address.hash = "";
  const stranger = await openPage(browser, address.href);
  await stranger.page.locator('[data-testid="status"][data-state="token"]').waitFor();
  await assertAccessible(stranger.page, "without the token");
  await stranger.close();
});

/** Presses Tab until the focus is on this element (or in it), and checks that one can see where it is. */
async function tabTo(page, testid, key = "Tab") {
  for (let presses = 0; presses < 80; presses++) {
    await page.keyboard.press(key);
    const state = await page.evaluate((id) => {
      const focused = document.activeElement;
      const style = getComputedStyle(focused);
      const seen = style.outlineStyle !== "none" || style.boxShadow !== "none";
      return { here: focused.closest(`[data-testid="${id}"]`) !== null, seen, name: focused.outerHTML.slice(0, 200) };
    }, testid);
    assert.ok(state.seen, `one cannot see that the focus is on ${state.name}`);
    if (state.here) return;
  }
  assert.fail(`80 presses of ${key} do not reach ${testid}`);
}

test("everything by keyboard alone", async () => {
  const { page, faults, close } = await openPage(browser, server.playground);
  const { keyboard } = page;
  await live(page);

  // The choice of the cluster is one stop; arrows choose.
  await tabTo(page, "cluster-server");
  await keyboard.press("ArrowRight");
  await live(page);
  assert.equal(await page.getByTestId("cluster-tab").getAttribute("aria-checked"), "true");

  await tabTo(page, "language-toggle");
  await keyboard.press("Enter");
  assert.equal(await page.locator("html").getAttribute("lang"), "zh-CN");
  await keyboard.press("Enter");
  await tabTo(page, "theme-toggle");
  await keyboard.press("Space");

  // Two topics, each by a message.
  for (const topic of ["keys-1", "keys-2"]) {
    await tabTo(page, "send-topic", topic === "keys-1" ? "Tab" : "Shift+Tab");
    await keyboard.press("Control+A");
    await keyboard.type(topic);
    await keyboard.press("Tab");
    await keyboard.type("TagK");
    await tabTo(page, "send-keys");
    await keyboard.type("key");
    await tabTo(page, "send-body");
    await keyboard.press("Control+A");
    await keyboard.type(`typed for ${topic}`);
    await keyboard.press("Control+Enter");
    await page.locator(`[data-testid="topic-list"] [data-topic="${topic}"][aria-selected="true"]`).waitFor();
  }
  await tailRow(page, "typed for keys-2").waitFor();

  // The list of topics is one stop; arrows move in it, Enter chooses.
  await tabTo(page, "topic-list", "Shift+Tab");
  await keyboard.press("Home");
  await keyboard.press("Enter");
  assert.equal(await page.locator('[data-topic="keys-1"]').getAttribute("aria-selected"), "true");
  await tailRow(page, "typed for keys-1").waitFor();

  // A message opens and closes, and the focus comes back to it.
  await tabTo(page, "tail-row");
  await keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  assert.match(await page.getByRole("dialog").innerText(), /typed for keys-1/);
  await keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  assert.ok(await page.evaluate(() => document.activeElement.matches('[data-testid="tail-row"]')), "the focus is lost");

  await tabTo(page, "tail-pause", "Shift+Tab");
  await keyboard.press("Space");
  assert.match(await page.getByTestId("tail-pause").innerText(), /Resume/);
  assert.deepEqual(faults, []);
  await close();
});
