// The live tail: the page as a consumer of the chosen topic.
//
// Every tail is a consumer group of its own, so it takes no message from anybody's application. The list is bounded:
// older rows leave, and the page says how many. While it is paused nothing is shown, and messages wait.
// Rows are put on the page a few times a second, however fast messages arrive.

import { type Accessor, batch, createEffect, createMemo, createSignal, on, onCleanup } from "solid-js";
import type { Client, Consumer, Message } from "skylark-mq";
import { describe, type Session } from "./session.ts";
import type { Watch } from "./watch.ts";

/** Where a tail begins. `auto`: at the beginning of a small topic, and otherwise with the next message. */
export type From = "auto" | "last" | "first";

export interface Tail {
  /** Newest first. */
  readonly rows: Accessor<readonly Message[]>;
  /** Whether the newest rows came few at a time. */
  lively(): boolean;
  /** Rows that have left the list. */
  readonly dropped: Accessor<number>;
  /** Messages received since the cluster was chosen. */
  readonly received: Accessor<number>;
  /** Tails begun: each looks up its topic's route. */
  readonly begun: Accessor<number>;
  readonly running: Accessor<boolean>;
  /** Why there is no tail, or "". */
  readonly fault: Accessor<string>;
  /** Why nothing can be read for now, or "". It goes on trying. */
  readonly trouble: Accessor<string>;
  readonly paused: Accessor<boolean>;
  setPaused(paused: boolean): void;
  /** Messages that came to the topic since the pause. */
  readonly waiting: Accessor<bigint>;
  /** Tag expression: `*`, or tags joined by `||`. */
  readonly tags: Accessor<string>;
  setTags(tags: string): void;
  readonly from: Accessor<From>;
  setFrom(from: From): void;
  clear(): void;
  /** Begin again after a fault. */
  retry(): void;
}

export const KEPT_ROWS = 200;
const MOST_OF_NEW = 20_000;
const STEP_MS = 100;
/** Rows that come in a step of at most so many are shown to be new; for more that would cost more than it tells. */
const FEW = 4;
/** A step that brought more than this is followed by a longer one. */
const MANY = 50;
const LONG_STEP_MS = 400;

export function createTail(session: Session, watch: Watch): Tail {
  const [rows, setRows] = createSignal<readonly Message[]>([]);
  const [dropped, setDropped] = createSignal(0);
  const [received, setReceived] = createSignal(0);
  const [begun, setBegun] = createSignal(0);
  const [running, setRunning] = createSignal(false);
  const [fault, setFault] = createSignal("");
  const [trouble, setTrouble] = createSignal("");
  const [paused, setPaused] = createSignal(false);
  const [pausedAt, setPausedAt] = createSignal<bigint | null>(null);
  const [tags, setTags] = createSignal("*");
  const [from, setFrom] = createSignal<From>("auto");
  const [attempt, setAttempt] = createSignal(0);
  let consumer: Consumer | null = null;
  let lively = false;
  let go: (() => void) | null = null;

  const stored = createMemo(() => {
    const topic = watch.selected();
    const view = topic === null ? undefined : watch.view(topic);
    return view ? view.queues.reduce((sum, queue) => sum + queue.max, 0n) : null;
  });
  const waiting = createMemo(() => {
    const then = pausedAt();
    const now = stored();
    return then === null || now === null || now < then ? 0n : now - then;
  });

  function clear(): void {
    batch(() => {
      setRows([]);
      setDropped(0);
    });
  }

  createEffect(
    on(
      session.choice,
      () => {
        batch(() => {
          clear();
          setReceived(0);
          setTags("*");
          setFrom("auto");
        });
      },
      { defer: true },
    ),
  );
  createEffect(on(watch.samples, () => setTrouble(describe(consumer?.trouble))));

  createEffect(
    on([session.client, watch.selected, tags, from, attempt], ([client, topic, filter, start]) => {
      // Rows stay while there is no connection: they are all one has.
      if (client || topic === null) clear();
      resume();
      setFault("");
      setTrouble("");
      setRunning(false);
      consumer = null;
      if (!client || topic === null) return;
      const stop = new AbortController();
      onCleanup(() => {
        stop.abort();
        go?.();
      });
      void follow(client, topic, filter, start, stop.signal);
    }),
  );

  async function follow(client: Client, topic: string, filter: string, start: From, signal: AbortSignal): Promise<void> {
    let fresh: Message[] = [];
    let step = STEP_MS;
    let timer: ReturnType<typeof setTimeout> | null = null;
    const show = (): void => {
      timer = null;
      if (signal.aborted) return;
      // Each pull brings one queue; within a step the page shows the order of time.
      const arrived = fresh.sort(newestFirst);
      fresh = [];
      lively = arrived.length <= FEW;
      step = arrived.length > MANY ? LONG_STEP_MS : STEP_MS;
      batch(() => {
        setReceived((n) => n + arrived.length);
        setRows((kept) => {
          const all = [...arrived, ...kept];
          setDropped((n) => n + Math.max(0, all.length - KEPT_ROWS));
          return all.slice(0, KEPT_ROWS);
        });
      });
    };
    try {
      const group = `playground-tail-${crypto.randomUUID().slice(0, 8)}`;
      const begin = start === "auto" ? await suited(client, topic, watch.isNew(topic)) : start;
      if (signal.aborted) return;
      consumer = client.consumer(topic, { group, tags: filter, from: begin, broadcast: true, signal });
      batch(() => {
        setBegun((n) => n + 1);
        setRunning(true);
      });
      if (paused()) consumer.pause();
      for await (const message of consumer) {
        if (signal.aborted) return;
        // One may be on its way already when the pause begins: it waits here.
        if (paused()) await new Promise<void>((resolve) => (go = resolve));
        if (signal.aborted) return;
        fresh.push(message);
        timer ??= setTimeout(show, step);
      }
    } catch (error) {
      if (!signal.aborted) setFault(describe(error));
    } finally {
      if (!signal.aborted) setRunning(false);
      if (timer !== null && signal.aborted) clearTimeout(timer);
    }
  }

  function resume(): void {
    batch(() => {
      setPaused(false);
      setPausedAt(null);
    });
    go?.();
  }

  return {
    rows,
    lively: () => lively,
    dropped,
    received,
    begun,
    running,
    fault,
    trouble,
    paused,
    setPaused(pause) {
      if (pause === paused()) return;
      if (pause) {
        consumer?.pause();
        batch(() => {
          setPaused(true);
          setPausedAt(stored());
        });
      } else {
        resume();
        consumer?.resume();
      }
    },
    waiting,
    tags,
    setTags: (text) => setTags(text.trim() === "" ? "*" : text.trim()),
    from,
    setFrom,
    clear,
    retry: () => setAttempt((n) => n + 1),
  };
}

function newestFirst(a: Message, b: Message): number {
  return b.storedAt.getTime() - a.storedAt.getTime() || Number(b.offset - a.offset);
}

/** A topic is shown from its beginning if its messages all fit into the list, or if it began before the person's eyes. */
async function suited(client: Client, topic: string, fresh: boolean): Promise<"first" | "last"> {
  const stats = await client.admin.topicStats(topic);
  const messages = stats.reduce((sum, queue) => sum + (queue.max - queue.min), 0n);
  return messages <= BigInt(fresh ? MOST_OF_NEW : KEPT_ROWS) ? "first" : "last";
}
