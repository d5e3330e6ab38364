// The package's words: what goes in, what comes out. Types only; nothing here runs.
//
// Offsets are bigint, since a queue's offset may pass 2^53. Times are milliseconds or Date. Everything that
// was handed out is read-only.

import type { SkylarkError } from "./errors.js";

/** What a WebSocket of any runtime has in common: the global one, or the package `ws` for Node 20. */
export type WebSocketConstructor = new (url: string) => object;

/** How to connect. Every field may be left out. */
export interface ConnectOptions {
  /** Gives up connecting when it aborts. Once connected it has no effect. */
  signal?: AbortSignal | undefined;
  /** This client's name among its consumer groups. Must differ between clients. Default: random. */
  clientId?: string | undefined;
  /** The WebSocket to use where the runtime has none (Node 20), or in place of its own. */
  WebSocket?: WebSocketConstructor | undefined;
  /**
   * The URL at which a broker is reached, given its address in the routes ("127.0.0.1:10911"). Default: that
   * host and port with the scheme, path and query (so the token) of the URL given to `connect`.
   */
  resolve?: ((address: string) => string) | undefined;
  /** How long a request may take, ms. Default: 3000. */
  timeout?: number | undefined;
}

/** A connection to a cluster: its NameServer, and the brokers that routes name as they are needed. */
export interface Client extends AsyncDisposable {
  /** Sends messages. Costs nothing until the first send. */
  producer(options?: ProducerOptions): Producer;
  /** Joins a consumer group and receives its share of a topic. */
  consumer(topic: string, options: ConsumerOptions): Consumer;
  /** Looks at the cluster, and creates topics. */
  readonly admin: Admin;
  /** Resolves when the client is closed, whoever closed it. Rejects when it closed because it broke. */
  readonly closed: Promise<void>;
  /** Closes consumers (progress is committed, the group is left) and connections. May be called twice. */
  close(): Promise<void>;
}

/** How to send. */
export interface ProducerOptions {
  /** The producer group. Default: "SKYLARK_JS". */
  group?: string | undefined;
  /** How long one send may take with all its retries, ms. Default: the client's `timeout`. */
  timeout?: number | undefined;
  /** How many more brokers or queues to try when one fails. Default: 2. */
  retries?: number | undefined;
}

/** How one send goes. */
export interface SendOptions {
  /** Stops waiting when it aborts; the message may be stored all the same. */
  signal?: AbortSignal | undefined;
  /** Sends to this queue, and to no other when that fails. Default: the next one, in turn. */
  queue?: QueueRef | undefined;
  /** Asks for no acknowledgement: the promise resolves when the message has left, and it may be lost. */
  oneway?: boolean | undefined;
}

/** Sends messages. */
export interface Producer {
  /** Sends one message. Resolves when the broker has stored it, as safely as the broker's flush mode says. */
  send(message: OutgoingMessage, options?: SendOptions & { oneway?: false | undefined }): Promise<SendResult>;
  /** Sends one message without an acknowledgement. Resolves when it has left this client. */
  send(message: OutgoingMessage, options: SendOptions & { oneway: true }): Promise<void>;
  /** Sends messages of one topic together to one queue, in order; a result for each. All are stored, or none. */
  sendBatch(messages: readonly OutgoingMessage[], options?: Omit<SendOptions, "oneway">): Promise<SendResult[]>;
}

/** A message to send. */
export interface OutgoingMessage {
  /** Where to. */
  topic: string;
  /** What. Text is sent as UTF-8. */
  body: Uint8Array | string;
  /** What consumers filter by. */
  tag?: string | undefined;
  /** What the message is found by. A key has no spaces: they separate keys. */
  keys?: string | readonly string[] | undefined;
  /** Yours, beside the system's own. */
  properties?: Readonly<Record<string, string>> | undefined;
}

/** How safely a message was stored. */
export type SendStatus = "SEND_OK" | "FLUSH_DISK_TIMEOUT" | "FLUSH_SLAVE_TIMEOUT" | "SLAVE_NOT_AVAILABLE";

/** Where a message was stored. */
export interface SendResult {
  /** "SEND_OK", or stored, but a flush or a copy did not come in time. */
  readonly status: SendStatus;
  /** The id that the client gave the message, 32 hexadecimal digits. */
  readonly messageId: string;
  /** The id by which the broker finds the message: its address and the position in its log, in hexadecimal. */
  readonly offsetMessageId: string;
  /** The queue. */
  readonly queue: QueueRef;
  /** The message's number in the queue. */
  readonly offset: bigint;
}

/** One queue of a topic. */
export interface QueueRef {
  /** The topic. */
  readonly topic: string;
  /** The broker's name. */
  readonly broker: string;
  /** The queue's number on that broker, from 0. */
  readonly id: number;
}

/** How to consume. */
export interface ConsumerOptions {
  /** The consumer group: its members share the topic's queues, and its progress is kept by the brokers. */
  group: string;
  /** Which messages: "*" (default) or tags joined by "||", such as "A || B". */
  tags?: string | undefined;
  /** Where a group without progress begins: after the last message (default), at the first, or at a time. */
  from?: "last" | "first" | Date | undefined;
  /** Closes the consumer when it aborts; the iteration throws the signal's reason. */
  signal?: AbortSignal | undefined;
  /** How many messages of each queue may wait in this client, or be in hand, at most. Default: 1000. */
  prefetch?: number | undefined;
  /**
   * Reads every queue, whoever else is in the group, and keeps no progress: each start follows `from`, and nothing
   * is left on the brokers. A group is wholly one or the other. Default: false.
   */
  broadcast?: boolean | undefined;
}

/**
 * Messages of a topic, as they come. Asking for the next one acknowledges those before it; leaving a
 * `for await` closes the consumer, and the message in hand comes again to the group.
 */
export interface Consumer extends AsyncIterableIterator<Message, undefined, undefined>, AsyncDisposable {
  /** Hands out no more messages until `resume`. Those that wait here stay. */
  pause(): void;
  /** Goes on after `pause`. */
  resume(): void;
  /** Commits progress and leaves the group. May be called twice. */
  close(): Promise<void>;
  /** The queues that are this member's now. Changes as members come and go. */
  readonly assigned: readonly QueueRef[];
  /** Why nothing can be read for now, such as a topic that does not exist yet. It goes on trying. */
  readonly trouble: SkylarkError | undefined;
}

/** A message that was received. */
export interface Message {
  /** The topic. */
  readonly topic: string;
  /** The queue. */
  readonly queue: QueueRef;
  /** The message's number in its queue. */
  readonly offset: bigint;
  /** The id that its producer gave it. */
  readonly messageId: string;
  /** The id by which its broker finds it. */
  readonly offsetMessageId: string;
  /** What filters look at. */
  readonly tag?: string | undefined;
  /** What it is found by. */
  readonly keys: readonly string[];
  /** The content. */
  readonly body: Uint8Array;
  /** The content as UTF-8 text; what is not UTF-8 shows as U+FFFD. */
  text(): string;
  /** All properties, the system's own included. */
  readonly properties: Readonly<Record<string, string>>;
  /** When its producer made it. */
  readonly bornAt: Date;
  /** When its broker stored it. */
  readonly storedAt: Date;
  /** Its producer's host:port, as its broker saw it. */
  readonly bornHost: string;
  /** Its broker's host:port. */
  readonly storeHost: string;
  /** How often it was consumed in vain before. */
  readonly reconsumeTimes: number;
}

/** A broker and its replicas. */
export interface BrokerRef {
  /** The name that master and slaves share. */
  readonly name: string;
  /** The cluster it belongs to. */
  readonly cluster: string;
  /** Its members by id; 0 is the master. */
  readonly addresses: readonly { readonly id: number; readonly address: string }[];
}

/** All brokers that the NameServer knows. */
export interface ClusterInfo {
  /** Sorted by name. */
  readonly brokers: readonly BrokerRef[];
}

/** Where a topic is. */
export interface TopicRoute {
  /** Its queues, per broker name. `perm` has bits: 4 read, 2 write, 1 inherit. */
  readonly queues: readonly { readonly broker: string; readonly read: number; readonly write: number; readonly perm: number }[];
  /** The brokers that have them. */
  readonly brokers: readonly BrokerRef[];
}

/** What a topic is on one broker. */
export interface TopicConfig {
  /** Its name. */
  readonly topic: string;
  /** Queues that consumers read. */
  readonly readQueues: number;
  /** Queues that producers write. */
  readonly writeQueues: number;
  /** Bits: 4 read, 2 write, 1 inherit. */
  readonly perm: number;
  /** Sends do not move to another broker. */
  readonly order: boolean;
}

/** How full a queue is. */
export interface QueueStats {
  /** The queue. */
  readonly queue: QueueRef;
  /** Its first offset. */
  readonly min: bigint;
  /** The offset that the next message will get. */
  readonly max: bigint;
  /** When its last message was stored; null when it has none. */
  readonly lastUpdate: Date | null;
}

/** How far a group is in a queue. */
export interface QueueProgress {
  /** The queue. */
  readonly queue: QueueRef;
  /** The offset that the next message will get. */
  readonly broker: bigint;
  /** The offset that the group consumes next. */
  readonly consumer: bigint;
}

/** What a new topic shall be. */
export interface TopicOptions {
  /** Queues that consumers read. Default: 8. */
  readQueues?: number | undefined;
  /** Queues that producers write. Default: 8. */
  writeQueues?: number | undefined;
  /** Bits: 4 read, 2 write. Default: 6. */
  perm?: number | undefined;
  /** The broker's name. Default: every broker. */
  broker?: string | undefined;
}

/** Looks at the cluster, and creates topics. */
export interface Admin {
  /** All brokers. */
  clusters(): Promise<ClusterInfo>;
  /** All topics, sorted. */
  topics(): Promise<readonly string[]>;
  /** Where a topic is. */
  route(topic: string): Promise<TopicRoute>;
  /** The topics of one broker, by its name. */
  topicConfigs(broker: string): Promise<readonly TopicConfig[]>;
  /** How full the queues of a topic are, on all brokers that have it. */
  topicStats(topic: string): Promise<readonly QueueStats[]>;
  /** Creates a topic, or changes it. */
  createTopic(topic: string, options?: TopicOptions): Promise<void>;
  /** How far a group is, in one topic or in all that it has progress in. */
  consumeStats(group: string, topic?: string): Promise<readonly QueueProgress[]>;
  /** What a broker says about itself, by its name. */
  brokerInfo(broker: string): Promise<Readonly<Record<string, string>>>;
}
