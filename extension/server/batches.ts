export interface BatchOptions<Item> {
  weightOf: (item: Item) => number;
  /** A batch ends with the item that reaches either. */
  mostWeight: number;
  mostItems: number;
  /** Batches that are worked on at a time. */
  lanes: number;
  /** Checked before each batch; throws. */
  check: () => void;
}

/** Works through items batch by batch, several at a time, in their order; the first error ends it. */
export async function runBatches<Item>(
  items: readonly Item[],
  options: BatchOptions<Item>,
  work: (batch: readonly Item[]) => Promise<void>,
): Promise<void> {
  const waiting = batchesOf(items, options);
  let failed = false;
  const lane = async (): Promise<void> => {
    for (const batch of waiting) {
      if (failed) return;
      options.check();
      await work(batch);
    }
  };
  await Promise.all(
    Array.from({ length: options.lanes }, () =>
      lane().catch((error: unknown) => {
        failed = true;
        throw error;
      }),
    ),
  );
}

function* batchesOf<Item>(
  items: readonly Item[],
  { weightOf, mostWeight, mostItems }: BatchOptions<Item>,
): Generator<readonly Item[]> {
  let batch: Item[] = [];
  let weight = 0;
  for (const item of items) {
    batch.push(item);
    weight += weightOf(item);
    if (batch.length < mostItems && weight < mostWeight) continue;
    yield batch;
    batch = [];
    weight = 0;
  }
  if (batch.length > 0) yield batch;
}
