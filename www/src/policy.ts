// What may become markup or script in this page (SEC-15). The server's policy requires trusted types, so the browser
// refuses every other way.
//
// Markup: only templates that the compiler made, through a policy that nobody but dom.ts can reach. Script: a worker may
// start from this page's own folder, which is where the build puts the worker of a cluster in this tab; the package that
// starts it knows nothing of our policy, so this part is the page's default. What people and brokers wrote becomes text
// nodes and needs no policy.

interface Rules {
  createHTML?(html: string): string;
  createScriptURL?(url: string): string | null;
}
interface Factory {
  createPolicy<R extends Rules>(name: string, rules: R): R;
}

const factory = (globalThis as { trustedTypes?: Factory }).trustedTypes;
const make = <R extends Rules>(name: string, rules: R): R => factory?.createPolicy(name, rules) ?? rules;

/** For compiled templates. */
export const templates = make("skylark-playground", { createHTML: (html: string) => html });

make("default", {
  createScriptURL: (url: string) => (new URL(url, document.baseURI).href.startsWith(new URL(".", document.baseURI).href) ? url : null),
});
