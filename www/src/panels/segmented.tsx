// A choice of a few, side by side: one tab stop, arrow keys move and choose (the radio group pattern).

import { For, type JSX } from "solid-js";

export interface Option<T extends string> {
  readonly value: T;
  readonly label: string;
  readonly testid?: string;
}

export function Segmented<T extends string>(props: {
  readonly label: string;
  readonly options: readonly Option<T>[];
  readonly value: T;
  readonly choose: (value: T) => void;
}): JSX.Element {
  const move = (event: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const at = props.options.findIndex((option) => option.value === props.value);
    const count = props.options.length;
    const next = props.options[(at + step + count) % count];
    if (!next) return;
    props.choose(next.value);
    const buttons = (event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>("[role=radio]");
    buttons[props.options.indexOf(next)]?.focus();
  };
  return (
    <div class="segmented" role="radiogroup" aria-label={props.label} onKeyDown={move}>
      <For each={props.options.map((option) => option.value)}>
        {(value, index) => (
          <button
            type="button"
            role="radio"
            aria-checked={props.value === value}
            tabindex={props.value === value ? 0 : -1}
            data-testid={props.options[index()]?.testid}
            onClick={() => props.choose(value)}
          >
            {props.options[index()]?.label}
          </button>
        )}
      </For>
    </div>
  );
}
