// Making a topic: a name and a number of queues.

import { createSignal, createUniqueId, type JSX, onMount, Show } from "solid-js";
import { useCluster } from "../data/cluster.ts";
import { topicNameFault } from "../data/names.ts";
import { describe } from "../data/session.ts";
import { t } from "../i18n/index.ts";

export function NewTopic(props: { readonly done: () => void }): JSX.Element {
  const { session, watch } = useCluster();
  const [name, setName] = createSignal("");
  const [queues, setQueues] = createSignal("4");
  const [fault, setFault] = createSignal("");
  const [busy, setBusy] = createSignal(false);
  const id = createUniqueId();
  let first: HTMLInputElement | undefined;
  onMount(() => first?.focus());

  const check = (): string => {
    const wrong = topicNameFault(name().trim());
    if (wrong !== null) return t().topics.faults[wrong];
    if (watch.topics().includes(name().trim())) return t().topics.exists(name().trim());
    const n = Number(queues());
    return Number.isInteger(n) && n >= 1 && n <= 1024 ? "" : t().topics.queuesFault;
  };
  const make = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const client = session.client();
    const wrong = check();
    setFault(wrong);
    if (wrong !== "" || !client || busy()) return;
    const topic = name().trim();
    setBusy(true);
    try {
      await client.admin.createTopic(topic, { readQueues: Number(queues()), writeQueues: Number(queues()) });
      watch.pick(topic);
      props.done();
    } catch (error) {
      setFault(t().topics.failed(describe(error)));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form class="new-topic" noValidate onSubmit={(event) => void make(event)}>
      <label class="field">
        <span>{t().topics.name}</span>
        <input
          type="text"
          data-testid="create-topic-name"
          ref={(element) => (first = element)}
          autocomplete="off"
          spellcheck={false}
          value={name()}
          aria-invalid={fault() !== ""}
          aria-describedby={id}
          onInput={(event) => setName(event.currentTarget.value)}
        />
      </label>
      <label class="field narrow">
        <span>{t().topics.queues}</span>
        <input
          type="number"
          min="1"
          max="1024"
          data-testid="create-topic-queues"
          value={queues()}
          onInput={(event) => setQueues(event.currentTarget.value)}
        />
      </label>
      <p id={id} class="fault" role="alert">
        <Show when={fault()}>{fault()}</Show>
      </p>
      <button type="submit" class="primary" data-testid="create-topic-button" aria-disabled={busy()}>
        {busy() ? t().topics.making : t().topics.make}
      </button>
    </form>
  );
}
