// A received message, as callers see it. Properties and text are decoded when they are asked for: most
// consumers look at few.

import { SkylarkError, UsageError } from "./errors.js";
import type { Message, QueueRef } from "./types.js";

export interface Fields {
  readonly topic: string;
  readonly queue: QueueRef;
  readonly offset: bigint;
  readonly messageId: string;
  readonly offsetMessageId: string;
  readonly bornHost: string;
  readonly storeHost: string;
  readonly reconsumeTimes: number;
}

export class ReceivedMessage implements Message {
  readonly topic: string;
  readonly queue: QueueRef;
  readonly offset: bigint;
  readonly messageId: string;
  readonly offsetMessageId: string;
  readonly bornHost: string;
  readonly storeHost: string;
  readonly reconsumeTimes: number;
  readonly #packed: string;
  readonly #body: Uint8Array;
  readonly #trouble: string | undefined;
  readonly #born: number;
  readonly #stored: number;
  #properties: Readonly<Record<string, string>> | undefined;

  constructor(fields: Fields, packed: string, body: Uint8Array, trouble: string | undefined, born: number, stored: number) {
    this.topic = fields.topic;
    this.queue = fields.queue;
    this.offset = fields.offset;
    this.messageId = fields.messageId;
    this.offsetMessageId = fields.offsetMessageId;
    this.bornHost = fields.bornHost;
    this.storeHost = fields.storeHost;
    this.reconsumeTimes = fields.reconsumeTimes;
    this.#packed = packed;
    this.#body = body;
    this.#trouble = trouble;
    this.#born = born;
    this.#stored = stored;
  }

  get body(): Uint8Array {
    if (this.#trouble !== undefined) throw new SkylarkError(this.#trouble, -1, "BODY_UNREADABLE", false);
    return this.#body;
  }

  text(): string {
    return new TextDecoder().decode(this.body);
  }

  get properties(): Readonly<Record<string, string>> {
    this.#properties ??= unpack(this.#packed);
    return this.#properties;
  }

  get tag(): string | undefined {
    return this.properties["TAGS"];
  }

  get keys(): readonly string[] {
    return this.properties["KEYS"]?.split(" ").filter((key) => key !== "") ?? [];
  }

  get bornAt(): Date {
    return new Date(this.#born);
  }

  get storedAt(): Date {
    return new Date(this.#stored);
  }
}

/** Properties as they cross from and to the module: name U+0001 value U+0002, repeated. */
export function unpack(packed: string): Readonly<Record<string, string>> {
  // No prototype: a property may be called anything.
  const properties = Object.create(null) as Record<string, string>;
  for (const pair of packed.split("\u0002")) {
    const at = pair.indexOf("\u0001");
    if (at >= 0) properties[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return Object.freeze(properties);
}

/** The opposite of `unpack`. What else a name or value may not be is checked in the module. */
export function pack(properties: Readonly<Record<string, string>> | undefined): string | undefined {
  if (properties === undefined) return undefined;
  let packed = "";
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value !== "string" || SEPARATOR.test(name + value)) {
      throw new UsageError(`the property "${name}" must be text without U+0001 and U+0002, which separate properties`);
    }
    packed += `${name}\u0001${value}\u0002`;
  }
  return packed;
}

const SEPARATOR = /[\u0001\u0002]/;
