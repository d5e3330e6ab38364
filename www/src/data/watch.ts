// What the page knows about the cluster: asked once a second over the session's client, never invented.
//
// Each round asks the NameServer for brokers and topics, each broker for its counters, and brokers for the offsets of the
// chosen topic and of a few others in turn, so a cluster with a thousand topics costs no more than one with ten.
// A NameServer that does not answer ends the session; a broker that does not answer is shown as such.

import { type Accessor, batch, createEffect, createMemo, createSignal, on, onCleanup } from "solid-js";
import { type Client, type ClusterInfo, ConnectionError, type QueueRef } from "skylark-mq";
import { compareQueues, isSystemTopic, queueKey } from "./names.ts";
import { RateMeter } from "./rate.ts";
import type { Session } from "./session.ts";

export interface BrokerView {
  readonly name: string;
  readonly cluster: string;
  /** 0 is the master. */
  readonly id: number;
  readonly address: string;
  /** Null until the broker has answered. */
  readonly version: string | null;
  readonly answers: boolean;
}

export interface QueueView {
  readonly queue: QueueRef;
  /** Number through all brokers of the topic. */
  readonly overall: number;
  readonly min: bigint;
  readonly max: bigint;
  readonly rate: number | null;
  readonly lastUpdate: Date | null;
}

export interface TopicView {
  readonly queues: readonly QueueView[];
  /** Messages that can still be read. */
  readonly messages: bigint;
  readonly rate: number | null;
}

/** Messages per second into and out of all brokers; `at` is seconds since 1970. */
export interface Sample {
  readonly at: number;
  readonly in: number | null;
  readonly out: number | null;
}

export interface Watch {
  /** False until the first round of this session is complete. */
  readonly ready: Accessor<boolean>;
  readonly brokers: Accessor<readonly BrokerView[]>;
  /** All topics, in order. */
  readonly topics: Accessor<readonly string[]>;
  readonly userTopics: Accessor<readonly string[]>;
  readonly systemTopics: Accessor<readonly string[]>;
  readonly selected: Accessor<string | null>;
  /** Shows this topic, once it is there. */
  select(topic: string): void;
  /** What the person picked last; set anew by each pick, also of the same topic. */
  readonly picked: Accessor<string | null>;
  pick(topic: string): void;
  /** Whether the topic was made while this page was connected. */
  readonly isNew: (topic: string) => boolean;
  readonly view: (topic: string) => TopicView | undefined;
  /** Overall number of a queue, if its topic has been asked for. */
  readonly overall: (queue: QueueRef) => number | undefined;
  readonly samples: Accessor<readonly Sample[]>;
  /** Asks again now, also for this topic: something was sent or made. */
  refresh(topic: string): void;
}

const PERIOD_MS = 1_000;
const KEPT_SAMPLES = 120;
const IN_TURN = 4;
const SHORTEST_MS = 100;
const MOST_MISSES = 3;

export function createWatch(session: Session): Watch {
  const [ready, setReady] = createSignal(false);
  const [brokers, setBrokers] = createSignal<readonly BrokerView[]>([]);
  const [topics, setTopics] = createSignal<readonly string[]>([], { equals: sameList });
  const [views, setViews] = createSignal<ReadonlyMap<string, TopicView>>(new Map());
  const [samples, setSamples] = createSignal<readonly Sample[]>([]);
  const [wanted, setWanted] = createSignal<string | null>(null);
  const own = createMemo(() => new Set(brokers().flatMap((broker) => [broker.name, broker.cluster])));
  const userTopics = createMemo(() => topics().filter((topic) => !isSystemTopic(topic, own())), [], { equals: sameList });
  const systemTopics = createMemo(() => topics().filter((topic) => isSystemTopic(topic, own())), [], { equals: sameList });
  // A topic that was just made is not in the list yet: until it is, the one before stays.
  const selected = createMemo<string | null>((before) => {
    const known = (topic: string | null): topic is string => topic !== null && topics().includes(topic);
    const want = wanted();
    return known(want) ? want : known(before) ? before : (userTopics()[0] ?? null);
  }, null);
  const [picked, setPicked] = createSignal<string | null>(null, { equals: false });
  let old: ReadonlySet<string> | null = null;
  let soon = new Set<string>();
  let hurry = false;
  let wake: (() => void) | null = null;

  function refresh(topic: string): void {
    soon.add(topic);
    hurry = true;
    wake?.();
  }
  function select(topic: string): void {
    setWanted(topic);
    refresh(topic);
  }

  createEffect(
    on(session.choice, () => {
      batch(() => {
        setReady(false);
        setBrokers([]);
        setTopics([]);
        setViews(new Map());
        setSamples([]);
        setWanted(null);
        setPicked(null);
        old = null;
      });
    }),
  );

  createEffect(() => {
    const client = session.client();
    if (!client) return;
    const stop = new AbortController();
    onCleanup(() => {
      stop.abort();
      wake?.();
    });
    void ask(client, stop.signal);
  });

  async function ask(client: Client, signal: AbortSignal): Promise<void> {
    const meters = new Map<string, RateMeter>();
    const counters = { in: new RateMeter(), out: new RateMeter() };
    const meter = (key: string): RateMeter => {
      let found = meters.get(key);
      if (!found) meters.set(key, (found = new RateMeter()));
      return found;
    };
    let turn = 0;
    let misses = 0;
    let sampled = performance.now() - PERIOD_MS;
    while (!signal.aborted) {
      const started = performance.now();
      hurry = false;
      try {
        const [info, names] = await Promise.all([client.admin.clusters(), client.admin.topics()]);
        if (signal.aborted) return;
        const known = await askBrokers(client, info);
        if (signal.aborted) return;
        old ??= new Set(names);
        batch(() => {
          setBrokers(known.views);
          setTopics([...names].sort());
        });
        const others = userTopics();
        const about = new Set(soon);
        soon = new Set();
        const current = selected();
        if (current !== null) about.add(current);
        const count = known.put === null ? others.length : Math.min(IN_TURN, others.length);
        for (let i = 0; i < count; i++) {
          const topic = others[(turn + i) % others.length];
          if (topic !== undefined) about.add(topic);
        }
        turn += count;
        await Promise.all([...about].filter((topic) => names.includes(topic)).map((topic) => askTopic(client, topic, meter, signal)));
        if (signal.aborted) return;
        misses = 0;
        const now = performance.now();
        // Rounds between two seconds would only make the line rough.
        if (now - sampled >= PERIOD_MS * 0.9) {
          sampled = now;
          // A broker without counters: its topics' own offsets say what came in, nothing says what went out.
          counters.in.push(now, known.put ?? sumOfMax(views(), others));
          if (known.got !== null) counters.out.push(now, known.got);
          const sample = { at: Date.now() / 1000, in: counters.in.latest(), out: counters.out.latest() };
          if (sample.in !== null || sample.out !== null) setSamples((kept) => [...kept, sample].slice(-KEPT_SAMPLES));
        }
        setReady(true);
      } catch (error) {
        if (signal.aborted) return;
        // A slow answer is no lost connection; several are.
        if (error instanceof ConnectionError || ++misses >= MOST_MISSES) return session.failed(client, error);
      }
      const left = hurry ? 0 : PERIOD_MS - (performance.now() - started);
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, Math.max(left, SHORTEST_MS));
      });
    }
  }

  async function askTopic(client: Client, topic: string, meter: (key: string) => RateMeter, signal: AbortSignal): Promise<void> {
    let stats;
    try {
      stats = await client.admin.topicStats(topic);
    } catch {
      return; // Gone since the list was made, or its broker is silent: what was known stays.
    }
    if (signal.aborted) return;
    const now = performance.now();
    let messages = 0n;
    let rate: number | null = null;
    const queues = [...stats]
      .sort((a, b) => compareQueues(a.queue, b.queue))
      .map((entry, overall): QueueView => {
        const own = meter(`${topic} ${queueKey(entry.queue)}`);
        own.push(now, entry.max);
        const perSecond = own.rate();
        messages += entry.max - entry.min;
        if (perSecond !== null) rate = (rate ?? 0) + perSecond;
        return { queue: entry.queue, overall, min: entry.min, max: entry.max, rate: perSecond, lastUpdate: entry.lastUpdate };
      });
    setViews((before) => new Map(before).set(topic, { queues, messages, rate }));
  }

  return {
    ready,
    brokers,
    topics,
    userTopics,
    systemTopics,
    selected,
    picked,
    pick(topic) {
      select(topic);
      setPicked(topic);
    },
    select,
    isNew: (topic) => old !== null && !old.has(topic),
    view: (topic) => views().get(topic),
    overall: (queue) => views().get(queue.topic)?.queues.find((one) => queueKey(one.queue) === queueKey(queue))?.overall,
    samples,
    refresh,
  };
}

interface Known {
  readonly views: readonly BrokerView[];
  /** Messages put into and got from all brokers since they began, or null when some broker does not count. */
  readonly put: bigint | null;
  readonly got: bigint | null;
}

async function askBrokers(client: Client, info: ClusterInfo): Promise<Known> {
  let put: bigint | null = 0n;
  let got: bigint | null = 0n;
  const views = await Promise.all(
    info.brokers.map(async (broker) => {
      let facts: Readonly<Record<string, string>> | null = null;
      try {
        facts = await client.admin.brokerInfo(broker.name);
      } catch {
        // Shown as not answering.
      }
      put = add(put, facts?.["msgPutTotalTodayNow"]);
      got = add(got, facts?.["msgGetTotalTodayNow"]);
      return broker.addresses.map(
        ({ id, address }): BrokerView => ({
          name: broker.name,
          cluster: broker.cluster,
          id,
          address,
          version: id === 0 ? (facts?.["brokerVersionDesc"] ?? null) : null,
          answers: facts !== null,
        }),
      );
    }),
  );
  return { views: views.flat().sort((a, b) => (a.name === b.name ? a.id - b.id : a.name < b.name ? -1 : 1)), put, got };
}

function add(sum: bigint | null, text: string | undefined): bigint | null {
  return sum === null || text === undefined || !/^\d+$/.test(text) ? null : sum + BigInt(text);
}

function sumOfMax(views: ReadonlyMap<string, TopicView>, topics: readonly string[]): bigint {
  let sum = 0n;
  for (const topic of topics) for (const queue of views.get(topic)?.queues ?? []) sum += queue.max;
  return sum;
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
