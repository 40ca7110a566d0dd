/** Watches how large the typed arrays are that code makes by length. */

type TypedArrayName = "Uint8Array" | "Int32Array" | "Uint32Array" | "Float32Array" | "Float64Array" | "BigUint64Array";
const NAMES: readonly TypedArrayName[] = [
  "Uint8Array",
  "Int32Array",
  "Uint32Array",
  "Float32Array",
  "Float64Array",
  "BigUint64Array",
];

/** Runs `work` and gives the bytes of the largest typed array that was made by its length meanwhile. */
export async function largestAllocation(work: () => Promise<void>): Promise<number> {
  let largest = 0;
  const originals = NAMES.map((name) => [name, globalThis[name]] as const);
  for (const [name, original] of originals) {
    const watched = new Proxy(original, {
      construct(target, args: unknown[], newTarget) {
        if (typeof args[0] === "number") largest = Math.max(largest, args[0] * original.BYTES_PER_ELEMENT);
        return Reflect.construct(target, args, newTarget) as object;
      },
    });
    Object.defineProperty(globalThis, name, { value: watched, configurable: true, writable: true });
  }
  try {
    await work();
  } finally {
    for (const [name, original] of originals)
      Object.defineProperty(globalThis, name, { value: original, configurable: true, writable: true });
  }
  return largest;
}
