// Who is in the cluster: NameServers, and brokers as the NameServer lists them.

import { Index, type JSX, Show } from "solid-js";
import { useCluster } from "../data/cluster.ts";
import { t } from "../i18n/index.ts";

export function ClusterPanel(): JSX.Element {
  const { session, watch } = useCluster();
  return (
    <section class="card cluster" aria-labelledby="cluster-title" data-testid="cluster-panel">
      <div class="card-head">
        <h2 id="cluster-title">{t().cluster.title}</h2>
      </div>
      <h3>{t().cluster.nameServers}</h3>
      <ul class="members">
        <li class="member">
          <p class="member-name">{session.address() ?? t().cluster.worker}</p>
        </li>
      </ul>
      <h3>{t().cluster.brokers}</h3>
      <Show when={watch.brokers().length > 0} fallback={<p class="empty">{watch.ready() ? t().cluster.none : t().topics.loading}</p>}>
        <ul class="members" data-testid="broker-list">
          <Index each={watch.brokers()}>
            {(broker) => (
              <li class="member">
                <p class="member-name">
                  {broker().name}{" "}
                  <span class="badge" classList={{ warn: !broker().answers }}>
                    {broker().answers ? (broker().id === 0 ? t().cluster.master : t().cluster.slave) : t().cluster.silent}
                  </span>
                </p>
                <dl class="facts">
                  <dt>{t().cluster.address}</dt>
                  <dd>{broker().address}</dd>
                  <dt>{t().cluster.cluster}</dt>
                  <dd>{broker().cluster}</dd>
                  <dt>{t().cluster.id}</dt>
                  <dd>{broker().id}</dd>
                  <dt>{t().cluster.version}</dt>
                  <dd>{broker().version ?? t().cluster.unknown}</dd>
                </dl>
              </li>
            )}
          </Index>
        </ul>
      </Show>
    </section>
  );
}
