// An in-memory cluster behind the interfaces of skylark-mq, to work on the page without a server.
//
// Development only: vite.config.ts puts it in place of the package in mode "fake", whose output is never embedded.
// `#token=busy` brings producers of its own, `#token=wrong` is refused, `?brokers=3` makes three brokers.

import type { Client, Consumer, Message, OutgoingMessage, Producer, QueueRef, SendResult } from "skylark-mq";

export class ConnectionError extends Error {
  readonly codeName = "CONNECTION";
}

interface Log {
  readonly queue: QueueRef;
  readonly messages: Message[];
}

export class FakeCluster {
  readonly topics = new Map<string, Log[]>();
  readonly brokers: readonly (readonly [name: string, address: string])[];
  readonly counters = new Map<string, { put: number; got: number }>();
  readonly listeners = new Set<(message: Message) => void>();
  #turn = 0;

  constructor(brokers: readonly (readonly [string, string])[]) {
    this.brokers = brokers;
    for (const [name] of brokers) this.counters.set(name, { put: 0, got: 0 });
    for (const topic of ["TBW102", "SELF_TEST_TOPIC", "DefaultCluster"]) this.create(topic, 1);
  }

  create(topic: string, queues: number): Log[] {
    const logs = this.brokers.flatMap(([broker]) =>
      Array.from({ length: queues }, (_, id): Log => ({ queue: { topic, broker, id }, messages: [] })),
    );
    this.topics.set(topic, logs);
    return logs;
  }

  store(message: OutgoingMessage): SendResult {
    const logs = this.topics.get(message.topic) ?? this.create(message.topic, 4);
    const log = logs[this.#turn++ % logs.length];
    if (!log) throw new Error("no queue");
    const body = typeof message.body === "string" ? new TextEncoder().encode(message.body) : message.body;
    const keys = typeof message.keys === "string" ? message.keys.split(" ") : [...(message.keys ?? [])];
    const now = new Date();
    const hex = (n: number, digits: number): string => n.toString(16).toUpperCase().padStart(digits, "0");
    const messageId = `7F000001${hex(4242, 4)}00000000${hex(now.getTime() % 2 ** 32, 8)}${hex(this.#turn, 8)}`;
    const offset = BigInt(log.messages.length);
    const stored: Message = {
      topic: message.topic,
      queue: log.queue,
      offset,
      messageId,
      offsetMessageId: `7F00000100002A9F${hex(this.#turn * 250, 16)}`,
      ...(message.tag === undefined ? {} : { tag: message.tag }),
      keys,
      body,
      text: () => new TextDecoder().decode(body),
      properties: { UNIQ_KEY: messageId, WAIT: "true", ...(message.tag ? { TAGS: message.tag } : {}), ...(keys.length ? { KEYS: keys.join(" ") } : {}), ...message.properties },
      bornAt: now,
      storedAt: now,
      bornHost: "127.0.0.1:52110",
      storeHost: "127.0.0.1:10911",
      reconsumeTimes: 0,
    };
    log.messages.push(stored);
    this.#count(log.queue.broker).put++;
    for (const listener of this.listeners) listener(stored);
    return { status: "SEND_OK", messageId, offsetMessageId: stored.offsetMessageId, queue: log.queue, offset };
  }

  got(broker: string): void {
    this.#count(broker).got++;
  }

  #count(broker: string): { put: number; got: number } {
    let counter = this.counters.get(broker);
    if (!counter) this.counters.set(broker, (counter = { put: 0, got: 0 }));
    return counter;
  }
}

export function connectFake(cluster: FakeCluster): Client {
  let end: () => void = () => undefined;
  const closed = new Promise<void>((resolve) => (end = resolve));
  const logs = (topic: string): Log[] => {
    const found = cluster.topics.get(topic);
    if (!found) throw new Error(`No topic ${topic}; create it, or turn on auto-creation.`);
    return found;
  };
  return {
    producer: () =>
      ({
        send: async (message: OutgoingMessage) => cluster.store(message),
        sendBatch: async (messages: readonly OutgoingMessage[]) => messages.map((message) => cluster.store(message)),
      }) as Producer,
    consumer(topic, options): Consumer {
      const queue: Message[] = options.from === "first" ? logs(topic).flatMap((log) => log.messages) : [];
      let wake: () => void = () => undefined;
      let paused = false;
      const tags = options.tags === undefined || options.tags === "*" ? null : options.tags.split("||").map((tag) => tag.trim());
      const listen = (message: Message): void => {
        if (message.topic !== topic) return;
        queue.push(message);
        wake();
      };
      cluster.listeners.add(listen);
      options.signal?.addEventListener("abort", () => {
        cluster.listeners.delete(listen);
        wake();
      });
      const next = async (): Promise<IteratorResult<Message, undefined>> => {
        for (;;) {
          if (options.signal?.aborted) throw new DOMException("aborted", "AbortError");
          const message = paused ? undefined : queue.shift();
          if (!message) await new Promise<void>((resolve) => (wake = resolve));
          else if (!tags || tags.includes(message.tag ?? "")) {
            cluster.got(message.queue.broker);
            return { done: false, value: message };
          }
        }
      };
      const consumer: Consumer = {
        pause: () => (paused = true),
        resume() {
          paused = false;
          wake();
        },
        trouble: undefined,
        assigned: logs(topic).map((log) => log.queue),
        close: async () => undefined,
        next,
        [Symbol.asyncDispose]: async () => undefined,
        [Symbol.asyncIterator]: () => consumer,
      };
      return consumer;
    },
    admin: {
      clusters: async () => ({
        brokers: cluster.brokers.map(([name, address]) => ({ name, cluster: "DefaultCluster", addresses: [{ id: 0, address }] })),
      }),
      topicConfigs: async () => [],
      consumeStats: async () => [],
      topics: async () => [...cluster.topics.keys()],
      route: async (topic) => ({ queues: logs(topic).map(({ queue }) => ({ broker: queue.broker, read: 4, write: 4, perm: 6 })), brokers: [] }),
      topicStats: async (topic) =>
        logs(topic).map(({ queue, messages }) => ({
          queue,
          min: 0n,
          max: BigInt(messages.length),
          lastUpdate: messages.at(-1)?.storedAt ?? null,
        })),
      createTopic: async (topic, options) => void cluster.create(topic, options?.writeQueues ?? 4),
      brokerInfo: async (broker) => ({
        brokerVersionDesc: "Skylark 0.1.0",
        msgPutTotalTodayNow: String(cluster.counters.get(broker)?.put ?? 0),
        msgGetTotalTodayNow: String(cluster.counters.get(broker)?.got ?? 0),
      }),
    },
    closed,
    close: async () => end(),
    [Symbol.asyncDispose]: async () => end(),
  };
}

const asked = new URLSearchParams(location.search);
const names = ["broker-a", "broker-b", "broker-c"].slice(0, Number(asked.get("brokers") ?? 1));
const server = new FakeCluster(names.map((name, i) => [name, `127.0.0.1:${10911 + i * 10}`]));
let busy = false;

export async function connect(url: string | MessagePort): Promise<Client> {
  const token = typeof url === "string" ? new URL(url).searchParams.get("token") : null;
  if (token === "wrong" || token === "down") throw new ConnectionError("the connection was closed before it opened");
  if (token === "busy" && !busy) {
    busy = true;
    let n = 0;
    const produce = (): void => {
      const load = 6 + 5 * Math.sin(n / 60) + Math.random() * 3;
      for (let i = 0; i < load; i++) {
        n++;
        const tag = ["Created", "Paid", "Shipped"][n % 3] ?? "Created";
        server.store({ topic: "OrderTopic", tag, keys: `order-${100000 + n}`, body: JSON.stringify({ order: 100000 + n, state: tag, amount: (n * 7919) % 50000, currency: "CNY" }) });
        if (n % 5 === 0) server.store({ topic: "PaymentTopic", tag: "Settled", body: `payment ${n} settled` });
        if (n % 11 === 0) server.store({ topic: "LogTopic", body: Uint8Array.from({ length: 40 }, (_, k) => (k * n) & 255) });
      }
    };
    setInterval(produce, 100);
  }
  return connectFake(server);
}
