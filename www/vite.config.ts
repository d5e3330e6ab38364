// Builds the playground into target/www, where the server's build embeds it from.
//
// Mode "fake" puts the in-memory cluster of dev/ in place of the npm package, for work on the page without a server; its
// output goes elsewhere, so it cannot be embedded by mistake.

import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import solid from "vite-plugin-solid";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig(({ mode }) => {
  const fake = mode === "fake";
  const npm = at("../target/npm/skylark-mq");
  return {
    base: "./",
    plugins: [solid({ solid: { moduleName: "#dom" } })],
    resolve: {
      // The package as it is published, not its sources, which node_modules links to.
      alias: [
        { find: /^skylark-mq\/tab$/, replacement: fake ? at("dev/tab.ts") : `${npm}/tab.js` },
        { find: /^skylark-mq$/, replacement: fake ? at("dev/fake.ts") : `${npm}/index.js` },
      ],
    },
    build: {
      outDir: at(fake ? "../target/www-fake" : "../target/www"),
      emptyOutDir: true,
      target: "es2022",
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
    },
    worker: { format: "es" },
    server: { fs: { allow: [at("."), npm] } },
  };
});
