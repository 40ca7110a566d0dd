/** What files of operations share: grids, and kernels that a model may not need. */

/** A kernel that was left out is asked for only by a mistake of ours. */
export function present<T>(compiled: T | undefined): T {
  if (compiled === undefined) throw new RangeError("a kernel was used that the model's spec and weight format did not ask for");
  return compiled;
}

export function groups(items: number, size: number): number {
  return Math.ceil(items / size);
}

export async function all<T extends Record<string, Promise<unknown>>>(work: T): Promise<{ [K in keyof T]: Awaited<T[K]> }> {
  const entries = await Promise.all(Object.entries(work).map(async ([name, value]) => [name, await value] as const));
  return Object.fromEntries(entries) as { [K in keyof T]: Awaited<T[K]> };
}
