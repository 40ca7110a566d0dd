/** The Runner of recurrent models, whatever the backend: chunks, snapshots and what these models cannot do. */
import type {
  AppendOptions,
  BackendKind,
  PositionPlan,
  RecurrentSpec,
  Runner,
  RunnerOptions,
  Sampling,
  TokenMask,
} from "../api.ts";
import { PAGE_TOKENS } from "../attention/api.ts";
import { EngineError, throwIfAborted } from "../errors.ts";
import { checkIds, checkMask } from "../reference/checks.ts";
import { checkSampling, uniformAt } from "../reference/sample.ts";
import { openSlots } from "./slots.ts";
import { decodeState, encodeState } from "./snapshot.ts";
import { stateFloats } from "./state.ts";

/** What a backend does for a recurrent model. Its state starts empty. */
export interface RecurrentBackend {
  readonly kind: BackendKind;
  readonly device: string;
  readonly lost: Promise<void>;
  /** As in Runner. */
  readonly quantizationError: number | undefined;
  /** Throws what went wrong on the device, if anything did. */
  check(): void;
  /** Tokens of the next chunk, so that it takes bounded time. */
  chunkTokens(allLogits: boolean): number;
  /**
   * Runs a chunk behind the state and leaves the state behind it. Returns the logits [n, V] of all its tokens where they are asked for.
   * A single token whose logits nobody waits for is only queued.
   */
  run(
    ids: Int32Array<ArrayBuffer>,
    options: { wait: boolean; allLogits: boolean },
  ): Promise<Float32Array<ArrayBuffer> | undefined>;
  /** Logits [V] behind the last token. */
  lastLogits(): Promise<Float32Array<ArrayBuffer>>;
  /** The next token; `uniform01` in [0, 1) decides above temperature 0. */
  sample(sampling: Sampling, allowed: TokenMask | undefined, uniform01: number): Promise<number>;
  /** Back to the state before the first token. */
  clear(): void;
  /** Copies of the state that can be kept. */
  readonly slotCount: number;
  save(slot: number): void;
  load(slot: number): void;
  /** The copy as snapshot.ts lays it out. */
  readSlot(slot: number): Promise<Float32Array<ArrayBuffer>>;
  /** The whole state as snapshot.ts lays it out. */
  read(): Promise<Float32Array<ArrayBuffer>>;
  write(values: Float32Array<ArrayBuffer>): void;
  loseDevice(): boolean;
  dispose(): void;
}

/** A runner whose state can be taken out and put back: into it, or into another runner of the same model. */
export interface RecurrentRunner extends Runner {
  /** The state behind the last token, as bytes. */
  snapshot(): Promise<Uint8Array<ArrayBuffer>>;
  /** Puts a state back; going on from it gives bit for bit what going on gave where it was taken, on the same backend. */
  restore(bytes: Uint8Array): Promise<void>;
  /** Lengths that `truncate` can go back to, beside 0 and `length`. */
  readonly snapshotLengths: readonly number[];
}

/** Memory does not depend on the length, so this only keeps positions and files of states within 32 bits, with room to spare. */
const MAX_TOKENS = 2 ** 24;
/**
 * From this many tokens on, an append runs its last token alone and keeps the state in front of it: whoever wants that token's logits
 * once more (a follow-up question, the search for a quote) goes back one token and not to the copy before.
 */
const LAST_ALONE_TOKENS = 32;

const NO_ATTENTION = "recurrent models have no attention";

/** True for a runner that can take its state out. */
export function isRecurrentRunner(runner: Runner): runner is RecurrentRunner {
  return "snapshot" in runner && "restore" in runner;
}

/**
 * Copies of the state are kept behind every append of more than one token, in front of a long append's last token, and at the end of every
 * page of PAGE_TOKENS tokens, where chunks end therefore; slots.ts says which are given up when their places are taken. `truncate` goes
 * back to the nearest.
 */
export function openRecurrentRunner(
  spec: RecurrentSpec,
  options: Pick<RunnerOptions, "capacityTokens">,
  backend: RecurrentBackend,
  key: bigint,
): RecurrentRunner {
  const capacityTokens = Math.min(options.capacityTokens ?? MAX_TOKENS, MAX_TOKENS);
  if (!Number.isSafeInteger(capacityTokens) || capacityTokens < 1) {
    throw new EngineError("bad-argument", `a context of ${capacityTokens} tokens holds nothing`, "give at least one token");
  }
  const slots = openSlots(backend.slotCount);
  let length = 0;

  /** Back to the nearest copy at or before `wanted`. */
  function goBack(wanted: number): void {
    const target = slots.newest(wanted);
    length = target?.length ?? 0;
    slots.cut(length);
    if (target === undefined) backend.clear();
    else backend.load(target.slot);
  }

  function keep(): void {
    const slot = slots.place(length);
    if (slot !== undefined) backend.save(slot);
  }

  /** Tokens of the next chunk of `most` at most: up to the last border of a page that it would reach. */
  function upToBorder(most: number): number {
    const border = Math.floor((length + most) / PAGE_TOKENS) * PAGE_TOKENS;
    return border > length ? border - length : most;
  }

  async function stateAt(lengthTokens: number): Promise<Float32Array<ArrayBuffer> | undefined> {
    const copy = slots.newest(lengthTokens);
    if (copy?.length === lengthTokens) return backend.readSlot(copy.slot);
    return lengthTokens === length ? backend.read() : undefined;
  }

  async function runChunk(ids: Int32Array<ArrayBuffer>, how: { wait: boolean; allLogits: boolean }) {
    try {
      const rows = await backend.run(ids, how);
      length += ids.length;
      return rows;
    } catch (error) {
      // The chunk may have changed some of the state, so the only states left are those that were copied.
      goBack(length);
      throw error;
    }
  }

  function checkCapacity(tokens: number): void {
    if (tokens <= capacityTokens) return;
    const message = `${tokens} tokens pass the ${capacityTokens} that the model was opened for`;
    const facts = { needTokens: tokens, haveTokens: capacityTokens };
    throw new EngineError("kv-cache-too-large", message, `shorten the context to ${capacityTokens} tokens`, facts);
  }

  function checkNotEmpty(): void {
    if (length > 0) return;
    throw new EngineError("bad-argument", "there is no last token to sample behind", "append at least one token first");
  }

  return {
    kind: backend.kind,
    device: backend.device,
    capacityTokens,
    tap: { layers: [], because: NO_ATTENTION },
    quantizationError: backend.quantizationError,
    pages: {
      kind: "states",
      tokensPerPage: PAGE_TOKENS,
      bytesPerPage: 4 * stateFloats(spec),
      layout: "state, f32",
      async export(first, count) {
        backend.check();
        const states: (Uint8Array<ArrayBuffer> | undefined)[] = [];
        for (let page = first; page < first + count; page++) {
          const state = await stateAt((page + 1) * PAGE_TOKENS);
          states.push(state && new Uint8Array(state.buffer));
        }
        return states;
      },
      async import(pages, firstPage) {
        backend.check();
        const last = pages.at(-1);
        if (last === undefined) return;
        if (last.length !== 4 * stateFloats(spec)) {
          throw new EngineError("bad-argument", `a state of ${last.length} bytes`, "import states of this model");
        }
        const end = (firstPage + pages.length) * PAGE_TOKENS;
        checkCapacity(end);
        // Copies before it stay: what is put back goes on from the same tokens.
        slots.cut(Math.min(length, end));
        backend.write(new Float32Array(last.slice().buffer));
        length = end;
        keep();
      },
    },
    get length() {
      return length;
    },
    get snapshotLengths() {
      return slots.lengths;
    },
    lost: backend.lost,

    setPositions(plan) {
      checkUnrotated(plan);
    },

    setAttention({ policy, topPages }) {
      if (policy.kind === "flash" && topPages === undefined) return;
      throw new EngineError("bad-argument", `attention "${policy.kind}" was chosen, and ${NO_ATTENTION}`, "choose flash");
    },

    async repositionCache(plan) {
      checkUnrotated(plan);
      return false;
    },

    truncate(lengthTokens) {
      if (lengthTokens < length) goBack(Math.max(0, lengthTokens));
      return length;
    },

    async append(ids, appendOptions: AppendOptions = {}) {
      const { signal, logits: wanted = "none", moreFollows = false } = appendOptions;
      backend.check();
      checkIds(ids, spec.vocabSize);
      checkCapacity(length + ids.length);
      const allLogits = wanted === "all";
      const all = allLogits ? new Float32Array(ids.length * spec.vocabSize) : undefined;
      const how = { wait: ids.length > 1 || wanted !== "none", allLogits };
      const lastAlone = ids.length >= LAST_ALONE_TOKENS && !moreFollows;
      for (let done = 0; done < ids.length;) {
        throwIfAborted(signal);
        const left = ids.length - done;
        const count = upToBorder(Math.min(backend.chunkTokens(allLogits), lastAlone && left > 1 ? left - 1 : left));
        const rows = await runChunk(Int32Array.from(ids.slice(done, done + count)), how);
        if (rows !== undefined) all?.set(rows, done * spec.vocabSize);
        done += count;
        const isEnd = done === ids.length ? ids.length > 1 : lastAlone && done === ids.length - 1;
        if (isEnd || length % PAGE_TOKENS === 0) keep();
        appendOptions.onProgress?.(done);
      }
      if (all !== undefined) return all;
      return wanted === "last" && length > 0 ? backend.lastLogits() : undefined;
    },

    async sample(sampling, allowed) {
      backend.check();
      checkSampling(sampling);
      checkNotEmpty();
      if (allowed !== undefined) checkMask(allowed, spec.vocabSize);
      return backend.sample(sampling, allowed, uniformAt(sampling.seed, length));
    },

    async pool() {
      throw new EngineError("bad-argument", NO_ATTENTION, "choose a transformer to see where it looks");
    },

    async snapshot() {
      backend.check();
      checkNotEmpty();
      return encodeState(key, { length, values: await backend.read() });
    },

    async restore(bytes) {
      backend.check();
      const image = decodeState(bytes, key, stateFloats(spec));
      checkCapacity(image.length);
      slots.cut(0);
      backend.write(image.values);
      length = image.length;
      keep();
    },

    loseDevice: () => backend.loseDevice(),
    dispose() {
      length = 0;
      slots.cut(0);
      backend.dispose();
    },
  };
}

/** Throws `bad-argument` for a plan that would move positions: these models have none. */
function checkUnrotated(plan: PositionPlan): void {
  if (plan.table.invFreq.length === 0 && plan.bands.length === 1 && plan.copies.length === 1) return;
  throw new EngineError(
    "bad-argument",
    "a rotation for a recurrent model, which has no positions",
    "make the plan from this model's spec",
  );
}
