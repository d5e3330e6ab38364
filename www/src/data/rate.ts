// Rates from counters that only grow: how many per second over the last few seconds.
//
// Times are milliseconds of a monotonic clock. A counter that falls (a broker came back empty) starts afresh, so a rate is
// never negative.

const WINDOW_MS = 5_000;

export class RateMeter {
  #points: { at: number; count: bigint }[] = [];

  push(at: number, count: bigint): void {
    const last = this.#points.at(-1);
    if (last && (count < last.count || at <= last.at)) this.#points = [];
    this.#points.push({ at, count });
    // One point older than the window stays, or slow pollers would never have two.
    while (this.#points.length > 2 && at - (this.#points[1]?.at ?? at) >= WINDOW_MS) this.#points.shift();
  }

  /** Per second over the window, or null before there are two points. */
  rate(): number | null {
    const first = this.#points[0];
    const last = this.#points.at(-1);
    if (!first || !last || last === first) return null;
    return (Number(last.count - first.count) * 1000) / (last.at - first.at);
  }

  /** Per second since the point before the last one, or null before there are two points. */
  latest(): number | null {
    const before = this.#points.at(-2);
    const last = this.#points.at(-1);
    if (!before || !last) return null;
    return (Number(last.count - before.count) * 1000) / (last.at - before.at);
  }
}
