// The script of a tab cluster's worker: starts the hub and gives it the links that clients open. See tab.ts.

import { type Broker, listeners, loadBroker } from "./load.js";
import type { FromWorker, ToWorker } from "./tab.js";

/** The side of a worker that its script sees. */
interface Parent {
  postMessage(message: FromWorker): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
}

/** What a client sends on its port to open a link. */
interface Hello {
  readonly address: string;
  readonly port: MessagePort;
}

const ports = new Set<MessagePort>();
const waiting: MessagePort[] = [];
let hub: InstanceType<Broker["Hub"]> | undefined;

async function start(parent: Parent, options: { cluster: string; autoCreateTopic: boolean }): Promise<void> {
  const fail = (error: unknown): void => parent.postMessage({ failed: error instanceof Error ? error.message : String(error) });
  try {
    listeners.add(fail);
    const glue = await loadBroker();
    const [seed = 0n] = crypto.getRandomValues(new BigUint64Array(1));
    hub = new glue.Hub({ ...options, seed });
    for (const port of waiting.splice(0)) serve(hub, port);
    parent.postMessage({ ready: true });
  } catch (error) {
    fail(error);
  }
}

function serve(to: InstanceType<Broker["Hub"]>, port: MessagePort): void {
  ports.add(port);
  port.onmessage = ({ data }: MessageEvent<Hello>) => to.accept(data.address, data.port);
}

function attend(parent: Parent): void {
  parent.onmessage = ({ data }) => {
    if ("start" in data) void start(parent, data.start);
    else if ("stop" in data) {
      hub?.shut();
      for (const port of ports) port.close();
      parent.postMessage({ stopped: true });
    } else if (hub === undefined) waiting.push(data.port);
    else serve(hub, data.port);
  };
}

const { process } = globalThis as { process?: { versions?: { node?: string } } };
if (typeof (globalThis as { postMessage?: unknown }).postMessage === "function") {
  attend(globalThis as unknown as Parent);
} else if (process?.versions?.node !== undefined) {
  const name = "node:worker_threads";
  const { parentPort } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as { parentPort: Parent };
  attend(parentPort);
}
