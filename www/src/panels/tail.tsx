// The live tail: the newest messages of the chosen topic, on top.

import { createSignal, For, type JSX, Show } from "solid-js";
import type { Message } from "skylark-mq";
import { preview } from "../data/body.ts";
import { useCluster } from "../data/cluster.ts";
import type { From } from "../data/tail.ts";
import { f, t } from "../i18n/index.ts";
import { MessageSheet } from "./message.tsx";
import { rove } from "./roving.ts";

export function TailPanel(): JSX.Element {
  const { session, watch, tail } = useCluster();
  const [open, setOpen] = createSignal<Message | null>(null);
  const [stop, setStop] = createSignal<Message | null>(null);
  const current = (): Message | undefined => {
    const kept = stop();
    return kept !== null && tail.rows().includes(kept) ? kept : tail.rows()[0];
  };
  return (
    <section class="card tail" aria-labelledby="tail-title">
      <div class="card-head">
        <h2 id="tail-title">{t().tail.title}</h2>
        <Show when={watch.selected()}>{(topic) => <p class="subject">{topic()}</p>}</Show>
        <div class="card-tools">
          <button type="button" class="quiet" onClick={tail.clear} aria-disabled={tail.rows().length === 0}>
            {t().tail.clear}
          </button>
          <button
            type="button"
            data-testid="tail-pause"
            aria-pressed={tail.paused()}
            aria-disabled={watch.selected() === null}
            onClick={() => watch.selected() !== null && tail.setPaused(!tail.paused())}
          >
            {tail.paused() ? t().tail.resume : t().tail.pause}
          </button>
        </div>
      </div>
      <div class="tail-filter">
        <label class="field inline">
          <span>{t().tail.tags}</span>
          <input
            type="text"
            data-testid="tail-tags"
            placeholder={t().tail.tagsHint}
            autocomplete="off"
            spellcheck={false}
            value={tail.tags() === "*" ? "" : tail.tags()}
            onChange={(event) => tail.setTags(event.currentTarget.value)}
          />
        </label>
        <label class="field inline">
          <span>{t().tail.from}</span>
          <select data-testid="tail-from" value={tail.from()} onChange={(event) => tail.setFrom(event.currentTarget.value as From)}>
            <option value="auto">{t().tail.fromAuto}</option>
            <option value="last">{t().tail.fromLast}</option>
            <option value="first">{t().tail.fromFirst}</option>
          </select>
        </label>
      </div>
      <p class="tail-state">
        <span role="status">
          <Show when={tail.paused()}>
            <span class="badge warn">{t().tail.paused}</span>
          </Show>
        </span>
        <Show
          when={tail.paused() && tail.waiting() > 0n}
          fallback={
            <Show when={tail.rows().length > 0}>
              <span>{t().tail.shown(tail.rows().length, f().count(tail.rows().length))}</span>
            </Show>
          }
        >
          <span>{t().tail.waiting(Number(tail.waiting()), f().count(tail.waiting()))}</span>
        </Show>
      </p>
      <Show when={tail.trouble()}>{(detail) => <p class="hint">{t().tail.trouble(detail())}</p>}</Show>
      <Show when={tail.fault()}>
        {(detail) => (
          <div class="fault-row">
            <p class="fault" role="alert">
              {t().tail.failed(detail())}
            </p>
            <button type="button" onClick={tail.retry}>
              {t().tail.retry}
            </button>
          </div>
        )}
      </Show>
      <Show when={watch.selected()} fallback={<p class="empty">{t().tail.none}</p>}>
        {(topic) => (
          <>
            <ol class="rows" data-testid="tail" aria-label={t().tail.of(topic())} onKeyDown={rove}>
              <For each={tail.rows()}>
                {(message) => (
                  <li>
                    <button
                      type="button"
                      class="row"
                      classList={{ fresh: tail.lively() }}
                      data-item
                      data-testid="tail-row"
                      tabindex={current() === message ? 0 : -1}
                      onFocus={() => setStop(message)}
                      onClick={() => setOpen(message)}
                    >
                      <Row message={message} />
                    </button>
                  </li>
                )}
              </For>
            </ol>
            <Show when={tail.rows().length === 0 && tail.fault() === ""}>
              <Show when={session.client()} fallback={<p class="empty">{t().tail.offline}</p>}>
                <div class="empty listening">
                  <span class="rings" aria-hidden="true" data-on={tail.running() && !tail.paused()} />
                  <p class="empty-title">{t().tail.emptyTitle}</p>
                  <p>{tail.tags() === "*" ? t().tail.empty(topic()) : t().tail.emptyTags(tail.tags())}</p>
                  <Show when={tail.tags() !== "*"}>
                    <button type="button" onClick={() => tail.setTags("*")}>
                      {t().tail.all}
                    </button>
                  </Show>
                </div>
              </Show>
            </Show>
            <Show when={tail.dropped() > 0}>
              <p class="hint" data-testid="tail-dropped">
                {t().tail.dropped(tail.dropped(), f().count(tail.dropped()))}
              </p>
            </Show>
          </>
        )}
      </Show>
      <Show when={open()} keyed>
        {(message) => <MessageSheet message={message} close={() => setOpen(null)} />}
      </Show>
    </section>
  );
}

function Row(props: { readonly message: Message }): JSX.Element {
  const { watch } = useCluster();
  const m = (): Message => props.message;
  const text = preview(props.message.body);
  return (
    <>
      <span class="row-top">
        <time dateTime={m().storedAt.toISOString()}>{f().time(m().storedAt)}</time>
        <span class="row-place">
          {t().tail.place(m().queue.broker, m().queue.id, f().count(m().offset))}
          <Show when={watch.brokers().length > 1 && watch.overall(m().queue) !== undefined}>
            {" · "}
            {t().send.overall(watch.overall(m().queue) ?? 0)}
          </Show>
        </span>
        <Show when={m().tag}>{(tag) => <span class="badge tag">{tag()}</span>}</Show>
      </span>
      <span class="row-body" classList={{ muted: text === "" }}>
        {text === "" ? t().tail.emptyBody : text}
      </span>
    </>
  );
}
