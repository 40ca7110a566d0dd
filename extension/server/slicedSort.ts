/** As many strings are sorted without a pause. */
const sortedAtOnce = 8192;

/** Sorts strings by code units, piece by piece with pauses between, so that a list of any length leaves turns to other work. */
export async function sortInSlices(strings: string[], pause: () => Promise<void>): Promise<string[]> {
  if (strings.length <= sortedAtOnce) return strings.sort();
  let pieces: string[][] = [];
  for (let at = 0; at < strings.length; at += sortedAtOnce) {
    pieces.push(strings.slice(at, at + sortedAtOnce).sort());
    await pause();
  }
  while (pieces.length > 1) {
    const merged: string[][] = [];
    for (let at = 0; at < pieces.length; at += 2) merged.push(await mergeSorted(pieces[at] ?? [], pieces[at + 1] ?? [], pause));
    pieces = merged;
  }
  return pieces[0] ?? [];
}

async function mergeSorted(a: string[], b: string[], pause: () => Promise<void>): Promise<string[]> {
  if (b.length === 0) return a;
  const merged: string[] = [];
  let inB = 0;
  for (const string of a) {
    for (let other = b[inB]; other !== undefined && other < string; other = b[++inB]) merged.push(other);
    if (merged.push(string) % sortedAtOnce === 0) await pause();
  }
  for (; inB < b.length; inB++) merged.push(b[inB] ?? "");
  return merged;
}
