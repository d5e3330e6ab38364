// The fake's "skylark-mq/tab". Development only.

import type { TabCluster } from "skylark-mq/tab";
import { connectFake, FakeCluster } from "./fake.ts";

export async function startTabCluster(): Promise<TabCluster> {
  const cluster = new FakeCluster([["broker-tab", "broker-tab"]]);
  return {
    connect: async () => connectFake(cluster),
    port: () => {
      throw new Error("the fake has no port");
    },
    close: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
}
