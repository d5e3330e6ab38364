// The plot of the last minutes, with the same in words for those who do not see it.

import { createEffect, type JSX, on, onCleanup, onMount } from "solid-js";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useCluster } from "../data/cluster.ts";
import type { Sample } from "../data/watch.ts";
import { f, language, t } from "../i18n/index.ts";
import { theme } from "../theme.ts";

/** What the time axis spans: at first this, growing with what was measured to that. */
const SHORTEST_S = 30;
const LONGEST_S = 120;

export function Throughput(): JSX.Element {
  const { watch } = useCluster();
  let holder: HTMLDivElement | undefined;
  let plot: uPlot | null = null;

  const draw = (): void => {
    if (!holder) return;
    plot?.destroy();
    plot = new uPlot(options(holder), columns(watch.samples()), holder);
  };
  onMount(() => {
    if (!holder) return;
    const sizes = new ResizeObserver(() => {
      if (holder && plot && holder.clientWidth > 0) plot.setSize(sizeOf(holder));
    });
    sizes.observe(holder);
    onCleanup(() => {
      sizes.disconnect();
      plot?.destroy();
    });
    // Colours and numbers are drawn into the picture, so it is made anew when they change.
    createEffect(on([theme, language], draw));
    createEffect(on(watch.samples, (samples) => plot?.setData(columns(samples)), { defer: true }));
  });

  const highest = (of: (sample: Sample) => number | null): number => Math.max(0, ...watch.samples().map((s) => of(s) ?? 0));
  const words = (): string => {
    const samples = watch.samples();
    const last = samples.at(-1);
    if (!last) return t().throughput.none;
    const peak = t().throughput.peak(f().rate(highest((s) => s.in)), f().rate(highest((s) => s.out)), samples.length);
    return `${t().throughput.now(f().rate(last.in), f().rate(last.out))} ${peak}`;
  };
  const last = () => watch.samples().at(-1);
  return (
    <section class="card throughput" aria-labelledby="throughput-title" data-testid="throughput">
      <div class="card-head">
        <h2 id="throughput-title">{t().throughput.title}</h2>
        <p class="legend" aria-hidden="true">
          <span class="key in">
            {t().throughput.in} <b>{f().rate(last()?.in ?? null)}</b>
          </span>
          <span class="key out">
            {t().throughput.out} <b>{f().rate(last()?.out ?? null)}</b>
          </span>
          <span class="muted">{t().flow.perSecond}</span>
        </p>
      </div>
      <p class="hidden">{words()}</p>
      <div class="plot" role="img" aria-label={t().throughput.chart} ref={(element) => (holder = element)} />
    </section>
  );
}

function sizeOf(holder: HTMLElement): { width: number; height: number } {
  return { width: Math.max(holder.clientWidth, 200), height: Math.max(holder.clientHeight, 120) };
}

function columns(samples: readonly Sample[]): uPlot.AlignedData {
  return [samples.map((s) => s.at), samples.map((s) => s.in), samples.map((s) => s.out)];
}

function options(holder: HTMLElement): uPlot.Options {
  const colour = (name: string): string => {
    const probe = document.createElement("i");
    probe.style.color = `var(${name})`;
    holder.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  };
  const faint = colour("--line");
  const text = colour("--muted");
  const font = `11px ${getComputedStyle(holder).fontFamily}`;
  const axis: uPlot.Axis = { stroke: text, font, grid: { stroke: faint, width: 1 }, ticks: { show: false } };
  const line = (name: string, width: number): uPlot.Series => ({
    stroke: colour(name),
    fill: colour(`${name}-wash`),
    width,
    points: { show: false },
    spanGaps: false,
  });
  const clock = new Intl.DateTimeFormat(language() === "zh" ? "zh-CN" : "en-GB", { timeStyle: "medium", hourCycle: "h23" });
  return {
    ...sizeOf(holder),
    padding: [8, 26, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: {
        time: true,
        range: (_plot, min, max) => {
          const now = max ?? Date.now() / 1000;
          const span = Math.min(Math.max(now - (min ?? now), SHORTEST_S), LONGEST_S);
          return [now - span, now];
        },
      },
      y: { range: (_plot, _min, max) => [0, Math.max(10, (max ?? 0) * 1.15)] },
    },
    axes: [
      { ...axis, grid: { show: false }, space: 90, size: 24, values: (_plot, at) => at.map((s) => clock.format(s * 1000)) },
      { ...axis, size: 52, space: 36, values: (_plot, at) => at.map((n) => f().count(n)) },
    ],
    // Where as much comes out as goes in, the broad line shows beside the narrow one.
    series: [{}, line("--in", 3), line("--out", 1.5)],
  };
}
