// `await using` on runtimes old and new.

/**
 * Makes an object work with `await using`. Some runtimes do not know `Symbol.asyncDispose`, and a polyfill may come
 * after this package was imported, so the symbol is looked up when the object is made. Importing defines nothing.
 */
export function disposable(object: object, close: () => Promise<void>): void {
  const symbol: symbol | undefined = Symbol.asyncDispose;
  if (symbol !== undefined) Object.defineProperty(object, symbol, { value: close });
}
