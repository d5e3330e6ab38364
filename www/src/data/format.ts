// Numbers, sizes and times as people of one language read them. One set of formatters a language, made once.

export type Language = "en" | "zh";

export interface Format {
  count(n: number | bigint): string;
  /** Per second; one decimal below 10. */
  rate(n: number | null): string;
  bytes(n: number): string;
  /** 14:03:07.042 */
  time(at: Date): string;
  dateTime(at: Date): string;
}

function make(locale: string): Format {
  const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
  const tenth = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
  const clock = new Intl.DateTimeFormat(locale, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: 3,
    hourCycle: "h23",
  });
  const full = new Intl.DateTimeFormat(locale, {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: 3,
    hourCycle: "h23",
  });
  return {
    count: (n) => whole.format(n),
    rate: (n) => (n === null ? "–" : n < 10 ? tenth.format(n) : whole.format(n)),
    bytes: (n) =>
      n < 1024 ? `${whole.format(n)} B` : n < 1024 * 1024 ? `${tenth.format(n / 1024)} KiB` : `${tenth.format(n / 1048576)} MiB`,
    time: (at) => clock.format(at),
    dateTime: (at) => full.format(at),
  };
}

export const formats: Readonly<Record<Language, Format>> = { en: make("en-GB"), zh: make("zh-CN") };

/** The text with each `{n}` replaced by the message's number. */
export function numbered(text: string, n: number): string {
  return text.replaceAll("{n}", String(n));
}
