// skylark-mq/inline: the same, with the wasm module inside the script, for bundles of one file and places that
// cannot fetch. Larger by a third of the module.

import { connectWith } from "./connect.js";
import { type Client as Glue, type Load, start } from "./load.js";
import type { Client, ConnectOptions } from "./types.js";
import { base64 } from "./wasm/client.inline.js";
import * as glue from "./wasm/client.js";

let started: Promise<Glue> | undefined;

const load: Load = () => (started ??= start(glue, Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))));

/** As `connect` of "skylark-mq". */
export function connect(url: string | MessagePort, options?: ConnectOptions): Promise<Client> {
  return connectWith(load, url, options);
}

export { ConnectionError, RefusedError, SkylarkError, TimeoutError, UsageError } from "./errors.js";
export type * from "./types.js";
