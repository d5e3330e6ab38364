// Prints, as one line of JSON: the sizes of a wasm module with its glue in bytes (raw, gzip, brotli), and the
// modules that it imports from. `node measure.mjs MODULE.wasm GLUE.js`
import { readFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const files = process.argv.slice(2).map((path) => readFileSync(path));
const sum = (size) => files.reduce((total, file) => total + size(file), 0);
const imports = WebAssembly.Module.imports(new WebAssembly.Module(files[0]));
console.log(JSON.stringify({
  raw: sum((file) => file.length),
  gzip: sum((file) => gzipSync(file, { level: 9 }).length),
  brotli: sum((file) => brotliCompressSync(file, { params: { [constants.BROTLI_PARAM_SIZE_HINT]: file.length } }).length),
  imports: [...new Set(imports.map(({ module }) => module))],
}));
