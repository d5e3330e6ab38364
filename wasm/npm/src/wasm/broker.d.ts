// The module of the tab cluster's worker: a NameServer and a broker. The contract with wasm/src/hub.rs; see
// client.d.ts for how it is kept.

/** Settings of a tab cluster. */
export interface HubOptions {
  cluster: string;
  autoCreateTopic: boolean;
  /** Random bits. */
  seed: bigint;
}

/** A NameServer and a broker on memory. */
export class Hub {
  constructor(options: HubOptions);
  /** Takes a link to a host:port, or refuses it on the link itself. */
  accept(address: string, port: MessagePort): void;
  /** Closes all links at once. */
  shut(): void;
  free(): void;
}

/** Where panics are told, as sentences. */
export function onPanic(listener: (message: string) => void): void;

/** Starts the module. */
export default function init(options: { module_or_path: Response | BufferSource }): Promise<unknown>;
