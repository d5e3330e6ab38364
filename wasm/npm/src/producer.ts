// Sends messages: arguments laid out for the module. Everything about sending (which queue, retries, ids, limits)
// is the core's.

import { UsageError } from "./errors.js";
import { pack } from "./message.js";
import type { WasmClient } from "./client.js";
import type { OutgoingMessage, Producer, ProducerOptions, QueueRef, SendOptions, SendResult } from "./types.js";
import type { Head } from "./wasm/client.js";

const encoder = new TextEncoder();

export class WasmProducer implements Producer {
  readonly #client: WasmClient;
  readonly #id: number;

  constructor(client: WasmClient, options: ProducerOptions) {
    this.#client = client;
    this.#id = client.driver.producer(options.group ?? "SKYLARK_JS", options.timeout, options.retries);
  }

  send(message: OutgoingMessage, options?: SendOptions & { oneway?: false | undefined }): Promise<SendResult>;
  send(message: OutgoingMessage, options: SendOptions & { oneway: true }): Promise<void>;
  async send(message: OutgoingMessage, options: SendOptions = {}): Promise<SendResult | void> {
    const { signal, queue, oneway = false } = options;
    const [result] = await this.#client.send(signal, (driver) => {
      const { topic, tag, keys, properties } = headOf(message, queue);
      return driver.send(this.#id, topic, bytesOf(message.body), tag, keys, properties, queue?.broker, queue?.id ?? -1, oneway);
    });
    if (!oneway) return result;
  }

  sendBatch(messages: readonly OutgoingMessage[], options: Omit<SendOptions, "oneway"> = {}): Promise<SendResult[]> {
    const { signal, queue } = options;
    return this.#client.send(signal, (driver) => {
      const heads = messages.map((message) => headOf(message, queue));
      return driver.sendBatch(this.#id, heads, messages.map(({ body }) => bytesOf(body)), queue?.broker, queue?.id ?? -1);
    });
  }
}

function headOf({ topic, tag, keys, properties }: OutgoingMessage, queue: QueueRef | undefined): Head {
  if (typeof topic !== "string") throw new UsageError('a message needs a topic, as in send({ topic: "orders", body: "hello" })');
  if (queue !== undefined && queue.topic !== topic) {
    throw new UsageError(`a message of topic "${topic}" cannot go to a queue of topic "${queue.topic}"`);
  }
  return { topic, tag, keys: typeof keys === "object" ? keys.join(" ") : keys, properties: pack(properties) };
}

function bytesOf(body: unknown): Uint8Array {
  if (typeof body === "string") return encoder.encode(body);
  if (body instanceof Uint8Array) return body;
  throw new UsageError("a message's body must be a Uint8Array or a string: encode other values first, for example with JSON.stringify");
}
