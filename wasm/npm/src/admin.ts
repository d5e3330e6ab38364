// Looks at the cluster. The module answers plain values; here they get the shapes of `types.ts`.

import type { WasmClient } from "./client.js";
import type { AdminRequest } from "./wasm/client.js";
import type {
  Admin, BrokerRef, ClusterInfo, QueueProgress, QueueRef, QueueStats, TopicConfig, TopicOptions, TopicRoute,
} from "./types.js";

export class WasmAdmin implements Admin {
  readonly #client: WasmClient;

  constructor(client: WasmClient) {
    this.#client = client;
  }

  clusters(): Promise<ClusterInfo> {
    return this.#ask({ op: "clusters" }, (brokers: BrokerRef[]) => ({ brokers }));
  }

  topics(): Promise<readonly string[]> {
    return this.#ask({ op: "topics" }, (topics: string[]) => topics);
  }

  route(topic: string): Promise<TopicRoute> {
    return this.#ask({ op: "route", topic }, (route: TopicRoute) => route);
  }

  topicConfigs(broker: string): Promise<readonly TopicConfig[]> {
    return this.#ask({ op: "topicConfigs", broker }, (configs: TopicConfig[]) => configs);
  }

  topicStats(topic: string): Promise<readonly QueueStats[]> {
    interface Raw { queue: QueueRef; min: bigint; max: bigint; lastUpdate: number }
    return this.#ask({ op: "topicStats", topic }, (stats: Raw[]) =>
      stats.map((queue) => ({ ...queue, lastUpdate: queue.lastUpdate > 0 ? new Date(queue.lastUpdate) : null })));
  }

  createTopic(topic: string, options: TopicOptions = {}): Promise<void> {
    const { readQueues = 8, writeQueues = 8, perm = 6, broker } = options;
    return this.#ask({ op: "createTopic", topic, readQueues, writeQueues, perm, broker }, () => undefined);
  }

  consumeStats(group: string, topic?: string): Promise<readonly QueueProgress[]> {
    return this.#ask({ op: "consumeStats", group, topic }, (progress: QueueProgress[]) => progress);
  }

  brokerInfo(broker: string): Promise<Readonly<Record<string, string>>> {
    return this.#ask({ op: "brokerInfo", broker }, (info: Record<string, string>) => info);
  }

  async #ask<Raw, Shown>(request: AdminRequest, show: (raw: Raw) => Shown): Promise<Shown> {
    return show(await this.#client.ask<Raw>(request));
  }
}
