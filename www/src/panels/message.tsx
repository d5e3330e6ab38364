// One message in full. Everything a sender wrote is a text node, in every view (SEC-15).

import { createMemo, createSignal, For, type JSX, onMount, Show } from "solid-js";
import type { Message } from "skylark-mq";
import { BODY_LIMIT, toHex, toJson, toText } from "../data/body.ts";
import { useCluster } from "../data/cluster.ts";
import { f, t } from "../i18n/index.ts";
import { Segmented } from "./segmented.tsx";

type View = "text" | "json" | "hex";

export function MessageSheet(props: { readonly message: Message; readonly close: () => void }): JSX.Element {
  const { watch } = useCluster();
  const message = props.message;
  const bytes = message.body.subarray(0, BODY_LIMIT);
  const json = createMemo(() => toJson(message.body.length > BODY_LIMIT ? bytes : message.body));
  const text = toText(bytes);
  const [view, setView] = createSignal<View>(json().ok ? "json" : text.exact ? "text" : "hex");
  const properties = Object.entries(message.properties);
  let sheet: HTMLDialogElement | undefined;
  onMount(() => sheet?.showModal());

  const shown = (): string => {
    if (view() === "hex") return toHex(bytes);
    const checked = json();
    return view() === "json" && checked.ok ? checked.pretty : text.text;
  };
  const remark = (): string => {
    const checked = json();
    if (view() === "json" && !checked.ok) return t().message.notJson(checked.reason);
    return view() === "text" && !text.exact ? t().message.notText : "";
  };
  const overall = () => watch.overall(message.queue);

  return (
    <dialog
      class="sheet"
      aria-labelledby="message-title"
      data-testid="message"
      ref={(element) => (sheet = element)}
      onClose={() => props.close()}
      onClick={(event) => event.target === sheet && sheet.close()}
    >
      <div class="sheet-body">
        <div class="card-head">
          <h2 id="message-title">{t().message.title}</h2>
          <button type="button" class="quiet" data-testid="message-close" onClick={() => sheet?.close()}>
            {t().message.close}
          </button>
        </div>
        <dl class="facts">
          <dt>{t().message.messageId}</dt>
          <dd class="mono">{message.messageId}</dd>
          <dt>{t().message.offsetMessageId}</dt>
          <dd class="mono">{message.offsetMessageId}</dd>
          <dt>{t().message.topic}</dt>
          <dd>{message.topic}</dd>
          <dt>{t().message.queue}</dt>
          <dd>
            {t().send.queueText(message.queue.broker, message.queue.id)}
            <Show when={overall() !== undefined}>
              {" "}
              <span class="badge">{t().send.overall(overall() ?? 0)}</span>
            </Show>
          </dd>
          <dt>{t().message.offset}</dt>
          <dd class="mono">{f().count(message.offset)}</dd>
          <Show when={message.tag}>
            <dt>{t().message.tag}</dt>
            <dd>
              <span class="badge tag">{message.tag}</span>
            </dd>
          </Show>
          <Show when={message.keys.length > 0}>
            <dt>{t().message.keys}</dt>
            <dd>{message.keys.join(" ")}</dd>
          </Show>
          <dt>{t().message.born}</dt>
          <dd>{t().message.at(f().dateTime(message.bornAt), message.bornHost)}</dd>
          <dt>{t().message.stored}</dt>
          <dd>{t().message.at(f().dateTime(message.storedAt), message.storeHost)}</dd>
          <Show when={message.reconsumeTimes > 0}>
            <dt>{t().message.reconsumed}</dt>
            <dd>{f().count(message.reconsumeTimes)}</dd>
          </Show>
        </dl>
        <div class="body-head">
          <h3>
            {t().message.body} <small>{f().bytes(message.body.length)}</small>
          </h3>
          <Segmented<View>
            label={t().message.view}
            value={view()}
            choose={setView}
            options={[
              { value: "text", label: t().message.text, testid: "body-text" },
              { value: "json", label: t().message.json, testid: "body-json" },
              { value: "hex", label: t().message.hex, testid: "body-hex" },
            ]}
          />
        </div>
        <p class="hint" role="status">
          {remark()}
        </p>
        <pre class="body" classList={{ hex: view() === "hex" }} tabindex="0" aria-label={t().message.body} data-testid="message-body">
          {shown()}
        </pre>
        <Show when={message.body.length > BODY_LIMIT}>
          <p class="hint">{t().message.cut(f().bytes(BODY_LIMIT), f().bytes(message.body.length))}</p>
        </Show>
        <h3>{t().message.properties}</h3>
        <Show when={properties.length > 0} fallback={<p class="muted">{t().message.noProperties}</p>}>
          <dl class="facts properties">
            <For each={properties}>
              {([name, value]) => (
                <>
                  <dt class="mono">{name}</dt>
                  <dd class="mono">{value}</dd>
                </>
              )}
            </For>
          </dl>
        </Show>
      </div>
    </dialog>
  );
}
