// What the bindings in Rust offer and what they call: the contract between wasm/src/client.rs and this package.
//
// Written by hand, so that types are checked before anything is compiled; the build puts the binder's own in its
// place, and a test compares the two. A command answers a number, or throws a Failure; what becomes of it comes
// later to the Host by that number, never before the command has returned.

import type { Failure } from "../errors.js";

/** What the module calls. */
export interface Host {
  /** Opens a WebSocket or MessagePort to a host:port. What it throws becomes the reason of the failure. */
  dial(address: string): object;
  /** One message of a send was stored; those of a batch come in order. One-way: `offset` is undefined. */
  sent(
    call: number, status: string, messageId: string, offsetMessageId: string, topic: string, broker: string, queue: number,
    offset: bigint | undefined,
  ): void;
  /** A send ended well: every message was told. */
  sentAll(call: number): void;
  /** A send failed. */
  sendFailed(call: number, failure: Failure): void;
  /** What an admin call asked for, as `admin.ts` says for each. */
  answered(call: number, value: unknown): void;
  /** An admin call failed. */
  askFailed(call: number, failure: Failure): void;
  /** Messages of this queue follow for this consumer. */
  batch(consumer: number, topic: string, broker: string, queue: number): void;
  /** A message of the batch. `trouble` says why the body cannot be read; it is then as it was stored. */
  message(
    topic: string, offset: bigint, messageId: string, offsetMessageId: string, properties: string, body: Uint8Array<ArrayBuffer>,
    trouble: string | undefined, born: number, stored: number, bornHost: string, storeHost: string, reconsumeTimes: number,
  ): void;
  /** A consumer's queues changed: all that it has now, topics, brokers and numbers side by side. */
  assigned(consumer: number, topics: string[], brokers: string[], queues: number[]): void;
  /** A consumer cannot read for now; it goes on trying. */
  trouble(consumer: number, failure: Failure): void;
  /** A consumer has left its group. */
  unsubscribed(consumer: number): void;
}

/** Settings of a client. */
export interface DriverOptions {
  /** host:port each. */
  namesrvs: readonly string[];
  clientId: string;
  /** How long a request, a dial, or a send with its retries may take, ms. */
  timeout: number;
  /** Random bits. */
  seed: bigint;
}

/** What is sent beside a body. Keys are separated by blanks; properties as `pack` makes them. */
export interface Head {
  topic: string;
  tag: string | undefined;
  keys: string | undefined;
  properties: string | undefined;
}

/** A question about the cluster, or a command to it. */
export type AdminRequest =
  | { op: "clusters" | "topics" }
  | { op: "route" | "topicStats"; topic: string }
  | { op: "topicConfigs" | "brokerInfo"; broker: string }
  | { op: "consumeStats"; group: string; topic: string | undefined }
  | { op: "createTopic"; topic: string; readQueues: number; writeQueues: number; perm: number; broker: string | undefined };

/** One client of the core with its connections. */
export class Driver {
  constructor(options: DriverOptions, host: Host);
  /** Settings for sends, times in ms. Answers their number. */
  producer(group: string, timeout: number | undefined, retries: number | undefined): number;
  /** Sends a message; to one queue only when `broker` is given. */
  send(
    producer: number, topic: string, body: Uint8Array, tag: string | undefined, keys: string | undefined, properties: string | undefined,
    broker: string | undefined, queue: number, oneway: boolean,
  ): number;
  /** Sends messages together; bodies and heads side by side. */
  sendBatch(producer: number, heads: readonly Head[], bodies: Uint8Array[], broker: string | undefined, queue: number): number;
  /** Nobody waits for a send any more: nothing is told of it. */
  cancel(call: number): void;
  /** Starts a consumer. `from` is "last", "first" or ms since 1970. */
  subscribe(group: string, topic: string, tags: string, from: string | number, prefetch: number | undefined, broadcast: boolean): number;
  /** Acknowledges a message by where it was read. */
  ack(consumer: number, topic: string, broker: string, queue: number, offset: bigint): void;
  /** Commits and leaves the group; then comes `unsubscribed`. */
  unsubscribe(consumer: number): void;
  /** Asks. */
  admin(request: AdminRequest): number;
  /** Ends everything, gracefully: resolves when nothing follows any more. To be called once. */
  close(): Promise<void>;
  /** Drops connections at once; nothing comes any more. */
  shut(): void;
  free(): void;
}

/** Where panics are told, as sentences. */
export function onPanic(listener: (message: string) => void): void;

/** Starts the module. */
export default function init(options: { module_or_path: Response | BufferSource }): Promise<unknown>;
