// The language of the page: what the browser asks for at first, then what the person chose.

import { createEffect, createSignal } from "solid-js";
import { type Format, type Language, formats } from "../data/format.ts";
import { en } from "./en.ts";
import { zh } from "./zh.ts";

export type Words = typeof en;

const KEY = "skylark.language";
const dictionaries: Readonly<Record<Language, Words>> = { en, zh };

/** The first of the browser's languages that the page has. */
export function preferred(languages: readonly string[]): Language {
  for (const language of languages) {
    if (language.toLowerCase().startsWith("zh")) return "zh";
    if (language.toLowerCase().startsWith("en")) return "en";
  }
  return "en";
}

const stored = localStorage.getItem(KEY);
const [language, choose] = createSignal<Language>(stored === "zh" || stored === "en" ? stored : preferred(navigator.languages));

export { language };

export function setLanguage(next: Language): void {
  localStorage.setItem(KEY, next);
  choose(next);
}

/** The words of the current language; reading it in JSX follows changes. */
export function t(): Words {
  return dictionaries[language()];
}

export function f(): Format {
  return formats[language()];
}

/** Keeps the document's own language and title. */
export function followLanguage(): void {
  createEffect(() => {
    document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
    document.title = t().title;
  });
}
