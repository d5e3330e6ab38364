// One cluster as the page sees it: the connection, what is watched over it, the tail and the outbox, handed to every panel.

import { createContext, createEffect, on, onCleanup, useContext } from "solid-js";
import { createOutbox, type Outbox } from "./outbox.ts";
import { createSession, type Session } from "./session.ts";
import { createTail, type Tail } from "./tail.ts";
import { createWatch, type Watch } from "./watch.ts";

export interface Cluster {
  readonly session: Session;
  readonly watch: Watch;
  readonly tail: Tail;
  readonly outbox: Outbox;
}

export function createCluster(): Cluster {
  const session = createSession();
  const watch = createWatch(session);
  const tail = createTail(session, watch);
  const outbox = createOutbox(session, watch);
  createEffect(on(session.choice, outbox.forget));
  onCleanup(session.close);
  return { session, watch, tail, outbox };
}

export const ClusterContext = createContext<Cluster>();

export function useCluster(): Cluster {
  const cluster = useContext(ClusterContext);
  if (!cluster) throw new Error("useCluster is called outside the page");
  return cluster;
}
