// Light and dark: the system's choice until the person makes one, which this browser then remembers.

import { createSignal } from "solid-js";

export type Theme = "light" | "dark";

const KEY = "skylark.theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const stored = localStorage.getItem(KEY);
const kept = stored === "light" || stored === "dark" ? stored : null;
const [chosen, choose] = createSignal<Theme | null>(kept);
const [systemDark, setSystemDark] = createSignal(system.matches);
system.addEventListener("change", (event) => setSystemDark(event.matches));
apply(kept);

export function theme(): Theme {
  return chosen() ?? (systemDark() ? "dark" : "light");
}

export function toggleTheme(): void {
  const next = theme() === "dark" ? "light" : "dark";
  // Back to what the system says: follow it again.
  const own = next === (systemDark() ? "dark" : "light") ? null : next;
  if (own === null) localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, own);
  // First the page, then those who draw when they hear of it: they read their colours from the page.
  apply(own);
  choose(own);
}

function apply(own: Theme | null): void {
  if (own === null) delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = own;
}
