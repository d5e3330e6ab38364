// The topics: choose one, find one, make one. The cluster's own topics are folded away.

import { createMemo, createSignal, For, type JSX, Show } from "solid-js";
import { useCluster } from "../data/cluster.ts";
import { f, t } from "../i18n/index.ts";
import { NewTopic } from "./newtopic.tsx";
import { rove } from "./roving.ts";

const FIND_FROM = 6;

export function Topics(): JSX.Element {
  const { watch } = useCluster();
  const [find, setFind] = createSignal("");
  const [folded, setFolded] = createSignal(true);
  const [making, setMaking] = createSignal(false);
  const matching = createMemo(() => {
    const text = find().toLowerCase();
    return watch.userTopics().filter((topic) => topic.toLowerCase().includes(text));
  });
  let opener: HTMLButtonElement | undefined;

  return (
    <section class="card topics" aria-labelledby="topics-title">
      <div class="card-head">
        <h2 id="topics-title">{t().topics.title}</h2>
        <button
          type="button"
          class="quiet"
          aria-expanded={making()}
          ref={(element) => (opener = element)}
          onClick={() => setMaking(!making())}
        >
          {making() ? t().topics.cancel : t().topics.create}
        </button>
      </div>
      <Show when={making()}>
        <NewTopic
          done={() => {
            setMaking(false);
            opener?.focus();
          }}
        />
      </Show>
      <Show when={watch.userTopics().length >= FIND_FROM}>
        <input
          type="search"
          class="find"
          aria-label={t().topics.find}
          placeholder={t().topics.find}
          value={find()}
          onInput={(event) => setFind(event.currentTarget.value)}
        />
      </Show>
      <Show when={watch.ready()} fallback={<p class="empty">{t().topics.loading}</p>}>
        <Show when={watch.userTopics().length > 0} fallback={<NoTopics />}>
          <TopicList label={t().topics.list} topics={matching()} testid="topic-list" />
          <Show when={matching().length === 0}>
            <p class="empty">{t().topics.noMatch(find())}</p>
          </Show>
        </Show>
        <Show when={watch.systemTopics().length > 0}>
          <button type="button" class="fold" aria-expanded={!folded()} onClick={() => setFolded(!folded())}>
            {t().topics.system(watch.systemTopics().length)}
          </button>
          <Show when={!folded()}>
            <TopicList label={t().topics.systemList} topics={watch.systemTopics()} />
          </Show>
        </Show>
      </Show>
    </section>
  );

  function TopicList(props: { readonly label: string; readonly topics: readonly string[]; readonly testid?: string }): JSX.Element {
    const stop = (topic: string, index: number): number => {
      const current = watch.selected();
      const here = current !== null && props.topics.includes(current);
      return (here ? topic === current : index === 0) ? 0 : -1;
    };
    return (
      <ul class="topic-list" role="listbox" aria-label={props.label} data-testid={props.testid} onKeyDown={rove}>
        <For each={props.topics}>
          {(topic, index) => (
            <li
              role="option"
              data-item
              data-topic={topic}
              tabindex={stop(topic, index())}
              aria-selected={watch.selected() === topic}
              onClick={() => watch.pick(topic)}
              onKeyDown={(event) => {
                if (event.key !== "Enter" && event.key !== " ") return;
                event.preventDefault();
                watch.pick(topic);
              }}
            >
              <span class="topic-name">{topic}</span>
              <Show when={watch.view(topic)}>
                {(view) => (
                  <span class="topic-count">
                    <Show when={(view().rate ?? 0) > 0}>
                      <span class="topic-rate">{f().rate(view().rate)}/s</span>
                    </Show>
                    {f().count(view().messages)}
                  </span>
                )}
              </Show>
            </li>
          )}
        </For>
      </ul>
    );
  }
}

function NoTopics(): JSX.Element {
  return (
    <div class="empty invite" data-testid="topic-list">
      <p class="empty-title">{t().topics.emptyTitle}</p>
      <p>{t().topics.empty}</p>
      <button type="submit" class="primary" form="send-form">
        {t().topics.emptyAction}
      </button>
    </div>
  );
}
