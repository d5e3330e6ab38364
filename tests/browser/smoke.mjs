// Steps of npm.test.mjs, each run as a program of its own in the folder where the package is installed. Prints one JSON text.

const [step, entry, address, extra] = process.argv.slice(2);
const before = new Set(Object.getOwnPropertyNames(globalThis));
const { connect, SkylarkError } = await import(entry);
const url = `ws://${address}/ws`;

const steps = {
  async import() {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const globals = Object.getOwnPropertyNames(globalThis).filter((name) => !before.has(name));
    // Standard output may be a handle of its own; nothing else may be open.
    const handles = process.getActiveResourcesInfo().filter((name) => !/TTY|Pipe/.test(name));
    return { globals, handles };
  },

  async talk() {
    const options = extra === "ws" ? { WebSocket: (await import("ws")).WebSocket } : {};
    const topic = `talk-${process.versions.node}-${entry}`.replaceAll(/[^a-zA-Z0-9_-]/g, "_");
    const client = await connect(url, options);
    await client.admin.createTopic(topic, { readQueues: 1, writeQueues: 1 });
    const producer = client.producer();
    const sent = [];
    for (let i = 0; i < 3; i++) sent.push(await producer.send({ topic, body: `message ${i}`, tag: "TagA", keys: [`k${i}`, "x"] }));
    sent.push(await producer.send({ topic, body: "not for this consumer", tag: "TagB" }));
    sent.push(await producer.send({ topic, body: new TextEncoder().encode("bytes \u0000\u0001ÿ"), tag: "TagA" }));

    // Asking for the next message acks the one before: what was taken last, and not followed by a question, comes again.
    const reading = { group: "smoke", from: "first", tags: "TagA" };
    const messages = await take(client, topic, reading, 4);
    const again = await take(client, topic, reading, 9, 2000);
    const more = await take(client, topic, reading, 9, 2000);
    const abort = new AbortController();
    setTimeout(() => abort.abort("mine"), 100);
    const aborted = await take(client, topic, { group: "other", from: "last", signal: abort.signal }, 1).catch((reason) => reason);
    const refused = await client.admin.route("no-such-topic").then(() => ({ name: "found" }), facts);
    await client.close();
    return {
      bodies: messages.map((message) => message.text()),
      tags: messages.map((message) => message.tag),
      keys: messages[0].keys,
      statuses: sent.map((result) => result.status),
      again: again.map((message) => message.text()),
      more: more.map((message) => message.text()),
      aborted: String(aborted),
      refused,
    };
  },

  async send() {
    const client = await connect(url, { WebSocket: (await import("ws")).WebSocket });
    await client.admin.createTopic(extra, { readQueues: 4, writeQueues: 4 });
    const producer = client.producer();
    const results = await Promise.all(Array.from({ length: 100 }, (_, i) => producer.send({ topic: extra, body: `npm ${i}` })));
    await client.close();
    return { count: results.filter((result) => result.status === "SEND_OK").length };
  },

  async "no-websocket"() {
    return connect(url).then(() => ({ name: "connected" }), facts);
  },

  async "bad-address"() {
    const options = { WebSocket: (await import("ws")).WebSocket };
    const attempt = (where) => connect(where, options).then(() => ({ name: "connected" }), facts);
    return { nonsense: await attempt("nonsense"), nobody: await attempt("ws://127.0.0.1:1/ws") };
  },
};

/** The first `count` messages of a consumer, each acked, or what came within `ms`. */
async function take(client, topic, options, count, ms) {
  const taken = [];
  const consumer = client.consumer(topic, options);
  const timer = ms && setTimeout(() => void consumer.close(), ms);
  for await (const message of consumer) {
    taken.push(message);
    if (taken.length === count) break;
  }
  clearTimeout(timer);
  await consumer.close();
  return taken;
}

function facts(error) {
  const { name, message, code, retryable } = error;
  return { name, message, skylark: error instanceof SkylarkError, code, retryable };
}

console.log(JSON.stringify(await steps[step]()));
