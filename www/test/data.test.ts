// Rates, names, numbers of queues, and the token's way into the page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { formats, numbered } from "../src/data/format.ts";
import { socketUrl, takeToken } from "../src/data/link.ts";
import { compareQueues, isSystemTopic, topicNameFault } from "../src/data/names.ts";
import { RateMeter } from "../src/data/rate.ts";

test("a rate is counted over the last five seconds", () => {
  const meter = new RateMeter();
  assert.equal(meter.rate(), null);
  meter.push(0, 100n);
  assert.equal(meter.rate(), null);
  meter.push(1000, 110n);
  assert.equal(meter.rate(), 10);
  for (let second = 2; second <= 10; second++) meter.push(second * 1000, 110n);
  assert.equal(meter.rate(), 0, "what is older than the window counts no more");
  meter.push(11_000, 160n);
  assert.equal(meter.rate(), 10);
  assert.equal(meter.latest(), 50);
});

test("a counter that falls starts afresh: no rate is negative", () => {
  const meter = new RateMeter();
  meter.push(0, 1_000n);
  meter.push(1000, 2_000n);
  meter.push(2000, 3n);
  assert.equal(meter.rate(), null);
  meter.push(3000, 7n);
  assert.equal(meter.rate(), 4);
});

test("a slow poller has a rate too", () => {
  const meter = new RateMeter();
  meter.push(0, 0n);
  meter.push(60_000, 120n);
  assert.equal(meter.rate(), 2);
});

test("topics of the cluster itself are known by name, prefix, and by the names of brokers and clusters", () => {
  const own = new Set(["broker-a", "DefaultCluster"]);
  for (const topic of ["TBW102", "%RETRY%orders", "%DLQ%orders", "rmq_sys_RAFT", "RMQ_SYS_TRANS_HALF_TOPIC", "broker-a", "DefaultCluster"]) {
    assert.ok(isSystemTopic(topic, own), topic);
  }
  for (const topic of ["TestTopic", "orders", "broker-b", "rmq"]) assert.ok(!isSystemTopic(topic, own), topic);
});

test("queues are numbered by broker, then by id", () => {
  const queue = (broker: string, id: number) => ({ topic: "t", broker, id });
  const queues = [queue("b", 0), queue("a", 10), queue("a", 2), queue("b", 1)];
  assert.deepEqual(queues.sort(compareQueues), [queue("a", 2), queue("a", 10), queue("b", 0), queue("b", 1)]);
});

test("a topic's name is checked as RocketMQ checks it", () => {
  assert.equal(topicNameFault("Order-Topic_1%|"), null);
  assert.equal(topicNameFault("x".repeat(127)), null);
  assert.equal(topicNameFault("x".repeat(128)), "long");
  assert.equal(topicNameFault(""), "empty");
  for (const name of ["a b", "订单", "a/b", "a.b"]) assert.equal(topicNameFault(name), "characters", name);
});

test("numbers read as people of the language write them", () => {
  assert.equal(formats.en.count(12_345_678_901_234_567_890n), "12,345,678,901,234,567,890");
  assert.equal(formats.en.rate(null), "–");
  assert.equal(formats.en.rate(0.25), "0.3");
  assert.equal(formats.zh.rate(1234.5), "1,235");
  assert.equal(formats.en.bytes(1536), "1.5 KiB");
  assert.equal(numbered("order-{n} of {n}", 7), "order-7 of 7");
});

class MemoryStorage {
  readonly #map = new Map<string, string>();
  getItem = (key: string): string | null => this.#map.get(key) ?? null;
  setItem = (key: string, value: string): void => void this.#map.set(key, value);
}

test("the token moves from the address into the tab's storage (SEC-11)", () => {
  const storage = new MemoryStorage() as unknown as Storage;
  let shown = "";
  const history = { state: null, replaceState: (_: unknown, __: string, url: string) => (shown = url) } as unknown as History;
  const location = (href: string): Location => new URL(href) as unknown as Location;

  assert.equal(takeToken(location("http://127.0.0.1:9876/"), history, storage), null);
  assert.equal(shown, "", "without a token the address stays as it is");
  assert.equal(takeToken(location("http://127.0.0.1:9876/?a=1#token=s%2Bcret&x=2"), history, storage), "s+cret");
  assert.equal(shown, "/?a=1#x=2");
  assert.equal(takeToken(location("http://127.0.0.1:9876/"), history, storage), "s+cret", "kept for the tab");
  assert.equal(takeToken(location("http://127.0.0.1:9876/#token=new"), history, storage), "new", "a new one wins");
  assert.equal(shown, "/");

  assert.equal(socketUrl(location("http://127.0.0.1:9876/#x"), "s+cret"), "ws://127.0.0.1:9876/ws?token=s%2Bcret");
  assert.equal(socketUrl(location("https://mq.example/"), "t"), "wss://mq.example/ws?token=t");
});
