// The bar on top: which cluster, how the connection stands, language, colours.

import { type JSX, Show } from "solid-js";
import { useCluster } from "../data/cluster.ts";
import type { Choice } from "../data/session.ts";
import { language, setLanguage, t } from "../i18n/index.ts";
import { theme, toggleTheme } from "../theme.ts";
import { Bird, Moon, Sun } from "./icons.tsx";
import { Segmented } from "./segmented.tsx";

export function Header(): JSX.Element {
  const { session } = useCluster();
  const statusText = (): string => {
    const kind = session.status().kind;
    if (kind !== "live") return t().status[kind];
    const address = session.address();
    return address === null ? t().status.liveTab : t().status.liveServer(address);
  };
  return (
    <header class="bar">
      <h1 class="brand">
        <Bird />
        <span>Skylark</span>
      </h1>
      <Segmented<Choice>
        label={t().header.cluster}
        value={session.choice()}
        choose={session.choose}
        options={[
          { value: "server", label: t().header.server, testid: "cluster-server" },
          { value: "tab", label: t().header.tab, testid: "cluster-tab" },
        ]}
      />
      <p class="status" role="status" data-testid="status" data-state={session.status().kind}>
        <span class="lamp" aria-hidden="true" />
        <span class="status-text">{statusText()}</span>
      </p>
      <div class="bar-end">
        <button
          type="button"
          class="quiet"
          data-testid="language-toggle"
          lang={language() === "en" ? "zh-CN" : "en"}
          onClick={() => setLanguage(language() === "en" ? "zh" : "en")}
        >
          {language() === "en" ? "中文" : "English"}
        </button>
        <button
          type="button"
          class="quiet square"
          data-testid="theme-toggle"
          aria-label={theme() === "dark" ? t().header.toLight : t().header.toDark}
          onClick={toggleTheme}
        >
          <Show when={theme() === "dark"} fallback={<Moon />}>
            <Sun />
          </Show>
        </button>
      </div>
    </header>
  );
}
