// Brings the wasm modules into memory, once each, when something needs them.
//
// A page or worker fetches the file that lies beside this one; in Node it is read from disk. Bundlers know
// `new URL(…, import.meta.url)` and carry the file along. Where neither works there is "skylark-mq/inline".

import { ConnectionError, SkylarkError } from "./errors.js";
import type * as BrokerGlue from "./wasm/broker.js";
import type * as ClientGlue from "./wasm/client.js";

export type Client = typeof ClientGlue;
export type Broker = typeof BrokerGlue;
export type Load = () => Promise<Client>;

let client: Promise<Client> | undefined;

/** The module for clients. A failure is not remembered. */
export const loadClient: Load = () => {
  client ??= once(async () => start(await import("./wasm/client.js"), await bytes(new URL("./wasm/client.wasm", import.meta.url))), () => {
    client = undefined;
  });
  return client;
};

/** The module for the worker of a tab cluster. A worker loads it once. */
export async function loadBroker(): Promise<Broker> {
  return start(await import("./wasm/broker.js"), await bytes(new URL("./wasm/broker.wasm", import.meta.url)));
}

/** Runs a module. Its panics become errors that a person can read, for whoever listens. */
export async function start<Glue extends Client | Broker>(glue: Glue, module: Response | BufferSource): Promise<Glue> {
  try {
    await glue.default({ module_or_path: module });
  } catch (cause) {
    throw new SkylarkError(
      "the wasm module does not start; a page with a Content-Security-Policy must allow script-src 'wasm-unsafe-eval'",
      -1, "WASM", false, { cause },
    );
  }
  glue.onPanic((message: string) => {
    for (const listener of [...listeners]) listener(broken(message));
  });
  return glue;
}

/** Those who must know when the module breaks. */
export const listeners = new Set<(error: SkylarkError) => void>();

function broken(message: string): SkylarkError {
  return new SkylarkError(`skylark-mq has a bug and stopped: ${message}; please report it, and reload`, -1, "PANIC", false);
}

function once<T>(load: () => Promise<T>, forget: () => void): Promise<T> {
  const loading = load();
  loading.catch(forget);
  return loading;
}

async function bytes(url: URL): Promise<Response | BufferSource> {
  try {
    if (url.protocol === "file:") {
      // Not a literal, so that bundlers for browsers do not look for it.
      const name = "node:fs/promises";
      const fs = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as { readFile(path: URL): Promise<Uint8Array<ArrayBuffer>> };
      return await fs.readFile(url);
    }
    const response = await fetch(url);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return response;
  } catch (cause) {
    throw new ConnectionError(
      `cannot load ${url.href}: serve the package's folder "wasm" beside its scripts, or import "skylark-mq/inline", which needs no file`,
      -1, "WASM", true, { cause },
    );
  }
}
