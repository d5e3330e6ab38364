// The page: header, what is wrong if anything is, and the panels in the order in which they are read.

import type { JSX } from "solid-js";
import { Show } from "solid-js";
import { ClusterContext, createCluster } from "./data/cluster.ts";
import { followLanguage, t } from "./i18n/index.ts";
import { ClusterPanel } from "./panels/cluster.tsx";
import { Flow } from "./panels/flow.tsx";
import { Header } from "./panels/header.tsx";
import { Notice } from "./panels/notice.tsx";
import { Queues } from "./panels/queues.tsx";
import { Send } from "./panels/send.tsx";
import { TailPanel } from "./panels/tail.tsx";
import { Throughput } from "./panels/throughput.tsx";
import { Topics } from "./panels/topics.tsx";

export function App(): JSX.Element {
  followLanguage();
  const cluster = createCluster();
  const ready = (): boolean => cluster.session.status().kind !== "token";
  return (
    <ClusterContext.Provider value={cluster}>
      <a class="skip" href={ready() ? "#send" : "#main"}>
        {t().skip}
      </a>
      <Header />
      <main id="main" tabindex="-1">
        <Notice />
        <Show when={ready()}>
          <div class="page">
            <Flow />
            <Throughput />
            <div class="column left">
              <Topics />
              <ClusterPanel />
            </div>
            <div class="column middle">
              <Queues />
              <Send />
            </div>
            <div class="column right">
              <TailPanel />
            </div>
          </div>
        </Show>
      </main>
    </ClusterContext.Provider>
  );
}
