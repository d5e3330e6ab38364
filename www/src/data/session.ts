// The connection: which cluster was chosen, how it stands, and trying again when it is lost.
//
// One loop a choice: open, stay until someone reports a failure or the client closes, wait, open again. A cluster in this
// tab is kept when the person looks at the server meanwhile: its messages live in memory only.
// What is read over the connection is watch.ts and tail.ts; addresses and tokens are link.ts.

import { type Accessor, createSignal } from "solid-js";
import { type Client, connect, ConnectionError } from "skylark-mq";
import type { TabCluster } from "skylark-mq/tab";
import { answers, socketUrl, takeToken } from "./link.ts";

export type Choice = "server" | "tab";

export type Status =
  | { readonly kind: "connecting" }
  | { readonly kind: "live" }
  /** Trying again at `retryAt` (of performance.now). `detail` is the error's own sentence. */
  | { readonly kind: "waiting"; readonly detail: string; readonly retryAt: number }
  /** The server is there and this page may not talk to it; `given` when there was a token and it was refused. */
  | { readonly kind: "token"; readonly given: boolean };

export interface Session {
  readonly choice: Accessor<Choice>;
  choose(choice: Choice): void;
  readonly status: Accessor<Status>;
  /** The open client, or null. Changes with every reconnection. */
  readonly client: Accessor<Client | null>;
  /** What is at the other end, for people. Null for a cluster in this tab. */
  readonly address: Accessor<string | null>;
  /** Someone's call over `client` failed because the connection is gone. */
  failed(client: Client, error: unknown): void;
  retryNow(): void;
  close(): void;
}

const CHOICE_KEY = "skylark.cluster";
const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 15_000;

class TokenNeeded extends Error {
  readonly given: boolean;
  constructor(given: boolean) {
    super("token");
    this.given = given;
  }
}

export function createSession(): Session {
  let token = takeToken(location, history, sessionStorage);
  const remembered = sessionStorage.getItem(CHOICE_KEY);
  const [choice, setChoice] = createSignal<Choice>(remembered === "tab" ? "tab" : "server");
  const [status, setStatus] = createSignal<Status>({ kind: "connecting" });
  const [client, setClient] = createSignal<Client | null>(null);
  let stop = new AbortController();
  let report: ((client: Client, error: unknown) => void) | null = null;
  let wake: (() => void) | null = null;
  let tab: Promise<TabCluster> | null = null;

  async function open(which: Choice, signal: AbortSignal): Promise<Client> {
    if (which === "tab") {
      tab ??= import("skylark-mq/tab").then(({ startTabCluster }) => startTabCluster());
      try {
        return await (await tab).connect({ signal });
      } catch (error) {
        tab = null;
        throw error;
      }
    }
    if (token === null) throw new TokenNeeded(false);
    try {
      return await connect(socketUrl(location, token), { signal });
    } catch (error) {
      // The package's own wasm file may be what did not come.
      const refused = error instanceof ConnectionError && error.codeName !== "WASM";
      if (refused && !signal.aborted && (await answers(location, signal))) throw new TokenNeeded(true);
      throw error;
    }
  }

  async function run(which: Choice, signal: AbortSignal): Promise<void> {
    let delay = FIRST_DELAY_MS;
    while (!signal.aborted) {
      let detail: string;
      try {
        const opened = await open(which, signal);
        if (signal.aborted) return void (await opened.close());
        delay = FIRST_DELAY_MS;
        setClient(opened);
        setStatus({ kind: "live" });
        detail = describe(await ended(opened, signal));
        await opened.close().catch(() => undefined);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof TokenNeeded) {
          setStatus({ kind: "token", given: error.given });
          await pause(Number.POSITIVE_INFINITY, signal);
          continue;
        }
        detail = describe(error);
      }
      if (signal.aborted) return;
      setClient(null);
      setStatus({ kind: "waiting", detail, retryAt: performance.now() + delay });
      await pause(delay, signal);
      delay = Math.min(delay * 2, LONGEST_DELAY_MS);
      if (!signal.aborted) setStatus({ kind: "connecting" });
    }
  }

  /** Settles when this connection is over, with the reason if there is one. */
  function ended(opened: Client, signal: AbortSignal): Promise<unknown> {
    return new Promise((resolve) => {
      report = (which, error) => which === opened && resolve(error);
      opened.closed.then(() => resolve(null), resolve);
      signal.addEventListener("abort", () => resolve(null), { once: true });
    });
  }

  function pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      wake = resolve;
      signal.addEventListener("abort", () => resolve(), { once: true });
      if (Number.isFinite(ms)) setTimeout(resolve, ms);
    });
  }

  function start(which: Choice): void {
    stop.abort();
    stop = new AbortController();
    setClient(null);
    setStatus({ kind: "connecting" });
    void run(which, stop.signal);
  }

  // Another address of the same server, put into this tab: the page does not load again.
  const readdressed = (): void => {
    const before = token;
    token = takeToken(location, history, sessionStorage);
    if (token !== before && choice() === "server") start("server");
  };
  addEventListener("hashchange", readdressed);

  start(choice());
  return {
    choice,
    choose(which) {
      if (which === choice()) return;
      sessionStorage.setItem(CHOICE_KEY, which);
      setChoice(which);
      start(which);
    },
    status,
    client,
    address: () => (choice() === "server" ? location.host : null),
    failed: (which, error) => report?.(which, error),
    retryNow() {
      setStatus({ kind: "connecting" });
      wake?.();
    },
    close() {
      removeEventListener("hashchange", readdressed);
      stop.abort();
    },
  };
}

export function describe(error: unknown): string {
  if (error === null || error === undefined) return "";
  return error instanceof Error ? error.message : String(error);
}
