// A cluster in this tab: NameServer and broker in a worker, with nobody else to ask.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, live, openPage, selectTopic, sendInPage, startServer, tailRow, waitFor } from "./support.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser?.close());

test("a cluster in this tab works with the network gone and the server stopped", async () => {
  const server = await startServer();
  const { page, context, faults, close } = await openPage(browser, server.playground);
  await live(page);
  await page.getByTestId("cluster-tab").click();
  await live(page);
  await context.setOffline(true);
  await server.stop();
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));

  await sendInPage(page, { topic: "alone", tag: "TagA", keys: "k", body: "offline 0" });
  await selectTopic(page, "alone");
  await tailRow(page, "offline 0").waitFor();
  await sendInPage(page, { topic: "alone", body: "offline {n} of many", count: 200 });
  const offsets = page.getByTestId("queue-table").locator("tbody tr td.strong");
  await waitFor("the queues to show 201 messages", async () => {
    return (await offsets.allInnerTexts()).map(Number).reduce((sum, max) => sum + max, 0) === 201;
  });
  await tailRow(page, "of many").first().waitFor();
  assert.deepEqual(asked, [], "the page asked somebody");
  assert.deepEqual(faults, []);
  await close();
});

test("messages in the tab are still there after a look at the server's cluster", async () => {
  const server = await startServer();
  const { page, faults, close } = await openPage(browser, server.playground);
  await live(page);
  await page.getByTestId("cluster-tab").click();
  await live(page);
  await sendInPage(page, { topic: "kept", body: "still here" });
  await page.getByTestId("cluster-server").click();
  await live(page);
  assert.equal(await page.locator('[data-topic="kept"]').count(), 0, "the server knows a topic of the tab");
  await page.getByTestId("cluster-tab").click();
  await live(page);
  await selectTopic(page, "kept");
  await tailRow(page, "still here").waitFor();
  assert.deepEqual(faults, []);
  await close();
  await server.stop();
});
