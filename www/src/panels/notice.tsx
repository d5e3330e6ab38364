// What stands between the person and the cluster, and what to do about it.

import { createSignal, type JSX, Match, onCleanup, Show, Switch } from "solid-js";
import { useCluster } from "../data/cluster.ts";
import { t } from "../i18n/index.ts";

export function Notice(): JSX.Element {
  const { session } = useCluster();
  const waiting = () => {
    const status = session.status();
    return status.kind === "waiting" ? status : null;
  };
  const token = () => {
    const status = session.status();
    return status.kind === "token" ? status : null;
  };
  return (
    <Switch
      fallback={
        <Show when={session.choice() === "tab"}>
          <p class="aside">{t().notice.tabMemory}</p>
        </Show>
      }
    >
      <Match when={token()}>
        {(status) => (
          <section class="notice token card" role="alert">
            <h2>{status().given ? t().notice.tokenRefusedTitle : t().notice.tokenMissingTitle}</h2>
            <p>{status().given ? t().notice.tokenRefused : t().notice.tokenMissing}</p>
            <pre class="terminal">
              <span class="prompt">$ </span>skylark up{"\n"}
              <span class="prompt">{`http://${location.host}/#token=…`}</span>
            </pre>
            <p class="actions">
              <button type="button" class="primary" onClick={() => session.choose("tab")}>
                {t().notice.useTab}
              </button>
              <Show when={status().given}>
                <button type="button" onClick={session.retryNow}>
                  {t().notice.retryNow}
                </button>
              </Show>
            </p>
          </section>
        )}
      </Match>
      <Match when={waiting()}>
        {(status) => (
          <section class="notice card">
            <div role="alert">
              <h2>{session.address() === null ? t().notice.tabTitle : t().notice.lostTitle}</h2>
              <Show when={session.address()}>
                {(address) => (
                  <p>
                    {t().notice.lostHint(address())} <code>skylark up</code>
                  </p>
                )}
              </Show>
              <Show when={status().detail}>{(detail) => <p class="muted">{t().notice.reason(detail())}</p>}</Show>
            </div>
            <p class="actions">
              <button type="button" class="primary" onClick={session.retryNow}>
                {t().notice.retryNow}
              </button>
              <Countdown until={status().retryAt} />
            </p>
          </section>
        )}
      </Match>
    </Switch>
  );
}

function Countdown(props: { readonly until: number }): JSX.Element {
  const [now, setNow] = createSignal(performance.now());
  const timer = setInterval(() => setNow(performance.now()), 250);
  onCleanup(() => clearInterval(timer));
  const left = (): number => Math.ceil((props.until - now()) / 1000);
  return <span class="muted">{left() > 0 ? t().notice.retryIn(left()) : t().notice.retrying}</span>;
}
