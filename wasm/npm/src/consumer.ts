// Messages of one subscription as an async iterator. Asking for the next message acknowledges those handed out
// before it. How many may wait here, which queues are read and what is committed is the core's affair.
//
// Once it is closing, by whatever cause, nothing is handed out and nothing is acknowledged any more: what was in
// hand comes again to the group.

import type { WasmClient } from "./client.js";
import { type SkylarkError, UsageError } from "./errors.js";
import type { ReceivedMessage } from "./message.js";
import { disposable } from "./dispose.js";
import type { Consumer, ConsumerOptions, Message, QueueRef } from "./types.js";

interface Waiter {
  resolve(result: IteratorResult<Message, undefined>): void;
  reject(error: unknown): void;
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

export class WasmConsumer implements Consumer {
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  /** Resolves when the group was left. */
  readonly closed: Promise<void>;
  readonly id: number;
  readonly #client: WasmClient;
  readonly #signal: AbortSignal | undefined;
  #over!: () => void;
  #assigned: readonly QueueRef[] = [];
  #trouble: SkylarkError | undefined;
  /** Came and not handed out; the next one is at #head. */
  #ready: ReceivedMessage[] = [];
  #head = 0;
  /** Handed out and not acknowledged. */
  #inHand: ReceivedMessage[] = [];
  #waiters: Waiter[] = [];
  #paused = false;
  #closing = false;
  /** What the iteration throws, once, before it is done. */
  #failure: { readonly error: unknown } | undefined;

  constructor(client: WasmClient, topic: string, options: ConsumerOptions) {
    if (typeof topic !== "string" || typeof options?.group !== "string") {
      throw new UsageError('a consumer needs a topic and a group, as in consumer("orders", { group: "billing" })');
    }
    const { group, tags = "*", from = "last", prefetch, broadcast = false, signal } = options;
    signal?.throwIfAborted();
    this.#client = client;
    this.#signal = signal;
    this.closed = new Promise((resolve) => {
      this.#over = resolve;
    });
    const begin = from instanceof Date ? from.getTime() : from;
    this.id = client.driver.subscribe(group, topic, tags, begin, prefetch, broadcast);
    signal?.addEventListener("abort", this.#abort);
    disposable(this, () => this.close());
  }

  get assigned(): readonly QueueRef[] {
    return this.#assigned;
  }

  get trouble(): SkylarkError | undefined {
    return this.#trouble;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    this.#acknowledge();
    if (this.#closing) return this.#last();
    if (!this.#paused && this.#waiters.length === 0) {
      const message = this.#take();
      if (message !== undefined) return Promise.resolve({ done: false, value: message });
    }
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    await this.close();
    return DONE;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#handOut();
  }

  close(): Promise<void> {
    if (!this.#closing) {
      this.#stop();
      this.#client.driver.unsubscribe(this.id);
    }
    return this.closed;
  }

  /** A message came. */
  receive(message: ReceivedMessage): void {
    this.#trouble = undefined;
    if (this.#closing) return;
    this.#ready.push(message);
    this.#handOut();
  }

  /** The queues are others now. */
  assign(queues: readonly QueueRef[]): void {
    this.#assigned = Object.freeze(queues);
  }

  /** It cannot read for now. */
  hamper(error: SkylarkError): void {
    this.#trouble = error;
  }

  /** It is over: left, or with the error that made it so. */
  finish(error?: SkylarkError): void {
    if (error !== undefined && !this.#closing) this.#failure = { error };
    this.#stop();
    this.#over();
  }

  readonly #abort = (): void => {
    this.#failure = { error: this.#signal?.reason };
    void this.close();
  };

  #take(): ReceivedMessage | undefined {
    const message = this.#ready[this.#head];
    if (message === undefined) return undefined;
    this.#head += 1;
    if (this.#head === this.#ready.length) {
      this.#ready = [];
      this.#head = 0;
    }
    this.#inHand.push(message);
    return message;
  }

  #handOut(): void {
    while (!this.#paused && this.#waiters.length > 0) {
      const message = this.#take();
      if (message === undefined) return;
      this.#waiters.shift()?.resolve({ done: false, value: message });
    }
  }

  #acknowledge(): void {
    for (const { queue, offset } of this.#inHand) this.#client.driver.ack(this.id, queue.topic, queue.broker, queue.id, offset);
    this.#inHand.length = 0;
  }

  /** Lets go of messages and of everyone who waits for one. */
  #stop(): void {
    this.#closing = true;
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#assigned = [];
    this.#ready = [];
    this.#head = 0;
    this.#inHand = [];
    for (const { resolve, reject } of this.#waiters.splice(0)) void this.#last().then(resolve, reject);
  }

  /** What `next` answers after the end. */
  #last(): Promise<IteratorReturnResult<undefined>> {
    const failure = this.#failure;
    if (failure === undefined) return Promise.resolve(DONE);
    this.#failure = undefined;
    return Promise.reject(failure.error);
  }
}
