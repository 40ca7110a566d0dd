/** Which tokens the attention tap keeps, and in which slot: a fixed number of slots for any length of the context. */

export interface Sample {
  position: number;
  slot: number;
}

export interface Sampler {
  /** (token of the chunk, slot) of the chunk's tokens that are kept, behind each other. */
  sample(chunk: { start: number; tokens: number; isDecoded: boolean; isLast: boolean }): number[];
  /** Kept tokens with positions in [from, to), rising. */
  between(from: number, to: number): Sample[];
  truncate(length: number): void;
}

/** Share of the slots that decoded tokens may take: answers are what a map is asked about most. */
const DECODED_SHARE = 0.25;

export function openSampler(slots: number): Sampler {
  const decodedSlots = Math.floor(slots * DECODED_SHARE);
  const prompt = new Map<number, number>();
  const decoded = new Map<number, number>();
  const free = Array.from({ length: slots }, (_, slot) => slots - 1 - slot);
  /** Every stride-th position of the prompt is kept. */
  let stride = 1;

  function drop(from: Map<number, number>, position: number): void {
    const slot = from.get(position);
    from.delete(position);
    if (slot !== undefined) free.push(slot);
  }

  function thin(): void {
    stride *= 2;
    for (const position of [...prompt.keys()]) if (position % stride !== 0) drop(prompt, position);
  }

  function keep(into: Map<number, number>, position: number): number | undefined {
    drop(prompt, position);
    drop(decoded, position);
    if (into === decoded && decoded.size >= decodedSlots) {
      const [oldest] = decoded.keys();
      if (oldest !== undefined) drop(decoded, oldest);
    }
    while (into === prompt && prompt.size >= slots - decodedSlots) thin();
    if (into === prompt && position % stride !== 0) return undefined;
    const slot = free.pop();
    if (slot !== undefined) into.set(position, slot);
    return slot;
  }

  return {
    sample({ start, tokens, isDecoded, isLast }) {
      if (slots === 0) return [];
      const chosen = new Map<number, number>();
      for (let token = 0; token < tokens; token++) {
        const position = start + token;
        const isAnswers = decodedSlots > 0 && (isDecoded || (isLast && token === tokens - 1));
        if (!isAnswers && position % stride !== 0) continue;
        const slot = keep(isAnswers ? decoded : prompt, position);
        if (slot !== undefined) chosen.set(position, slot);
      }
      // What the chunk itself made room for again is not kept.
      const isKept = (position: number): boolean => prompt.has(position) || decoded.has(position);
      return [...chosen].filter(([position]) => isKept(position)).flatMap(([position, slot]) => [position - start, slot]);
    },
    between(from, to) {
      return [...prompt, ...decoded]
        .filter(([position]) => position >= from && position < to)
        .map(([position, slot]) => ({ position, slot }))
        .sort((a, b) => a.position - b.position);
    },
    truncate(length) {
      for (const map of [prompt, decoded]) for (const position of [...map.keys()]) if (position >= length) drop(map, position);
      if (length === 0) stride = 1;
    },
  };
}
