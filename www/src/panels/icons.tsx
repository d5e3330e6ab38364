// The page's few drawings. All are decoration: the words beside them say the same.

import type { JSX } from "solid-js";

/** The skylark: two wings and a body, climbing. */
export function Bird(): JSX.Element {
  return (
    <svg class="bird" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M3 9c6 .4 10 3 12.2 7.6C17.6 10.4 22 6.2 29 5c-2.2 6.6-5.4 11.6-10.4 14.8L21 27l-5.4-4.6L9 25.6l2.8-6C7.4 17.8 4.4 14 3 9z" />
    </svg>
  );
}

export function Sun(): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true">
      <circle cx="10" cy="10" r="3.6" />
      <path d="M10 2v2M10 16v2M2 10h2M16 10h2M4.3 4.3l1.4 1.4M14.3 14.3l1.4 1.4M4.3 15.7l1.4-1.4M14.3 5.7l1.4-1.4" />
    </svg>
  );
}

export function Moon(): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d="M16.5 12.2A7 7 0 0 1 7.8 3.5a7 7 0 1 0 8.7 8.7z" />
    </svg>
  );
}
