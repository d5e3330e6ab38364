// The package as it was built, for the tests beside this file: `cargo xtask build-web` first.

import { existsSync } from "node:fs";

const built = new URL("../../../target/npm/skylark-mq/", import.meta.url);
if (!existsSync(new URL("index.js", built))) throw new Error(`there is no package in ${built.pathname}: run \`cargo xtask build-web\``);

/** The folder of the built package, a URL. */
export const folder = built;
export const { connect, ConnectionError, RefusedError, SkylarkError, TimeoutError, UsageError } = await import(new URL("index.js", built));
export const { startTabCluster } = await import(new URL("tab.js", built));

/** The first `count` messages; the last of them stays in hand. The consumer is closed. */
export async function take(consumer, count) {
  const taken = [];
  for await (const message of consumer) {
    taken.push(message);
    if (taken.length === count) break;
  }
  return taken;
}
