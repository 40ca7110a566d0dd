/** Vectors that stand for tokens in models whose weights are set by hand: of length one, and telling any two tokens apart. */
import { seeded } from "./random.ts";

export interface TokenCodes {
  width: number;
  /** Row of a token, [width], of length one. */
  code(token: number): Float64Array;
  /** Largest scalar product of two different rows. */
  closest: number;
}

/**
 * Vectors of length sqrt(6) of the lattice E8, scaled to one: 6,720 of them in 8 channels, and no two closer than 5/6. So few channels make
 * attention over every pair of very many tokens affordable.
 */
export function latticeCodes(count: number): TokenCodes {
  const rows = [...vectors([-4, -2, 0, 2, 4]), ...vectors([-3, -1, 1, 3])];
  if (count > rows.length) throw new RangeError(`the lattice has ${rows.length} codes, and ${count} are asked for`);
  const random = seeded(8);
  for (let i = rows.length - 1; i > 0; i--) {
    const other = Math.floor(random() * (i + 1));
    [rows[i], rows[other]] = [rows[other], rows[i]];
  }
  return codesOf(rows.slice(0, count));
}

/**
 * Few channels of many, as many at +1 as at -1: least and largest values of a page of such keys still say which tokens can be in it, as a Bloom
 * filter does. With codes that use every channel, each page could hold any token.
 */
export function sparseCodes(count: number, width: number, used: number): TokenCodes {
  const random = seeded(width);
  const taken = new Set<string>();
  const rows: Float64Array[] = [];
  while (rows.length < count) {
    const row = new Float64Array(width);
    for (let placed = 0; placed < used;) {
      const channel = Math.floor(random() * width);
      if (row[channel] === 0) row[channel] = placed++ % 2 === 0 ? 1 : -1;
    }
    const key = row.join();
    if (!taken.has(key)) rows.push(row);
    taken.add(key);
  }
  return codesOf(rows);
}

/** Halves of E8's vectors of that length whose channels are of `choices`: whole numbers or halves, twice; their sum is even. */
function vectors(choices: readonly number[]): Float64Array[] {
  const found: Float64Array[] = [];
  const row = new Float64Array(8);
  const extend = (channel: number, squares: number, sum: number): void => {
    if (squares > 24) return;
    if (channel < 8) {
      for (const value of choices) {
        row[channel] = value;
        extend(channel + 1, squares + value ** 2, sum + value);
      }
    } else if (squares === 24 && sum % 4 === 0) found.push(row.slice());
  };
  extend(0, 0, 0);
  return found;
}

function codesOf(rows: readonly Float64Array[]): TokenCodes {
  const scaled = rows.map((row) => {
    const length = Math.hypot(...row);
    return row.map((value) => value / length);
  });
  let closest = 0;
  for (const [index, a] of scaled.entries()) {
    for (const b of scaled.slice(index + 1)) {
      let product = 0;
      for (let i = 0; i < a.length; i++) product += a[i] * b[i];
      closest = Math.max(closest, product);
    }
  }
  const width = rows[0].length;
  return {
    width,
    closest,
    code(token) {
      const row = scaled[token];
      if (row === undefined) throw new RangeError(`token ${token} of ${scaled.length}`);
      return row;
    },
  };
}
