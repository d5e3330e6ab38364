// skylark-mq: RocketMQ for JavaScript. Importing it does nothing; the wasm module is fetched at the first `connect`.

export { ConnectionError, RefusedError, SkylarkError, TimeoutError, UsageError } from "./errors.js";
export type {
  Admin, BrokerRef, Client, ClusterInfo, ConnectOptions, Consumer, ConsumerOptions, Message, OutgoingMessage, Producer,
  ProducerOptions, QueueProgress, QueueRef, QueueStats, SendOptions, SendResult, SendStatus, TopicConfig, TopicOptions,
  TopicRoute, WebSocketConstructor,
} from "./types.js";
