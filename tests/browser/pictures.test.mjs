// Pictures of the page for the README: written to docs/ with UPDATE_SCREENSHOTS=1, otherwise below target/.

import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { after, before, test } from "node:test";
import { javaSend, launch, live, openPage, picturePath, selectTopic, sendInPage, startServer, tailRow, waitFor } from "./support.mjs";

const MOST_BYTES = 200 * 1000;

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

const PICTURES = [
  { name: "playground-light.png", colorScheme: "light", locale: "en-US" },
  { name: "playground-dark.png", colorScheme: "dark", locale: "en-US" },
  { name: "playground-zh.png", colorScheme: "light", locale: "zh-CN" },
];

test("the page in use, in light, dark and Chinese", async () => {
  await javaSend(server, "orders", 40);
  await javaSend(server, "payments", 20, "v4");
  for (const { name, ...look } of PICTURES) {
    const { page, close } = await openPage(browser, server.playground, { ...look, viewport: { width: 1280, height: 880 } });
    await live(page);
    // A few seconds of traffic, so that the plot and the rates have something to show.
    for (let second = 0; second < 4; second++) {
      await sendInPage(page, { topic: "orders", tag: "paid", keys: "order-{n}", body: `{"order": {n}, "state": "paid"}`, count: 60 + 40 * second });
      await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 1000)));
    }
    await selectTopic(page, "orders");
    await tailRow(page, "paid").first().waitFor();
    await waitFor("offsets", async () => (await page.getByTestId("queue-table").locator("tbody tr").count()) > 0);
    await page.evaluate(() => document.activeElement.blur());
    await page.mouse.move(0, 0);
    await page.evaluate(() => scrollTo(0, 0));
    const path = picturePath(name);
    await page.screenshot({ path });
    const { size } = statSync(path);
    assert.ok(size > 20_000 && size < MOST_BYTES, `${name} has ${size} bytes`);
    await close();
  }
});
