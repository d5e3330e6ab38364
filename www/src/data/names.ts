// Names: which topics belong to the cluster itself, and how queues are numbered.
//
// A queue has two numbers. Its id counts from 0 on each broker and is what the wire carries. Its overall number counts
// through all brokers of the topic in order of name, and is what people draw on a whiteboard. The page shows both.

import type { QueueRef } from "skylark-mq";

const SYSTEM = new Set([
  "TBW102",
  "SELF_TEST_TOPIC",
  "OFFSET_MOVED_EVENT",
  "BenchmarkTest",
  "SCHEDULE_TOPIC_XXXX",
  "TRANS_CHECK_MAX_TIME_TOPIC",
]);
const SYSTEM_PREFIXES = ["rmq_sys_", "RMQ_SYS_", "%RETRY%", "%DLQ%", "%SYS%"];

/** Whether the cluster keeps this topic for itself. `own` holds the names of clusters and brokers, each of which has a topic. */
export function isSystemTopic(topic: string, own: ReadonlySet<string>): boolean {
  return SYSTEM.has(topic) || own.has(topic) || SYSTEM_PREFIXES.some((prefix) => topic.startsWith(prefix));
}

/** Order of queues for overall numbering: by broker name, then by id. */
export function compareQueues(a: QueueRef, b: QueueRef): number {
  if (a.broker !== b.broker) return a.broker < b.broker ? -1 : 1;
  return a.id - b.id;
}

export function queueKey(queue: QueueRef): string {
  return `${queue.broker}/${queue.id}`;
}

export type TopicNameFault = "empty" | "long" | "characters";

/** What is wrong with a topic's name, or null. RocketMQ allows letters, digits, `%|-_`, at most 127. */
export function topicNameFault(name: string): TopicNameFault | null {
  if (name === "") return "empty";
  if (name.length > 127) return "long";
  return /^[%|a-zA-Z0-9_-]+$/.test(name) ? null : "characters";
}
