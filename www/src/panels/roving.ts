// Arrow keys through a list that is one tab stop. The list's items carry data-item; exactly one has tabindex 0.

/** Moves the focus among the list's items for arrow, Home and End keys; true when it did. */
export function rove(event: KeyboardEvent): boolean {
  const list = event.currentTarget as HTMLElement;
  const items = [...list.querySelectorAll<HTMLElement>("[data-item]")];
  const at = items.findIndex((item) => item === document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (to === undefined) return false;
  event.preventDefault();
  items[Math.max(0, Math.min(to, items.length - 1))]?.focus();
  return true;
}
