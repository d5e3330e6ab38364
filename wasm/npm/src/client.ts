// One client over one driver of the wasm module: what the module reports finds the promise, the consumer or the
// caller that waits for it.
//
// Must stay true: every promise that was handed out settles, at the latest when the client closes or the module
// breaks. The module calls in here while it is not busy, so anything may be called from here.

import { WasmAdmin } from "./admin.js";
import { WasmConsumer } from "./consumer.js";
import { disposable } from "./dispose.js";
import { errorFrom, type Failure, SkylarkError, UsageError } from "./errors.js";
import { type Client as Glue, listeners } from "./load.js";
import { ReceivedMessage } from "./message.js";
import { WasmProducer } from "./producer.js";
import type { AdminRequest, Driver, DriverOptions, Host } from "./wasm/client.js";
import type {
  Admin, Client, Consumer, ConsumerOptions, Producer, ProducerOptions, QueueRef, SendResult, SendStatus,
} from "./types.js";

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

interface Sending extends Waiting<SendResult[]> {
  readonly results: SendResult[];
}

export class WasmClient implements Client {
  declare readonly [Symbol.asyncDispose]: () => Promise<void>;
  readonly admin: Admin = new WasmAdmin(this);
  readonly closed: Promise<void>;
  readonly #driver: Driver;
  readonly #sends = new Map<number, Sending>();
  readonly #asks = new Map<number, Waiting<unknown>>();
  readonly #consumers = new Map<number, WasmConsumer>();
  readonly #over: Waiting<void>;
  #closing = false;
  #ended = false;

  constructor(glue: Glue, options: DriverOptions, dial: (address: string) => object) {
    let over: Waiting<void> | undefined;
    this.closed = new Promise((resolve, reject) => {
      over = { resolve, reject };
    });
    // Whoever does not look at it is not to be killed by it.
    this.closed.catch(() => undefined);
    this.#over = over as unknown as Waiting<void>;
    this.#driver = guard(() => new glue.Driver(options, this.#host(dial)));
    listeners.add(this.#broke);
    disposable(this, () => this.close());
  }

  /** The driver, for commands. Throws when the client is closed. */
  get driver(): Driver {
    if (this.#closing) throw new UsageError("this client is closed: connect again");
    return this.#driver;
  }

  producer(options: ProducerOptions = {}): Producer {
    return guard(() => new WasmProducer(this, options));
  }

  consumer(topic: string, options: ConsumerOptions): Consumer {
    const consumer = guard(() => new WasmConsumer(this, topic, options));
    this.#consumers.set(consumer.id, consumer);
    return consumer;
  }

  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      for (const consumer of this.#consumers.values()) consumer.finish();
      void this.#driver.close().then(() => this.#end());
    }
    return this.closed;
  }

  /** Closes without a word to anyone. */
  abandon(error: unknown): void {
    this.#closing = true;
    this.#end(error);
  }

  /** Starts a send. */
  async send(signal: AbortSignal | undefined, start: (driver: Driver) => number): Promise<SendResult[]> {
    signal?.throwIfAborted();
    const call = guard(() => start(this.driver));
    const results = new Promise<SendResult[]>((resolve, reject) => {
      this.#sends.set(call, { resolve, reject, results: [] });
    });
    if (signal === undefined) return results;
    return abortable(results, signal, () => {
      if (this.#sends.delete(call)) this.#driver.cancel(call);
    });
  }

  /** Asks the cluster. */
  async ask<T>(request: AdminRequest): Promise<T> {
    const call = guard(() => this.driver.admin(request));
    return new Promise<unknown>((resolve, reject) => this.#asks.set(call, { resolve, reject })) as Promise<T>;
  }

  #host(dial: (address: string) => object): Host {
    let batch: { consumer: WasmConsumer | undefined; queue: QueueRef } | undefined;
    return {
      dial,
      sent: (call, status, messageId, offsetMessageId, topic, broker, id, offset) => {
        const queue = Object.freeze({ topic, broker, id });
        const result = { status: status as SendStatus, messageId, offsetMessageId, queue, offset: offset ?? -1n };
        this.#sends.get(call)?.results.push(Object.freeze(result));
      },
      sentAll: (call) => {
        const sending = take(this.#sends, call);
        sending?.resolve(sending.results);
      },
      sendFailed: (call, failure) => take(this.#sends, call)?.reject(errorFrom(failure)),
      answered: (call, value) => take(this.#asks, call)?.resolve(value),
      askFailed: (call, failure) => take(this.#asks, call)?.reject(errorFrom(failure)),
      batch: (consumer, topic, broker, id) => {
        batch = { consumer: this.#consumers.get(consumer), queue: Object.freeze({ topic, broker, id }) };
      },
      message: (
        topic, offset, messageId, offsetMessageId, properties, body, trouble, born, stored, bornHost, storeHost, reconsumeTimes,
      ) => {
        if (batch?.consumer === undefined) return;
        const { consumer, queue } = batch;
        const fields = { topic, queue, offset, messageId, offsetMessageId, bornHost, storeHost, reconsumeTimes };
        consumer.receive(new ReceivedMessage(fields, properties, body, trouble, born, stored));
      },
      assigned: (consumer, topics, brokers, queues) => {
        const refs = queues.map((id, at) => Object.freeze({ topic: topics[at] ?? "", broker: brokers[at] ?? "", id }));
        this.#consumers.get(consumer)?.assign(refs);
      },
      trouble: (consumer, failure) => this.#consumers.get(consumer)?.hamper(errorFrom(failure)),
      unsubscribed: (consumer) => take(this.#consumers, consumer)?.finish(),
    };
  }

  readonly #broke = (error: SkylarkError): void => {
    this.#closing = true;
    this.#end(error, true);
  };

  #end(error?: unknown, broken = false): void {
    if (this.#ended) return;
    this.#ended = true;
    listeners.delete(this.#broke);
    // A module that broke is not to be touched again.
    if (!broken) this.#driver.shut();
    const why = error ?? new UsageError("the client was closed before this was done");
    for (const waiting of [...this.#sends.values(), ...this.#asks.values()]) waiting.reject(why);
    for (const consumer of this.#consumers.values()) consumer.finish(error instanceof SkylarkError ? error : undefined);
    this.#sends.clear();
    this.#asks.clear();
    this.#consumers.clear();
    if (error === undefined) this.#over.resolve();
    else this.#over.reject(error);
  }
}

/** Runs a command of the module, whose refusals are Failures. */
function guard<T>(command: () => T): T {
  try {
    return command();
  } catch (error) {
    throw isFailure(error) ? errorFrom(error) : error;
  }
}

function isFailure(error: unknown): error is Failure {
  return typeof error === "object" && error !== null && "kind" in error && "codeName" in error;
}

function take<T>(map: Map<number, T>, key: number): T | undefined {
  const value = map.get(key);
  map.delete(key);
  return value;
}

/** The promise, or the signal's reason if it aborts first; then `giveUp` is called. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal, giveUp: () => void = () => undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      giveUp();
      reject(signal.reason);
    };
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
