/** The memory that a machine is trusted with where nobody says otherwise: the backends keep to it, and the preflight tells it. */

/** KV cache of one session: neither WebGPU nor JavaScript tells how much memory there is. */
export const DEFAULT_CACHE_BYTES = 2 * 2 ** 30;

/** Keys and values in host memory, where attention streams them past the device. */
export const STREAM_CACHE_BYTES = 8 * 2 ** 30;

/** Weights in WebAssembly: its 4 GiB less activations and one layer's second copy while it is loaded. */
export const WASM_WEIGHT_BYTES = 3 * 2 ** 30;
