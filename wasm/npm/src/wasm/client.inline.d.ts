/** The wasm module of the same name, in base64. */
export declare const base64: string;
