// skylark-mq: RocketMQ for JavaScript. Importing it does nothing; the wasm module is fetched at the first `connect`.

import { connectWith } from "./connect.js";
import { loadClient } from "./load.js";
import type { Client, ConnectOptions } from "./types.js";

/**
 * Connects to a cluster through one of its NameServers.
 *
 * `url` is "ws://127.0.0.1:9876/ws?token=…", or the address that `skylark up` prints; or a MessagePort that a tab
 * cluster gave out. Resolves when the NameServer has answered.
 */
export function connect(url: string | MessagePort, options?: ConnectOptions): Promise<Client> {
  return connectWith(loadClient, url, options);
}

export { ConnectionError, RefusedError, SkylarkError, TimeoutError, UsageError } from "./errors.js";
export type * from "./types.js";
