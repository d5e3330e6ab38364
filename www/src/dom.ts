// The only place that makes markup from a string: the compiler's own templates.
//
// JSX becomes calls of `template` with strings fixed at build time. Solid's own `template` assigns them to innerHTML, which
// the server's policy forbids; this one passes them through the page's policy (policy.ts).
// vite.config.ts tells the compiler to import from here instead of solid-js/web.

import { templates } from "./policy.ts";

export * from "solid-js/web";

/** A function that returns a fresh copy of a compiled template. */
export function template(html: string, importNode?: boolean, svg?: boolean): () => Node {
  let node: Node | null = null;
  const first = (): Node => {
    const holder = document.createElement("template");
    holder.innerHTML = templates.createHTML(html);
    const root = holder.content.firstChild;
    const made = svg ? root?.firstChild : root;
    if (!made) throw new Error("a compiled template is empty");
    return made;
  };
  return () => {
    node ??= first();
    return importNode ? document.importNode(node, true) : node.cloneNode(true);
  };
}
