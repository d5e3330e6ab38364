// Sending a message, or the same many times, and where the broker put it.

import { createEffect, createSignal, createUniqueId, For, type JSX, on, Show } from "solid-js";
import { useCluster } from "../data/cluster.ts";
import { topicNameFault } from "../data/names.ts";
import { MOST_AT_ONCE, type Outcome } from "../data/outbox.ts";
import { describe } from "../data/session.ts";
import { f, t } from "../i18n/index.ts";

const FIRST_TOPIC = "TestTopic";

export function Send(): JSX.Element {
  const { session, watch, outbox } = useCluster();
  const [typed, setTyped] = createSignal<string | null>(null);
  const [held, setHeld] = createSignal<string | null>(null);
  const [tag, setTag] = createSignal("");
  const [keys, setKeys] = createSignal("");
  const [written, setWritten] = createSignal<string | null>(null);
  const [count, setCount] = createSignal("1");
  const [fault, setFault] = createSignal("");
  const [progress, setProgress] = createSignal<{ done: number; all: number } | null>(null);
  const [outcome, setOutcome] = createSignal<Outcome | null>(null);
  let stop: AbortController | null = null;
  const list = createUniqueId();
  const body = (): string => written() ?? t().send.greeting;

  // The form follows the chosen topic until the person types a name, and again once they pick one from the list.
  // While the field has the focus nothing else writes into it: a name that came then stood before what was typed.
  const topic = (): string => typed() ?? held() ?? watch.picked() ?? watch.selected() ?? FIRST_TOPIC;
  createEffect(on(watch.picked, () => setTyped(null)));
  createEffect(
    on(session.choice, () => {
      stop?.abort();
      setOutcome(null);
      setFault("");
    }),
  );

  // What could not be sent without a connection can be sent now.
  createEffect(on(session.client, (client) => client && fault() === t().send.offline && setFault(""), { defer: true }));

  const check = (): string => {
    const wrong = topicNameFault(topic().trim());
    if (wrong !== null) return t().topics.faults[wrong];
    const n = Number(count());
    if (!Number.isInteger(n) || n < 1 || n > MOST_AT_ONCE) return t().send.countFault;
    return session.client() ? "" : t().send.offline;
  };
  const send = async (): Promise<void> => {
    if (progress()) return;
    const wrong = check();
    setFault(wrong);
    if (wrong !== "") return;
    const all = Number(count());
    const to = topic().trim();
    stop = new AbortController();
    const { signal } = stop;
    setProgress({ done: 0, all });
    try {
      const result = await outbox.send(
        { topic: to, tag: tag().trim(), keys: keys().trim(), body: body(), count: all },
        (done) => setProgress({ done, all }),
        signal,
      );
      setOutcome(result.sent > 0 ? result : null);
      if (signal.aborted) setFault(t().send.stopped(f().count(result.sent)));
      else if (result.error !== null) {
        const detail = describe(result.error);
        setFault(result.sent > 0 ? t().send.failedAfter(f().count(result.sent), detail) : t().send.failed(detail));
      }
      if (result.sent > 0) watch.select(to);
    } finally {
      setProgress(null);
    }
  };

  return (
    <section class="card send" id="send" tabindex="-1" aria-labelledby="send-title">
      <div class="card-head">
        <h2 id="send-title">{t().send.title}</h2>
      </div>
      <form
        id="send-form"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            void send();
          }
        }}
      >
        <div class="fields">
          <label class="field wide">
            <span>{t().send.topic}</span>
            <input
              type="text"
              data-testid="send-topic"
              list={list}
              autocomplete="off"
              spellcheck={false}
              value={topic()}
              onFocus={() => setHeld(topic())}
              onBlur={() => setHeld(null)}
              onInput={(event) => setTyped(event.currentTarget.value)}
            />
            <datalist id={list}>
              <For each={watch.userTopics()}>{(name) => <option value={name} />}</For>
            </datalist>
          </label>
          <label class="field">
            <span>{t().send.tag}</span>
            <input
              type="text"
              data-testid="send-tag"
              autocomplete="off"
              spellcheck={false}
              value={tag()}
              onInput={(event) => setTag(event.currentTarget.value)}
            />
          </label>
          <label class="field">
            <span>
              {t().send.keys} <small>{t().send.keysHint}</small>
            </span>
            <input
              type="text"
              data-testid="send-keys"
              autocomplete="off"
              spellcheck={false}
              value={keys()}
              onInput={(event) => setKeys(event.currentTarget.value)}
            />
          </label>
        </div>
        <label class="field">
          <span>{t().send.body}</span>
          <textarea
            data-testid="send-body"
            rows="3"
            spellcheck={false}
            value={body()}
            onInput={(event) => setWritten(event.currentTarget.value)}
          />
        </label>
        <div class="send-row">
          <label class="field inline">
            <span>{t().send.count}</span>
            <input
              type="number"
              min="1"
              max={MOST_AT_ONCE}
              data-testid="send-count"
              value={count()}
              onInput={(event) => setCount(event.currentTarget.value)}
            />
          </label>
          <p class="hint">{Number(count()) > 1 ? t().send.countHint : t().send.shortcut}</p>
          <Show when={progress()}>
            <button type="button" onClick={() => stop?.abort()}>
              {t().send.stop}
            </button>
          </Show>
          <button type="submit" class="primary" data-testid="send-button" aria-disabled={progress() !== null}>
            {t().send.button}
          </button>
        </div>
      </form>
      <div class="outcome" role="status">
        <Show when={progress()}>
          {(now) => (
            <Show when={now().all > 1}>
              <p class="muted">{t().send.sending(f().count(now().done), f().count(now().all))}</p>
            </Show>
          )}
        </Show>
        <Show when={fault()}>
          <p class="fault" data-testid="send-fault">
            {fault()}
          </p>
        </Show>
        <Show when={progress() ? null : outcome()}>{(result) => <Stored outcome={result()} />}</Show>
      </div>
    </section>
  );

  function Stored(props: { readonly outcome: Outcome }): JSX.Element {
    return (
      <Show when={props.outcome.last}>
        {(last) => (
          <div class="stored" data-testid="send-result">
            <p class="stored-title">
              {props.outcome.sent > 1
                ? t().send.sentMany(f().count(props.outcome.sent), (props.outcome.ms / 1000).toFixed(1))
                : t().send.sent}
              <Show when={last().status !== "SEND_OK"}>
                <span class="badge warn">{last().status}</span>
              </Show>
            </p>
            <dl class="facts">
              <dt>{t().send.messageId}</dt>
              <dd class="mono">{last().messageId}</dd>
              <dt>{t().send.queue}</dt>
              <dd>
                {t().send.queueText(last().queue.broker, last().queue.id)}
                <Show when={watch.overall(last().queue) !== undefined}>
                  {" "}
                  <span class="badge">{t().send.overall(watch.overall(last().queue) ?? 0)}</span>
                </Show>
              </dd>
              <dt>{t().send.offset}</dt>
              <dd class="mono">{f().count(last().offset)}</dd>
            </dl>
          </div>
        )}
      </Show>
    );
  }
}
