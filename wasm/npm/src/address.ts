// Where things are: what a caller gives to `connect`, turned into a NameServer's host:port and a URL for every
// address that routes name.
//
// The address that `skylark up` prints is a page's (http, the token in its fragment): it is understood too, so
// that it can be pasted. A token never shows in an error.

import { UsageError } from "./errors.js";

export interface Endpoint {
  /** The NameServer, host:port. */
  readonly namesrv: string;
  /** For people: the URL without its token. */
  readonly shown: string;
  /** The WebSocket URL for an address in a route. */
  urlOf(address: string): string;
}

const EXAMPLE = 'the address of a NameServer, such as "ws://127.0.0.1:9876/ws", or the one that `skylark up` prints';

export function endpointOf(given: string, resolve?: (address: string) => string): Endpoint {
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw new UsageError(`connect needs ${EXAMPLE}; "${given}" is no URL`);
  }
  const secure = url.protocol === "wss:" || url.protocol === "https:";
  if ((!secure && url.protocol !== "ws:" && url.protocol !== "http:") || url.hostname === "") {
    throw new UsageError(`connect needs ${EXAMPLE}; "${url.protocol}" is no protocol for it`);
  }
  const scheme = secure ? "wss:" : "ws:";
  const path = url.pathname === "/" ? "/ws" : url.pathname;
  const token = new URLSearchParams(url.hash.slice(1)).get("token");
  const query = token === null ? url.search : `?${new URLSearchParams({ token }).toString()}`;
  const namesrv = `${url.hostname}:${url.port || (secure ? "443" : "80")}`;
  const derived = (address: string): string => `${scheme}//${address}${path}${query}`;
  return {
    namesrv,
    shown: `${scheme}//${namesrv}${path}`,
    urlOf: (address) => (address !== namesrv && resolve ? resolve(address) : derived(address)),
  };
}
