// Sending: one producer a connection, one message or many, with progress and a stop.
//
// Many messages are kept in flight, so their order is the order in which brokers stored them, not the order of numbers.

import { type Accessor, createSignal } from "solid-js";
import type { Client, Producer, SendResult } from "skylark-mq";
import { numbered } from "./format.ts";
import type { Session } from "./session.ts";
import type { Watch } from "./watch.ts";

export interface Draft {
  readonly topic: string;
  readonly tag: string;
  /** Separated by spaces. */
  readonly keys: string;
  readonly body: string;
  readonly count: number;
}

export interface Outcome {
  readonly sent: number;
  readonly last: SendResult | null;
  readonly ms: number;
  /** Null when all were sent or the person stopped. */
  readonly error: unknown;
}

export interface Outbox {
  /** Messages this page has sent to the cluster that is chosen. */
  readonly sent: Accessor<number>;
  /** Topics whose route this page's producer has looked up. */
  readonly lookups: Accessor<number>;
  send(draft: Draft, progress: (sent: number) => void, signal: AbortSignal): Promise<Outcome>;
  forget(): void;
}

export const MOST_AT_ONCE = 10_000;
const IN_FLIGHT = 32;

export function createOutbox(session: Session, watch: Watch): Outbox {
  const [sent, setSent] = createSignal(0);
  const [lookups, setLookups] = createSignal(0);
  let current: { client: Client; producer: Producer; topics: Set<string> } | null = null;

  function producerOf(client: Client, topic: string): Producer {
    if (current?.client !== client) current = { client, producer: client.producer({ group: "playground-producer" }), topics: new Set() };
    if (!current.topics.has(topic)) {
      current.topics.add(topic);
      setLookups((n) => n + 1);
    }
    return current.producer;
  }

  return {
    sent,
    lookups,
    async send(draft, progress, signal) {
      const client = session.client();
      if (!client) throw new Error("not connected");
      const producer = producerOf(client, draft.topic);
      const started = performance.now();
      let next = 0;
      let done = 0;
      let last: SendResult | null = null;
      let failure: { error: unknown } | null = null;

      const one = async (n: number): Promise<void> => {
        const text = (value: string): string => (draft.count > 1 ? numbered(value, n) : value);
        const keys = text(draft.keys).split(/\s+/).filter((key) => key !== "");
        last = await producer.send(
          {
            topic: draft.topic,
            body: text(draft.body),
            ...(draft.tag === "" ? {} : { tag: draft.tag }),
            ...(keys.length === 0 ? {} : { keys }),
          },
          { signal },
        );
        done++;
        setSent((all) => all + 1);
        progress(done);
      };
      const lane = async (): Promise<void> => {
        while (next < draft.count && !failure && !signal.aborted) {
          try {
            await one(++next);
          } catch (error) {
            if (!signal.aborted) failure ??= { error };
          }
        }
      };
      await Promise.all(Array.from({ length: Math.min(IN_FLIGHT, draft.count) }, lane));
      if (done > 0) watch.refresh(draft.topic);
      const error = (failure as { error: unknown } | null)?.error ?? null;
      return { sent: done, last, ms: performance.now() - started, error };
    },
    forget: () => setSent(0),
  };
}
