// Where the page's markup comes from, and the only place that may make markup from a string (SEC-15).
//
// The compiler turns JSX into calls of `template` with strings fixed at build time. Solid's own `template` assigns them to
// innerHTML, which the server's policy (require-trusted-types-for 'script') forbids; this one passes them through a
// policy that nothing else can reach. What people and brokers wrote enters the page as text nodes only.
// vite.config.ts tells the compiler to import from here instead of solid-js/web.

export * from "solid-js/web";

interface Policy {
  createHTML(html: string): string;
}
interface Factory {
  createPolicy(name: string, rules: Policy): Policy;
}

const factory = (globalThis as { trustedTypes?: Factory }).trustedTypes;
const rules: Policy = { createHTML: (html) => html };
const policy = factory?.createPolicy("skylark-playground", rules) ?? rules;

/** A function that returns a fresh copy of a compiled template. */
export function template(html: string, importNode?: boolean, svg?: boolean): () => Node {
  let node: Node | null = null;
  const first = (): Node => {
    const holder = document.createElement("template");
    holder.innerHTML = policy.createHTML(html);
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
