// Opening a client: the module loaded, the address understood, the NameServer asked once, so that a wrong
// address shows here and not at the first send.

import { endpointOf } from "./address.js";
import { abortable, WasmClient } from "./client.js";
import { ConnectionError, SkylarkError, TimeoutError, UsageError } from "./errors.js";
import type { Load } from "./load.js";
import type { Client, ConnectOptions, WebSocketConstructor } from "./types.js";

/** The NameServer's address in a tab cluster. No network has it. */
export const TAB_NAMESRV = "10.0.0.1:9876";

/** `connect`, with a way to load the module. */
export async function connectWith(load: Load, to: string | MessagePort, options: ConnectOptions = {}): Promise<Client> {
  const { signal, clientId = randomId(), timeout = 3000, resolve } = options;
  signal?.throwIfAborted();
  if (!Number.isFinite(timeout) || timeout <= 0) {
    throw new UsageError(`connect: timeout is a number of milliseconds above 0, not ${timeout}`);
  }
  const way = typeof to === "string" ? throughWebSockets(to, options.WebSocket, resolve) : throughPort(to);
  const glue = await (signal === undefined ? load() : abortable(load(), signal));
  const [seed = 0n] = crypto.getRandomValues(new BigUint64Array(1));
  const client = new WasmClient(glue, { namesrvs: [way.namesrv], clientId, timeout, seed }, way.dial);
  try {
    const greeting = client.ask<unknown>({ op: "clusters" });
    await (signal === undefined ? greeting : abortable(greeting, signal));
    return client;
  } catch (error) {
    client.abandon(error);
    throw error instanceof SkylarkError ? unreachable(way.shown, error) : error;
  }
}

interface Way {
  readonly namesrv: string;
  /** For people. */
  readonly shown: string;
  dial(address: string): object;
}

function throughWebSockets(url: string, given: WebSocketConstructor | undefined, resolve: ConnectOptions["resolve"]): Way {
  const { namesrv, shown, urlOf } = endpointOf(url, resolve);
  const Socket = given ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (Socket === undefined) {
    throw new UsageError(
      'this runtime has no WebSocket: use Node 22 or later, or give one, as in connect(url, { WebSocket }) after import { WebSocket } from "ws"',
    );
  }
  return { namesrv, shown, dial: (address) => new Socket(urlOf(address)) };
}

/** Each link is a channel of its own, whose other end is sent to the hub with the address it is for. */
function throughPort(port: MessagePort): Way {
  if (typeof (port as { postMessage?: unknown } | null)?.postMessage !== "function") {
    throw new UsageError('connect needs the address of a NameServer as text, such as "ws://127.0.0.1:9876/ws", or a MessagePort of a tab cluster');
  }
  return {
    namesrv: TAB_NAMESRV,
    shown: "the tab cluster",
    dial: (address) => {
      const link = new MessageChannel();
      port.postMessage({ address, port: link.port2 }, [link.port2]);
      return link.port1;
    },
  };
}

function unreachable(shown: string, error: SkylarkError): SkylarkError {
  if (!(error instanceof ConnectionError || error instanceof TimeoutError)) return error;
  const message = `cannot connect to ${shown}: ${error.message}; a page also needs the right token`;
  return new ConnectionError(message, error.code, error.codeName, true, { cause: error });
}

function randomId(): string {
  return `js@${Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
