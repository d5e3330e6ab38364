// How the page reaches the server it came from: its own host, and the token from the address that `skylark up` printed.
//
// The token arrives in the fragment, which no server log sees. It is kept for this tab only and taken out of the address
// bar, so that it is in no bookmark, no history entry and no screenshot.

const KEY = "skylark.token";

/** Moves a token from the fragment to the tab's storage; returns the token this tab has, or null. */
export function takeToken(location: Location, history: History, storage: Storage): string | null {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const fresh = fragment.get("token");
  if (fresh !== null) {
    storage.setItem(KEY, fresh);
    fragment.delete("token");
    const rest = fragment.toString();
    history.replaceState(history.state, "", location.pathname + location.search + (rest === "" ? "" : `#${rest}`));
  }
  const token = storage.getItem(KEY);
  return token === "" ? null : token;
}

export function socketUrl(location: Location, token: string): string {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}/ws?token=${encodeURIComponent(token)}`;
}

/**
 * A browser does not tell why a WebSocket failed. Asking the server for its page does: true when it answers at all, and
 * so refused the token; false when nobody answers.
 */
export async function answers(location: Location, signal: AbortSignal): Promise<boolean> {
  try {
    await fetch(location.pathname, { method: "HEAD", cache: "no-store", signal });
    return true;
  } catch {
    return false;
  }
}
