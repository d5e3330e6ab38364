// The live diagram: producers, NameServer, brokers, consumers, and what moves between them.
//
// Every number is measured and every dot stands for something that happened: messages stored, messages this page
// received, route lookups this page caused, brokers that registered. Nothing moves for show. When the system asks for less
// motion, a line lights up instead.

import { createEffect, type JSX, on, Show } from "solid-js";
import { useCluster } from "../data/cluster.ts";
import { f, t } from "../i18n/index.ts";

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const MOST_DOTS = 5;
const TRAVEL_MS = 950;

export function Flow(): JSX.Element {
  const { session, watch, tail, outbox } = useCluster();
  const rates = () => watch.samples().at(-1);
  const into = () => rates()?.in ?? null;
  const out = () => rates()?.out ?? null;
  const kept = () => watch.userTopics().reduce((sum, topic) => sum + (watch.view(topic)?.messages ?? 0n), 0n);
  const masters = () => watch.brokers().filter((broker) => broker.id === 0);
  const stored = () => Math.round(into() ?? 0);
  const pulled = () => Math.round(out() ?? 0);

  return (
    <section class="card flow" aria-labelledby="flow-title">
      <h2 id="flow-title" class="hidden">
        {t().flow.title}
      </h2>
      <p class="hidden">{t().flow.summary(f().rate(into()), f().count(kept()), f().rate(out()))}</p>
      <div class="flow-grid" aria-hidden="true" data-live={session.status().kind === "live"}>
        <div class="node producers">
          <span class="node-name">{t().flow.producers}</span>
          <span class="node-figure in">
            {f().rate(into())} <small>{t().flow.perSecond}</small>
          </span>
          <span class="node-note">{t().flow.pageSent(f().count(outbox.sent()))}</span>
        </div>
        <Edge area="e1" number="①" label={t().flow.route} tone="route" count={outbox.lookups()} />
        <Edge area="e2" number="②" label={t().flow.send} tone="in" burst={stored()} round={watch.samples()} />
        <div class="node namesrv">
          <span class="node-name">{t().flow.nameServer}</span>
          <span class="node-strong">{session.address() ?? t().flow.inTab}</span>
          <span class="node-note">{t().flow.topics(watch.userTopics().length, f().count(watch.userTopics().length))}</span>
        </div>
        <Edge area="e5" backwards number="⑤" label={t().flow.register} tone="route" count={watch.brokers().length} />
        <div class="node broker">
          <span class="node-name">{t().flow.broker}</span>
          <Show when={masters()[0]} fallback={<span class="node-strong">{t().flow.noBroker}</span>}>
            {(first) => (
              <span class="node-strong">{masters().length > 1 ? t().flow.brokers(masters().length) : first().name}</span>
            )}
          </Show>
          <span class="node-note">{t().flow.kept(kept(), f().count(kept()))}</span>
        </div>
        <Edge area="e3" backwards number="③" label={t().flow.route} tone="route" count={tail.begun()} />
        <Edge area="e4" number="④" label={t().flow.pull} tone="out" burst={pulled()} round={watch.samples()} />
        <div class="node consumers">
          <span class="node-name">{t().flow.consumers}</span>
          <span class="node-figure out">
            {f().rate(out())} <small>{t().flow.perSecond}</small>
          </span>
          <span class="node-note">{t().flow.pageReceived(f().count(tail.received()))}</span>
        </div>
      </div>
    </section>
  );
}

/** A line with a label. Dots run when `count` grows, or in each `round` of measuring that saw `burst` messages. */
function Edge(props: {
  readonly area: string;
  readonly number: string;
  readonly label: string;
  readonly tone: "in" | "out" | "route";
  readonly backwards?: boolean;
  readonly count?: number;
  readonly burst?: number;
  readonly round?: unknown;
}): JSX.Element {
  let track: HTMLDivElement | undefined;
  const run = (n: number): void => {
    const line = track;
    if (!line || n <= 0 || document.hidden) return;
    if (calm.matches) {
      line.dataset["lit"] = "";
      setTimeout(() => delete line.dataset["lit"], 700);
      return;
    }
    // A hundred times the messages are a few more dots, not a hundred times as many.
    const dots = Math.min(MOST_DOTS, 1 + Math.floor(Math.log10(n) * 2));
    const { clientWidth: width, clientHeight: height } = line;
    const ends = width > height ? [`translateX(0)`, `translateX(${width}px)`] : [`translateY(0)`, `translateY(${height}px)`];
    // The line of a consumer asking, and of a broker registering, is drawn towards the NameServer: left, or up.
    if (props.backwards) ends.reverse();
    for (let i = 0; i < dots; i++) {
      const dot = document.createElement("span");
      dot.className = "dot";
      line.append(dot);
      // Only transform and opacity change, so the browser draws it beside the page's own work.
      const frames = { transform: ends, opacity: [0, 1, 1, 1, 0] };
      const run = dot.animate(frames, { duration: TRAVEL_MS, delay: (i * TRAVEL_MS) / dots });
      run.onfinish = () => dot.remove();
    }
  };
  createEffect(on(() => props.count ?? 0, (now, before) => run(now - (before ?? 0))));
  createEffect(on(() => props.round, () => run(props.burst ?? 0), { defer: true }));
  return (
    <div class={`edge ${props.area} ${props.tone}`}>
      <span class="edge-label">
        <b>{props.number}</b> {props.label}
      </span>
      <div class="track" ref={(element) => (track = element)} />
    </div>
  );
}
