// A client and a tab cluster in one process: everything from `send` to the broker's log and back, without a server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Worker } from "node:worker_threads";
import { connect, folder, RefusedError, startTabCluster, take, UsageError } from "./package.mjs";

let cluster;
let client;
before(async () => {
  cluster = await startTabCluster({ name: "here" });
  client = await cluster.connect();
});
after(() => cluster.close());

test("a message arrives as it was sent", async () => {
  const producer = client.producer({ group: "senders" });
  const sent = await producer.send({
    topic: "whole", body: new Uint8Array([0, 1, 255]), tag: "TagA", keys: ["k1", "k2"], properties: { colour: "blå", __proto__x: "y" },
  });
  assert.equal(sent.status, "SEND_OK");
  assert.equal(sent.queue.topic, "whole");
  assert.equal(sent.offset, 0n);
  const [message] = await take(client.consumer("whole", { group: "readers", from: "first" }), 1);
  assert.deepEqual([...message.body], [0, 1, 255]);
  assert.equal(message.tag, "TagA");
  assert.deepEqual(message.keys, ["k1", "k2"]);
  assert.equal(message.properties.colour, "blå");
  assert.equal(message.properties.__proto__x, "y");
  assert.equal(message.messageId, sent.messageId);
  assert.equal(message.offsetMessageId, sent.offsetMessageId);
  assert.deepEqual(message.queue, sent.queue);
  assert.equal(message.offset, 0n);
  assert.equal(message.storeHost, "10.0.0.1:10911");
  assert.match(message.bornHost, /^10\.0\.0\.2:\d+$/);
  assert.equal(message.reconsumeTimes, 0);
  assert.ok(message.bornAt <= message.storedAt && Date.now() - message.storedAt.getTime() < 60_000);
});

test("text goes and comes as UTF-8, in order within a queue", async () => {
  await client.admin.createTopic("texts", { readQueues: 1, writeQueues: 1 });
  const producer = client.producer();
  const bodies = Array.from({ length: 500 }, (_, i) => `文本 ${i}`);
  const sent = await Promise.all(bodies.map((body) => producer.send({ topic: "texts", body })));
  assert.deepEqual(sent.map(({ offset }) => offset), bodies.map((_, i) => BigInt(i)));
  assert.equal(new Set(sent.map(({ messageId }) => messageId)).size, 500);
  const messages = await take(client.consumer("texts", { group: "readers", from: "first", prefetch: 16 }), 500);
  assert.deepEqual(messages.map((message) => message.text()), bodies);
});

test("a batch is stored in order, with a result for each message", async () => {
  await client.admin.createTopic("batches", { readQueues: 1, writeQueues: 1 });
  const bodies = Array.from({ length: 32 }, (_, i) => `b${i}`);
  const results = await client.producer().sendBatch(bodies.map((body) => ({ topic: "batches", body, tag: "T" })));
  assert.deepEqual(results.map(({ offset }) => offset), bodies.map((_, i) => BigInt(i)));
  const messages = await take(client.consumer("batches", { group: "readers", from: "first" }), 32);
  assert.deepEqual(messages.map((message) => message.text()), bodies);
  assert.deepEqual(messages.map(({ messageId }) => messageId), results.map(({ messageId }) => messageId));
  assert.deepEqual(messages.map(({ offsetMessageId }) => offsetMessageId), results.map(({ offsetMessageId }) => offsetMessageId));
});

test("a one-way send resolves without an answer, and arrives", async () => {
  assert.equal(await client.producer().send({ topic: "oneway", body: "x" }, { oneway: true }), undefined);
  const [message] = await take(client.consumer("oneway", { group: "readers", from: "first" }), 1);
  assert.equal(message.text(), "x");
});

test("a chosen queue is the one", async () => {
  const broker = (await client.admin.clusters()).brokers[0].name;
  await client.admin.createTopic("chosen", { readQueues: 4, writeQueues: 4 });
  for (const id of [3, 1, 3]) {
    const { queue } = await client.producer().send({ topic: "chosen", body: "x" }, { queue: { topic: "chosen", broker, id } });
    assert.deepEqual(queue, { topic: "chosen", broker, id });
  }
});

test("tags select", async () => {
  const producer = client.producer();
  for (const tag of ["A", "B", "C", "A"]) await producer.send({ topic: "tagged", body: tag, tag });
  const messages = await take(client.consumer("tagged", { group: "readers", from: "first", tags: "A || C" }), 3);
  assert.deepEqual(messages.map(({ tag }) => tag).sort(), ["A", "A", "C"]);
});

test("asking for the next message acknowledges; what was in hand comes again (DEL-4)", async () => {
  await client.admin.createTopic("acked", { readQueues: 1, writeQueues: 1 });
  const producer = client.producer();
  for (let i = 0; i < 5; i++) await producer.send({ topic: "acked", body: `${i}` });
  const options = { group: "acks", from: "first" };
  const first = await take(client.consumer("acked", options), 3);
  assert.deepEqual(first.map((message) => message.text()), ["0", "1", "2"]);
  const second = await take(client.consumer("acked", options), 3);
  assert.deepEqual(second.map((message) => message.text()), ["2", "3", "4"]);
});

test("an iteration that throws leaves its message unacknowledged and the consumer closed", async () => {
  await client.producer().send({ topic: "thrown", body: "x" });
  const consumer = client.consumer("thrown", { group: "throwers", from: "first" });
  await assert.rejects(async () => {
    for await (const message of consumer) throw new Error(message.text());
  }, { message: "x" });
  assert.deepEqual(await consumer.next(), { done: true, value: undefined });
  const [again] = await take(client.consumer("thrown", { group: "throwers", from: "first" }), 1);
  assert.equal(again.text(), "x");
});

test("a live consumer receives what is sent after it came", async () => {
  await client.admin.createTopic("live", { readQueues: 2, writeQueues: 2 });
  const consumer = client.consumer("live", { group: "live", from: "last" });
  const next = consumer.next();
  await assigned(consumer, 2);
  assert.deepEqual(consumer.assigned.map(({ id }) => id), [0, 1]);
  await client.producer().send({ topic: "live", body: "now" });
  assert.equal((await next).value.text(), "now");
  await consumer.close();
  assert.deepEqual(consumer.assigned, []);
});

test("pause holds messages back and resume hands them out", async () => {
  await client.admin.createTopic("paused", { readQueues: 1, writeQueues: 1 });
  const consumer = client.consumer("paused", { group: "paused", from: "first" });
  consumer.pause();
  let came = false;
  const next = consumer.next().then((result) => {
    came = true;
    return result;
  });
  await client.producer().send({ topic: "paused", body: "held" });
  // A second group sees the message, so it could have come.
  await take(client.consumer("paused", { group: "watcher", from: "first" }), 1);
  assert.equal(came, false);
  consumer.resume();
  assert.equal((await next).value.text(), "held");
  await consumer.close();
});

test("prefetch bounds what waits here", async () => {
  await client.admin.createTopic("bounded", { readQueues: 1, writeQueues: 1 });
  const producer = client.producer();
  await Promise.all(Array.from({ length: 200 }, (_, i) => producer.send({ topic: "bounded", body: `${i}` })));
  const messages = await take(client.consumer("bounded", { group: "bounded", from: "first", prefetch: 1 }), 200);
  assert.deepEqual(messages.map((message) => message.text()), Array.from({ length: 200 }, (_, i) => `${i}`));
});

test("two members of a group share the queues, and one takes over when the other leaves", async () => {
  await client.admin.createTopic("shared", { readQueues: 4, writeQueues: 4 });
  const other = await cluster.connect();
  const a = client.consumer("shared", { group: "pair", from: "first" });
  const b = other.consumer("shared", { group: "pair", from: "first" });
  await Promise.all([assigned(a, 2), assigned(b, 2)]);
  const ids = [...a.assigned, ...b.assigned].map(({ id }) => id).sort();
  assert.deepEqual(ids, [0, 1, 2, 3]);
  await other.close();
  await assigned(a, 4);
  await a.close();
});

test("members that broadcast read everything each, and leave nothing behind", async () => {
  await client.admin.createTopic("watched", { readQueues: 4, writeQueues: 4 });
  for (let i = 0; i < 12; i++) await client.producer().send({ topic: "watched", body: `${i}` });
  const options = { group: "watchers", from: "first", broadcast: true };
  for (let run = 0; run < 2; run++) {
    const seen = await take(client.consumer("watched", options), 12);
    assert.deepEqual(new Set(seen.map((message) => message.text())), new Set(Array.from({ length: 12 }, (_, i) => `${i}`)));
  }
  assert.ok(!(await client.admin.topics()).includes("%RETRY%watchers"));
  assert.throws(() => {
    client.consumer("watched", options);
    client.consumer("texts", { group: "watchers" });
  }, UsageError);
});

test("an abort ends a wait with the signal's reason, and closes the consumer", async () => {
  const abort = new AbortController();
  const consumer = client.consumer("whole", { group: "aborted", signal: abort.signal });
  const next = consumer.next();
  abort.abort("mine");
  await assert.rejects(next, (reason) => reason === "mine");
  assert.deepEqual(await consumer.next(), { done: true, value: undefined });
  assert.throws(() => client.consumer("whole", { group: "aborted", signal: AbortSignal.abort("before") }), (reason) => reason === "before");
});

test("an aborted send rejects with the signal's reason", async () => {
  const abort = new AbortController();
  const sending = client.producer().send({ topic: "whole", body: "x" }, { signal: abort.signal });
  abort.abort();
  await assert.rejects(sending, { name: "AbortError" });
});

test("admin calls show the cluster", async () => {
  const { admin } = client;
  const { brokers } = await admin.clusters();
  assert.equal(brokers.length, 1);
  const [{ name: broker }] = brokers;
  assert.deepEqual(brokers[0], { name: broker, cluster: "here", addresses: [{ id: 0, address: "10.0.0.1:10911" }] });

  await admin.createTopic("looked-at", { readQueues: 3, writeQueues: 2 });
  assert.ok((await admin.topics()).includes("looked-at"));
  const route = await admin.route("looked-at");
  assert.deepEqual(route.queues, [{ broker, read: 3, write: 2, perm: 6 }]);
  assert.deepEqual(route.brokers, brokers);
  const config = (await admin.topicConfigs(broker)).find(({ topic }) => topic === "looked-at");
  assert.deepEqual(config, { topic: "looked-at", readQueues: 3, writeQueues: 2, perm: 6, order: false });

  const queue = { topic: "looked-at", broker, id: 1 };
  const { offset } = await client.producer().send({ topic: "looked-at", body: "x" }, { queue });
  const stats = await admin.topicStats("looked-at");
  const full = stats.find(({ queue: { id } }) => id === 1);
  assert.deepEqual([full.queue, full.min, full.max], [queue, 0n, offset + 1n]);
  assert.ok(Date.now() - full.lastUpdate.getTime() < 60_000);
  assert.equal(stats.find(({ queue: { id } }) => id === 0).lastUpdate, null);

  const consumer = client.consumer("looked-at", { group: "lookers", from: "first" });
  await consumer.next();
  void consumer.next();
  await consumer.close();
  const progress = await admin.consumeStats("lookers", "looked-at");
  assert.deepEqual(progress.find(({ queue: { id } }) => id === 1), { queue, broker: 1n, consumer: 1n });

  const info = await admin.brokerInfo(broker);
  assert.equal(typeof info.brokerVersionDesc, "string");
});

test("what a broker or NameServer refuses has its code", async () => {
  const strict = await startTabCluster({ autoCreateTopic: false });
  const asker = await strict.connect();
  for (const call of [() => asker.admin.route("nowhere"), () => asker.producer().send({ topic: "nowhere", body: "x" })]) {
    await assert.rejects(call, (error) => error instanceof RefusedError && error.message.includes("nowhere"));
  }
  await strict.close();
});

test("wrong arguments are the caller's to mend", async () => {
  const producer = client.producer();
  const wrong = [
    [() => producer.send({ topic: "with space", body: "x" }), /topic/],
    [() => producer.send({ topic: "t", body: "" }), /body/],
    [() => producer.send({ topic: "t", body: 5 }), /Uint8Array or a string/],
    [() => producer.send({ topic: "t", body: "x", properties: { a: "b\u0002c\u0001d" } }), /U\+0001/],
    [() => producer.send({ topic: "t", body: "x", properties: { UNIQ_KEY: "1" } }), /UNIQ_KEY/],
    [() => producer.send({ topic: "t", body: "x", tag: "A||B" }), /tag/],
    [() => producer.send({ topic: "t", body: "x" }, { queue: { topic: "u", broker: "b", id: 0 } }), /queue of topic "u"/],
    [() => producer.send({ topic: "t", body: new Uint8Array(5 << 20) }), /bytes/],
    [() => producer.send({ body: "x" }), /needs a topic/],
    [() => producer.sendBatch([]), /empty/],
    [() => producer.sendBatch([{ topic: "t", body: "x" }, { body: "x" }]), /needs a topic/],
    [async () => client.consumer("t"), /a topic and a group/],
    [async () => client.consumer(undefined, { group: "g" }), /a topic and a group/],
    [async () => client.consumer("t", { group: "" }), /group/],
    [async () => client.consumer("t", { group: "g", from: new Date(NaN) }), /Date/],
    [async () => client.consumer("t", { group: "g", prefetch: 0 }), /prefetch/],
    [async () => client.producer({ group: "a b" }), /group/],
  ];
  for (const [call, message] of wrong) {
    await assert.rejects(call, (error) => error instanceof UsageError && !error.retryable && message.test(error.message), `${call}`);
  }
});

test("a closed client says so, and its consumers end", async () => {
  const short = await cluster.connect();
  const consumer = short.consumer("whole", { group: "short" });
  const next = consumer.next();
  const producer = short.producer();
  await short.close();
  await short.close();
  await short.closed;
  assert.deepEqual(await next, { done: true, value: undefined });
  await assert.rejects(producer.send({ topic: "whole", body: "x" }), UsageError);
  await assert.rejects(short.admin.topics(), UsageError);
  assert.throws(() => short.consumer("whole", { group: "g" }), UsageError);
  await consumer.close();
});

test("`await using` closes, also where the symbol is a polyfill's", async () => {
  const disposed = await cluster.connect();
  await disposed[Symbol.asyncDispose]();
  await disposed.closed;
});

test("a port takes the cluster to another thread", async () => {
  const script = `
    import { parentPort, workerData } from "node:worker_threads";
    const { connect } = await import(workerData.entry);
    const client = await connect(workerData.port);
    const { status } = await client.producer().send({ topic: "elsewhere", body: "from a worker" });
    await client.close();
    parentPort.postMessage(status);
  `;
  const port = cluster.port();
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), {
    workerData: { entry: new URL("index.js", folder).href, port }, transferList: [port],
  });
  const status = await new Promise((resolve, reject) => worker.on("message", resolve).on("error", reject));
  assert.equal(status, "SEND_OK");
  await worker.terminate();
  const [message] = await take(client.consumer("elsewhere", { group: "readers", from: "first" }), 1);
  assert.equal(message.text(), "from a worker");
});

test("nothing is reached outside of a tab cluster", async () => {
  const { port1, port2 } = new MessageChannel();
  const port = cluster.port();
  const refused = new Promise((resolve) => (port1.onmessage = ({ data }) => resolve(data)));
  port.postMessage({ address: "127.0.0.1:22", port: port2 }, [port2]);
  assert.match(await refused, /nothing outside/);
  port1.close();
  port.close();
});

/** Waits until a consumer has so many queues. */
async function assigned(consumer, count) {
  while (consumer.assigned.length !== count) await new Promise((resolve) => setImmediate(resolve));
}
