// Types, checked by tsc against the built package: what the binder generated is what the hand-written contract
// says, and programs are checked as they should be.

import { connect, type Client, type Message, type SendResult, SkylarkError, UsageError } from "skylark-mq";
import * as inline from "skylark-mq/inline";
import { startTabCluster, type TabCluster } from "skylark-mq/tab";
import type * as generatedBroker from "../../../target/npm/skylark-mq/wasm/broker.js";
import type * as generatedClient from "../../../target/npm/skylark-mq/wasm/client.js";
import type * as broker from "../src/wasm/broker.js";
import type * as client from "../src/wasm/client.js";

/** What the bindings take must accept what the package gives, and the other way round for what they answer. */
type Fits<Made extends Needed, Needed> = Made;

export type ClientFits = Fits<Pick<typeof generatedClient, "onPanic">, Pick<typeof client, "onPanic">>;
export type BrokerFits = Fits<Pick<typeof generatedBroker, "onPanic">, Pick<typeof broker, "onPanic">>;
export type DriverFits = Fits<Omit<generatedClient.Driver, typeof Symbol.dispose>, client.Driver>;
export type HubFits = Fits<Omit<generatedBroker.Hub, typeof Symbol.dispose>, broker.Hub>;

export async function uses(port: MessagePort, signal: AbortSignal): Promise<bigint> {
  await using one = await connect("ws://127.0.0.1:9876/ws", { signal, timeout: 1000, resolve: (address) => `ws://${address}/ws` });
  const same: Client = await inline.connect(port);
  const producer = one.producer({ group: "g", retries: 0 });
  const sent: SendResult = await producer.send({ topic: "t", body: "x", tag: "a", keys: ["k"], properties: { a: "b" } });
  const batch: SendResult[] = await producer.sendBatch([{ topic: "t", body: new Uint8Array(1) }], { queue: sent.queue });
  const nothing: void = await producer.send({ topic: "t", body: "x" }, { oneway: true });
  await using consumer = same.consumer("t", { group: "g", tags: "a || b", from: new Date(), signal, prefetch: 10, broadcast: true });
  for await (const message of consumer) show(message);
  const { min, max, lastUpdate } = (await one.admin.topicStats("t"))[0] ?? { min: 0n, max: 0n, lastUpdate: null };
  return sent.offset + BigInt(batch.length) + min + max + BigInt(lastUpdate?.getTime() ?? 0) + BigInt(nothing === undefined);
}

export async function tab(): Promise<TabCluster> {
  const cluster = await startTabCluster({ name: "n", autoCreateTopic: false });
  await using client = await cluster.connect();
  await client.admin.createTopic("t", { readQueues: 1 });
  return cluster;
}

export function show(message: Message): string {
  const { tag, keys, queue, bornAt, offset } = message;
  return [message.text(), tag ?? "", ...keys, queue.broker, bornAt.toISOString(), offset + 1n].join();
}

export const retry = (error: unknown): boolean => error instanceof SkylarkError && error.retryable && !(error instanceof UsageError);

export async function wrong(one: Client): Promise<void> {
  // @ts-expect-error: a group is needed
  one.consumer("t", {});
  // @ts-expect-error: no such start
  one.consumer("t", { group: "g", from: "middle" });
  // @ts-expect-error: a body is needed
  await one.producer().send({ topic: "t" });
  // @ts-expect-error: a number is no body
  await one.producer().send({ topic: "t", body: 5 });
  // @ts-expect-error: offsets are bigint
  const offset: number = (await one.producer().send({ topic: "t", body: "x" })).offset;
  // @ts-expect-error: messages are read-only
  for await (const message of one.consumer("t", { group: "g" })) message.offset = BigInt(offset);
}
