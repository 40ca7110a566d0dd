/** Text on its way to the model that knows where in the original text each of its characters came from. */
export interface Aligned {
  readonly text: string;
  /** Original offset of character i is base + i, or starts[base + i] once something was inserted or replaced. */
  readonly base: number;
  readonly starts: Int32Array | undefined;
}

export function align(text: string): Aligned {
  return { text, base: 0, starts: undefined };
}

export function originOf(input: Aligned, index: number): number {
  const at = input.base + index;
  return input.starts ? (input.starts[at] ?? 0) : at;
}

export function sliceAligned(input: Aligned, start: number, end: number): Aligned {
  return { text: input.text.slice(start, end), base: input.base + start, starts: input.starts };
}

/** Puts text in front; it counts as coming from where the input begins. */
export function prependAligned(input: Aligned, prefix: string): Aligned {
  const text = prefix + input.text;
  const starts = new Int32Array(text.length);
  for (let i = 0; i < text.length; i++) starts[i] = originOf(input, Math.max(0, i - prefix.length));
  return { text, base: 0, starts };
}

/** Writes one character for another everywhere. */
export function swapAligned(input: Aligned, char: string, other: string): Aligned {
  return { ...input, text: input.text.replaceAll(char, other) };
}

/**
 * Replaces every match of a global pattern; what is put in counts as coming from where its match begins. `poll` is called
 * every few thousand matches, and ends the work by throwing.
 */
export function replaceAligned(
  input: Aligned,
  pattern: RegExp,
  replacement: (match: string) => string,
  poll?: () => void,
): Aligned {
  const starts: number[] = [];
  let from = 0;
  let matches = 0;
  const copy = (end: number) => {
    for (let i = from; i < end; i++) starts.push(originOf(input, i));
  };
  const text = input.text.replace(pattern, (match: string, ...rest: unknown[]) => {
    if ((++matches & POLL) === 0) poll?.();
    const at = rest.find((item) => typeof item === "number") ?? 0;
    const put = replacement(match);
    copy(at);
    for (let i = 0; i < put.length; i++) starts.push(originOf(input, at));
    from = at + match.length;
    return put;
  });
  copy(input.text.length);
  return text === input.text ? input : { text, base: 0, starts: Int32Array.from(starts) };
}

/** Matches between two polls; well under a millisecond. */
const POLL = 0x7ff;
