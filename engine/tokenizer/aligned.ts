/** Text on its way to the model. `starts[i]` is the offset in the original text that character i came from; absent where no one asked. */
export interface Aligned {
  readonly text: string;
  readonly starts: Int32Array | undefined;
}

export function align(text: string, wantStarts: boolean): Aligned {
  return { text, starts: wantStarts ? Int32Array.from({ length: text.length }, (_, i) => i) : undefined };
}

export function sliceAligned(input: Aligned, start: number, end: number): Aligned {
  if (start === 0 && end === input.text.length) return input;
  return { text: input.text.slice(start, end), starts: input.starts?.subarray(start, end) };
}

/** Puts text in front; it counts as coming from where the input begins. */
export function prependAligned(input: Aligned, prefix: string): Aligned {
  if (!input.starts) return { text: prefix + input.text, starts: undefined };
  const starts = new Int32Array(prefix.length + input.starts.length).fill(input.starts[0] ?? 0);
  starts.set(input.starts, prefix.length);
  return { text: prefix + input.text, starts };
}

/** Replaces every match of a global pattern; what is put in counts as coming from where its match begins. */
export function replaceAligned(input: Aligned, pattern: RegExp, replacement: (match: string) => string): Aligned {
  if (!input.starts) return { text: input.text.replace(pattern, replacement), starts: undefined };
  const starts: number[] = [];
  let text = "";
  let from = 0;
  const copy = (end: number) => {
    text += input.text.slice(from, end);
    for (let i = from; i < end; i++) starts.push(input.starts?.[i] ?? 0);
  };
  for (const match of input.text.matchAll(pattern)) {
    copy(match.index);
    const put = replacement(match[0]);
    const origin = input.starts[match.index] ?? (input.starts[input.starts.length - 1] ?? -1) + 1;
    text += put;
    for (let i = 0; i < put.length; i++) starts.push(origin);
    from = match.index + match[0].length;
  }
  copy(input.text.length);
  return { text, starts: Int32Array.from(starts) };
}
