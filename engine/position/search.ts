/**
 * LongRoPE's search for its factors (arXiv 2402.13753, and the search that was released with it): evolution over divisors of the
 * frequencies, one per rotary pair, that never fall from one pair to the next. Pure: what a list is worth is asked of the caller.
 * One thing of the paper is left out: some first tokens kept at their own frequencies. Our rotation has one table for all positions.
 */
import type { DecoderSpec } from "../api.ts";
import { EngineError } from "../errors.ts";
import { isRecord, JsonFields, shown, type JsonRecord } from "../formats/json.ts";
import { type LongRope, trainedLength } from "./scaling.ts";

export interface SearchOptions {
  /** Lists that are judged before the first iteration. */
  population: number;
  /** Of those, the best stay and have children. */
  parents: number;
  /** Children of an iteration that are changed copies of one parent. */
  mutations: number;
  /** Children of an iteration that take divisors of two parents. */
  crossovers: number;
  iterations: number;
  /** Chance of each divisor to be drawn anew between its neighbours. */
  mutationRate: number;
  /** Passes over two parents before a crossover becomes a mutation. */
  crossoverTries: number;
  /** Divisors are 1, 1 + step, 1 + 2 step … */
  step: number;
  seed: number;
}

/** As released: 1,344 lists are judged. */
export const releasedSearch: SearchOptions = {
  population: 64,
  parents: 32,
  mutations: 16,
  crossovers: 16,
  iterations: 40,
  mutationRate: 0.3,
  crossoverTries: 20,
  step: 0.01,
  seed: 0,
};

/** The released search with another population: half of it are parents, and a quarter each the children of both kinds. */
export function searchOfSize(population: number, iterations: number, seed: number): SearchOptions {
  const [parents, children] = [Math.max(1, Math.floor(population / 2)), Math.max(1, Math.floor(population / 4))];
  return { ...releasedSearch, population, parents, mutations: children, crossovers: children, iterations, seed };
}

/** A list as whole steps above 1, so that it is the same number for number after any writing and reading. */
export type Steps = readonly number[];

export interface Judged {
  steps: Steps;
  /** Lower is better. */
  perplexity: number;
}

/** All of a search between two judgements, as plain JSON: what is resumed from it goes on as if it had never stopped. */
export interface SearchState {
  options: SearchOptions;
  /** Divisors are at most 1 + stretch. */
  stretch: number;
  /** Whose children are judged: 0 is the first population. */
  iteration: number;
  random: number;
  /** Judged lists of this generation. */
  population: readonly Judged[];
  /** Lists of this generation that are not judged yet. */
  pending: readonly Steps[];
  /** Every list that was ever made, joined by commas: none is judged twice. */
  known: readonly string[];
}

export interface SearchProgress {
  state: SearchState;
  /** The list that was judged just now. */
  judged: Judged;
  best: Judged;
}

/** A search from one list of divisors, which is put on the grid. Throws `bad-argument` for options that cannot be searched with. */
export function startSearch(initial: readonly number[], stretch: number, options: SearchOptions): SearchState {
  checkOptions(options);
  const last = lastStep(stretch, options.step);
  const steps: number[] = [];
  for (const divisor of initial) {
    const nearest = Math.round((divisor - 1) / options.step);
    steps.push(Math.max(steps.at(-1) ?? 0, Math.min(last, Math.max(0, nearest))));
  }
  if (steps.length === 0) throw new EngineError("bad-argument", "a search over no pairs", "give one divisor per rotary pair");
  const random = randomOf(options.seed);
  const known = new Set([keyOf(steps)]);
  const pending: Steps[] = [steps];
  const breeder = { options, last, known, random };
  while (pending.length < options.population) {
    const child = mutated(steps, breeder);
    if (child === undefined) break;
    pending.push(child);
  }
  return { options, stretch, iteration: 0, random: random.state(), population: [], pending, known: [...known] };
}

/**
 * Judges what is pending, breeds and goes on until the iterations are over; returns the state then, or at an abort. `fitness` gives a list's
 * perplexity and may throw: the error is passed on, and the state of the last `onProgress` is whole.
 */
export async function runSearch(
  start: SearchState,
  fitness: (divisors: readonly number[]) => Promise<number>,
  options: { signal?: AbortSignal; onProgress?(progress: SearchProgress): void } = {},
): Promise<SearchState> {
  let state = start;
  for (;;) {
    const [steps] = state.pending;
    if (steps === undefined) {
      if (isFinished(state)) return state;
      state = nextGeneration(state);
      continue;
    }
    if (options.signal?.aborted) return state;
    const perplexity = await fitness(divisorsOf(steps, state.options.step));
    if (!Number.isFinite(perplexity)) {
      throw new EngineError(
        "bad-argument",
        `a list of divisors has the perplexity ${perplexity}`,
        "check the model and the files",
      );
    }
    const judged = { steps, perplexity };
    state = { ...state, population: [...state.population, judged], pending: state.pending.slice(1) };
    options.onProgress?.({ state, judged, best: bestOf(state) ?? judged });
  }
}

/** Nothing is left to judge. */
export function isFinished({ iteration, pending, options }: SearchState): boolean {
  return pending.length === 0 && iteration >= options.iterations;
}

/** The best list so far: the one made first where several are as good. Undefined before the first judgement. */
export function bestOf({ population }: SearchState): Judged | undefined {
  return population.reduce<Judged | undefined>(
    (best, judged) => (best === undefined || judged.perplexity < best.perplexity ? judged : best),
    undefined,
  );
}

/** Lists judged so far, of how many there will be at most. */
export function countOf({ known, pending, options }: SearchState): { judged: number; planned: number } {
  const { population, iterations, mutations, crossovers } = options;
  return { judged: known.length - pending.length, planned: population + iterations * (mutations + crossovers) };
}

export function divisorsOf(steps: Steps, step: number): number[] {
  // Ten decimals are far finer than any step and take away what the product adds: 1.29, not 1.2900000000000000355.
  return steps.map((count) => Number((1 + count * step).toFixed(10)));
}

/** How far a model is stretched to a length; rounded up to a millionth, so that factor times trained length never falls short of it. */
export function stretchOf(spec: DecoderSpec, targetTokens: number): number {
  return Math.ceil((targetTokens / trainedLength(spec)) * 1e6) / 1e6;
}

/** LongRoPE with these long factors. What is short keeps the model's own short factors, or none. */
export function searchedScaling(spec: DecoderSpec, targetTokens: number, longFactor: readonly number[]): LongRope {
  const originalContext = trainedLength(spec);
  const shortFactor = spec.rope.kind === "longrope" ? spec.rope.shortFactor : longFactor.map(() => 1);
  return { kind: "longrope", shortFactor, longFactor, originalContext, factor: stretchOf(spec, targetTokens) };
}

/** A state that was written as JSON. Throws `bad-argument` for anything else. */
export function parseSearchState(json: unknown): SearchState {
  if (!isRecord(json)) throw badState(`it is ${shown(json)}, not an object`);
  const fields = new JsonFields(json, "the saved search", "bad-argument", STATE_REMEDY);
  const options = parseOptions(json["options"]);
  const state = {
    options,
    stretch: fields.number("stretch"),
    iteration: fields.number("iteration"),
    random: fields.number("random"),
    population: listOf(json["population"], "population", parseJudged),
    pending: listOf(json["pending"], "pending", parseSteps),
    known: listOf(json["known"], "known", (value) => {
      if (typeof value === "string") return value;
      throw badState(`known has ${shown(value)}`);
    }),
  };
  checkOptions(options);
  const widths = new Set([...state.population.map(({ steps }) => steps), ...state.pending].map((steps) => steps.length));
  if (widths.size !== 1) throw badState("its lists have different lengths");
  return state;
}

/** What breeding needs of a search; `known` grows and `random` moves on. */
interface Breeder {
  options: SearchOptions;
  /** Largest step. */
  last: number;
  known: Set<string>;
  random: Random;
}

/** The best are parents; their children are pending. */
function nextGeneration(state: SearchState): SearchState {
  const { options, stretch } = state;
  const parents = state.population
    .map((judged, age) => ({ judged, age }))
    .sort((a, b) => a.judged.perplexity - b.judged.perplexity || a.age - b.age)
    .slice(0, options.parents)
    .map(({ judged }) => judged);
  const random = randomOf(state.random);
  const breeder = { options, last: lastStep(stretch, options.step), known: new Set(state.known), random };
  const anyParent = (): Steps => parents[Math.floor(random.next() * parents.length)]?.steps ?? [];
  const pending: Steps[] = [];
  const add = (child: Steps | undefined): void => {
    if (child !== undefined) pending.push(child);
  };
  for (let i = 0; i < options.mutations; i++) add(mutated(anyParent(), breeder));
  for (let i = 0; i < options.crossovers; i++) {
    const [first, second] = [anyParent(), anyParent()];
    add(crossed(first, second, breeder) ?? mutated(first, breeder));
  }
  return {
    ...state,
    iteration: state.iteration + 1,
    random: random.state(),
    population: parents,
    pending,
    known: [...breeder.known],
  };
}

/** Passes of a mutation until a list comes out that is new; a grid so small that all of it is known has none left. */
const MUTATION_TRIES = 200;

function mutated(parent: Steps, { options, last, known, random }: Breeder): Steps | undefined {
  const steps = [...parent];
  for (let tries = 0; tries < MUTATION_TRIES; tries++) {
    for (let pair = 0; pair < steps.length; pair++) {
      if (random.next() >= options.mutationRate) continue;
      const from = steps[pair - 1] ?? 0;
      const to = steps[pair + 1] ?? last;
      steps[pair] = from + Math.floor(random.next() * (to - from + 1));
    }
    if (isNew(steps, known)) return steps;
  }
  return undefined;
}

/** A copy of the first parent with divisors of the second, as soon as it is new and does not fall. */
function crossed(first: Steps, second: Steps, { options, known, random }: Breeder): Steps | undefined {
  if (first.every((steps, pair) => steps === second[pair])) return undefined;
  const steps = [...first];
  for (let tries = 0; tries < options.crossoverTries; tries++) {
    for (let pair = 0; pair < steps.length; pair++) {
      if (random.next() >= CONSIDERED || random.next() >= TAKEN) continue;
      steps[pair] = second[pair] ?? 0;
      if (isRising(steps) && isNew(steps, known)) return steps;
    }
  }
  return undefined;
}

/** Chances of the released search: a pair is looked at, and then takes the second parent's divisor. */
const CONSIDERED = 0.3;
const TAKEN = 0.5;

function isRising(steps: Steps): boolean {
  return steps.every((count, pair) => pair === 0 || count >= (steps[pair - 1] ?? 0));
}

/** True once for every list: it is known afterwards. */
function isNew(steps: Steps, known: Set<string>): boolean {
  const key = keyOf(steps);
  if (known.has(key)) return false;
  known.add(key);
  return true;
}

function keyOf(steps: Steps): string {
  return steps.join(",");
}

function lastStep(stretch: number, step: number): number {
  if (!(Number.isFinite(stretch) && stretch > 1)) {
    throw new EngineError("bad-argument", `a search for a stretch of ${stretch}`, "search for a length above the trained one");
  }
  return Math.round(stretch / step);
}

interface Random {
  next(): number;
  state(): number;
}

/** Uniform numbers in [0, 1) from a counter of 32 bits (mulberry32), which is all the state there is. */
function randomOf(seed: number): Random {
  let counter = seed >>> 0;
  return {
    next() {
      counter = (counter + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(counter ^ (counter >>> 15), counter | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    },
    state: () => counter,
  };
}

function checkOptions(options: SearchOptions): void {
  const whole = (name: keyof SearchOptions, least: number): void => {
    const value = options[name];
    if (Number.isSafeInteger(value) && value >= least) return;
    throw new EngineError("bad-argument", `${name} ${value} of a search`, `give a whole number of at least ${least}`);
  };
  whole("population", 1);
  whole("parents", 1);
  whole("mutations", 0);
  whole("crossovers", 0);
  whole("iterations", 0);
  whole("crossoverTries", 0);
  whole("seed", 0);
  if (!(options.mutationRate > 0 && options.mutationRate <= 1)) {
    throw new EngineError("bad-argument", `mutationRate ${options.mutationRate} of a search`, "give a chance in (0, 1]");
  }
  if (!(options.step > 0 && options.step <= 1)) {
    throw new EngineError("bad-argument", `step ${options.step} of a search`, "give a step in (0, 1], such as 0.01");
  }
}

const STATE_REMEDY = "start the search anew";

function badState(what: string): EngineError {
  return new EngineError("bad-argument", `the saved search cannot be resumed: ${what}`, STATE_REMEDY);
}

function parseOptions(json: unknown): SearchOptions {
  const record: JsonRecord = isRecord(json) ? json : {};
  const fields = new JsonFields(record, "the saved search's options", "bad-argument", STATE_REMEDY);
  return {
    population: fields.number("population"),
    parents: fields.number("parents"),
    mutations: fields.number("mutations"),
    crossovers: fields.number("crossovers"),
    iterations: fields.number("iterations"),
    mutationRate: fields.number("mutationRate"),
    crossoverTries: fields.number("crossoverTries"),
    step: fields.number("step"),
    seed: fields.number("seed"),
  };
}

function parseJudged(json: unknown): Judged {
  if (!isRecord(json)) throw badState(`its population has ${shown(json)}`);
  const fields = new JsonFields(json, "the saved search's population", "bad-argument", STATE_REMEDY);
  return { steps: parseSteps(json["steps"]), perplexity: fields.number("perplexity") };
}

function parseSteps(json: unknown): Steps {
  const steps = listOf(json, "steps", (value) => {
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
    throw badState(`a list of divisors has ${shown(value)}`);
  });
  if (!isRising(steps)) throw badState("a list of divisors falls");
  return steps;
}

function listOf<T>(json: unknown, name: string, read: (value: unknown) => T): T[] {
  if (!Array.isArray(json)) throw badState(`${name} is ${shown(json)}, not a list`);
  return json.map(read);
}
