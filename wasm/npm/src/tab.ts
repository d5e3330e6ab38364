// skylark-mq/tab: a cluster inside of this page or process. A NameServer and a broker run in a worker of their own,
// with the messages in memory, and speak RocketMQ's protocol over MessagePorts.

import { connectWith } from "./connect.js";
import { disposable } from "./dispose.js";
import { SkylarkError, UsageError } from "./errors.js";
import { loadClient } from "./load.js";
import type { Client, ConnectOptions } from "./types.js";

/** How a tab cluster shall be. */
export interface TabClusterOptions {
  /** The cluster's name. Default: "TabCluster". */
  name?: string | undefined;
  /** Create a topic at its first send. Default: true. */
  autoCreateTopic?: boolean | undefined;
}

/** A cluster inside of this page or process. */
export interface TabCluster extends AsyncDisposable {
  /** A client of it. */
  connect(options?: ConnectOptions): Promise<Client>;
  /** A port for one client elsewhere, say in another worker: transfer it there and give it to `connect`. */
  port(): MessagePort;
  /** Closes the clients that `connect` made, then ends the worker. What was stored is gone. */
  close(): Promise<void>;
}

/** What the worker is told. */
export type ToWorker =
  | { readonly start: { readonly cluster: string; readonly autoCreateTopic: boolean } }
  | { readonly port: MessagePort }
  | { readonly stop: true };

/** What it says. */
export type FromWorker = { readonly ready: true } | { readonly stopped: true } | { readonly failed: string };

/** A worker of any runtime. */
interface Crew {
  post(message: ToWorker, transfer?: MessagePort[]): void;
  listen(message: (message: FromWorker) => void, failed: (why: string) => void): void;
  terminate(): void;
}

/** Starts a cluster. Resolves when it serves. */
export async function startTabCluster(options: TabClusterOptions = {}): Promise<TabCluster> {
  const { name = "TabCluster", autoCreateTopic = true } = options;
  const crew = await hire();
  const cluster = new WorkerCluster(crew);
  crew.post({ start: { cluster: name, autoCreateTopic } });
  await cluster.ready;
  return cluster;
}

class WorkerCluster implements TabCluster {
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  readonly ready: Promise<void>;
  readonly #crew: Crew;
  readonly #clients = new Set<Client>();
  #closing: Promise<void> | undefined;
  #stopped: () => void = () => undefined;
  #broken: SkylarkError | undefined;

  constructor(crew: Crew) {
    this.#crew = crew;
    this.ready = new Promise((resolve, reject) => {
      const fail = (why: string): void => {
        this.#broken = new SkylarkError(`the tab cluster stopped: ${why}`, -1, "TAB_CLUSTER", false);
        crew.terminate();
        this.#stopped();
        reject(this.#broken);
      };
      crew.listen((message) => {
        if ("ready" in message) resolve();
        else if ("stopped" in message) this.#stopped();
        else fail(message.failed);
      }, fail);
    });
    disposable(this, () => this.close());
  }

  async connect(options?: ConnectOptions): Promise<Client> {
    const port = this.port();
    const close = (): void => port.close();
    try {
      const client = await connectWith(loadClient, port, options);
      this.#clients.add(client);
      void client.closed.catch(() => undefined).then(() => this.#clients.delete(client)).then(close);
      return client;
    } catch (error) {
      close();
      throw error;
    }
  }

  port(): MessagePort {
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#closing !== undefined) throw new UsageError("this tab cluster is closed: start another");
    const { port1, port2 } = new MessageChannel();
    this.#crew.post({ port: port2 }, [port2]);
    return port1;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#clients].map((client) => client.close().catch(() => undefined)));
    if (this.#broken !== undefined) return;
    const stopped = new Promise<void>((resolve) => {
      this.#stopped = resolve;
    });
    this.#crew.post({ stop: true });
    await stopped;
    this.#crew.terminate();
  }
}

/** A worker that runs `tab-worker.js`: the web's, or Node's. */
async function hire(): Promise<Crew> {
  if (typeof Worker === "function") return ofWeb(new Worker(new URL("./tab-worker.js", import.meta.url), { type: "module" }));
  const { process } = globalThis as { process?: { versions?: { node?: string } } };
  if (process?.versions?.node === undefined) {
    throw new UsageError("a tab cluster needs a worker and this place cannot start one: start it in a page or a dedicated worker, and hand out ports");
  }
  // Not a literal, so that bundlers for browsers do not look for it.
  const name = "node:worker_threads";
  const threads = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as NodeThreads;
  return ofNode(new threads.Worker(new URL("./tab-worker.js", import.meta.url), { execArgv: [] }));
}

function ofWeb(worker: Worker): Crew {
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    listen: (message, failed) => {
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => message(data);
      worker.onerror = (event) => failed(event.message || "its script does not load: serve tab-worker.js beside tab.js");
    },
    terminate: () => worker.terminate(),
  };
}

interface NodeWorker {
  postMessage(message: ToWorker, transfer: MessagePort[]): void;
  on(event: "message", listener: (message: FromWorker) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  terminate(): Promise<number>;
}

interface NodeThreads {
  readonly Worker: new (url: URL, options: { execArgv: string[] }) => NodeWorker;
}

function ofNode(worker: NodeWorker): Crew {
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    listen: (message, failed) => {
      worker.on("message", message);
      worker.on("error", (error) => failed(error.message));
    },
    terminate: () => void worker.terminate(),
  };
}
