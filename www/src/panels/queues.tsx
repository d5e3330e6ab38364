// The queues of the chosen topic with both of their numbers and live offsets.

import { Index, type JSX, Show } from "solid-js";
import { useCluster } from "../data/cluster.ts";
import type { QueueView } from "../data/watch.ts";
import { f, t } from "../i18n/index.ts";

export function Queues(): JSX.Element {
  const { watch } = useCluster();
  const view = () => {
    const topic = watch.selected();
    return topic === null ? undefined : watch.view(topic);
  };
  const last = ({ lastUpdate }: QueueView): string => (lastUpdate === null ? t().queues.never : f().time(lastUpdate));
  return (
    <section class="card queues" aria-labelledby="queues-title">
      <div class="card-head">
        <h2 id="queues-title">{t().queues.title}</h2>
        <Show when={watch.selected()}>{(topic) => <p class="subject">{topic()}</p>}</Show>
      </div>
      <Show when={watch.selected()} fallback={<p class="empty">{t().queues.none}</p>}>
        {(topic) => (
          <Show when={view()} fallback={<p class="empty">{t().queues.loading}</p>}>
            {(known) => (
              <>
              <div class="scroll" tabindex="0" role="region" aria-label={t().queues.of(topic())}>
                <table data-testid="queue-table">
                  <caption class="hidden">{t().queues.of(topic())}</caption>
                  <thead>
                    <tr>
                      <th scope="col">{t().queues.overall}</th>
                      <th scope="col">{t().queues.broker}</th>
                      <th scope="col">{t().queues.id}</th>
                      <th scope="col" class="number">
                        {t().queues.min}
                      </th>
                      <th scope="col" class="number">
                        {t().queues.max}
                      </th>
                      <th scope="col" class="number">
                        {t().queues.rate}
                      </th>
                      <th scope="col" class="number">
                        {t().queues.last}
                      </th>
                    </tr>
                  </thead>
                  <tbody>
                    <Index each={known().queues}>
                      {(row) => (
                        <tr data-broker={row().queue.broker} data-queue={row().queue.id}>
                          <td>
                            <span class="badge">{row().overall}</span>
                          </td>
                          <td>{row().queue.broker}</td>
                          <td>{row().queue.id}</td>
                          <td class="number">{f().count(row().min)}</td>
                          <td class="number strong">{f().count(row().max)}</td>
                          <td class="number" classList={{ moving: (row().rate ?? 0) > 0 }}>
                            {f().rate(row().rate)}
                          </td>
                          <td class="number muted">{last(row())}</td>
                        </tr>
                      )}
                    </Index>
                  </tbody>
                </table>
              </div>
              <p class="hint">{t().queues.numbers}</p>
              </>
            )}
          </Show>
        )}
      </Show>
    </section>
  );
}
