import {
  type AppendOptions,
  CUT_TOKENS,
  type PoolRequest,
  type Runner,
  type Sampling,
  type TokenMask,
} from "../../engine/api.ts";
import type { AttentionChoice } from "../../engine/attention/api.ts";
import { EngineError, throwIfAborted } from "../../engine/errors.ts";

export interface FakeOptions {
  kind?: Runner["kind"];
  vocabSize: number;
  capacityTokens?: number;
  /** Token chosen among the allowed ones (all, without a mask); by default a hash of the cache's content. */
  choose?(allowed: readonly number[], cache: readonly number[]): number;
  /** Logit of a token behind a cache; by default from `choose`. */
  logit?(id: number, cache: readonly number[]): number;
  /** Attention mass of a key token for the pooled map; default 0. */
  mass?(token: number): number;
  /** The device dies when a next token is asked for (by `sample`, or as logits) for the time with this number, from 0. */
  loseAtSample?: number;
}

/** A Runner without a model: deterministic, and a record of what was asked of it. */
export class FakeRunner implements Runner {
  readonly kind: Runner["kind"];
  readonly device = "fake";
  readonly capacityTokens: number;
  readonly tap = { layers: [0], because: "one layer" };
  readonly lost: Promise<void>;
  readonly appended: number[] = [];
  cache: number[] = [];
  disposed = false;
  attention: AttentionChoice = { policy: { kind: "flash" } };
  private planKey = "";
  private samples = 0;
  private dead = false;
  private die: () => void = () => undefined;

  constructor(private readonly options: FakeOptions) {
    this.kind = options.kind ?? "wgsl";
    this.capacityTokens = options.capacityTokens ?? 4096;
    this.lost = new Promise((resolve) => (this.die = resolve));
  }

  get length(): number {
    return this.cache.length;
  }

  setPositions(plan: { key: string }): void {
    if (plan.key !== this.planKey) this.cache = [];
    this.planKey = plan.key;
  }

  setAttention(choice: AttentionChoice): void {
    if (JSON.stringify(choice) !== JSON.stringify(this.attention)) this.cache = [];
    this.attention = choice;
  }

  async repositionCache(plan: { key: string }): Promise<boolean> {
    this.planKey = plan.key;
    return true;
  }

  truncate(lengthTokens: number): number {
    if (lengthTokens < this.cache.length) this.cache.length = Math.floor(lengthTokens / CUT_TOKENS) * CUT_TOKENS;
    return this.cache.length;
  }

  async append(ids: readonly number[] | Int32Array, options: AppendOptions = {}): Promise<Float32Array<ArrayBuffer> | undefined> {
    const { logits: wanted = "none" } = options;
    if (wanted !== "none" && this.samples++ === this.options.loseAtSample) this.loseDevice();
    const before = this.cache.length;
    for (let done = 0; done < ids.length;) {
      this.check();
      throwIfAborted(options.signal);
      const chunk = Array.from(ids.slice(done, done + CUT_TOKENS));
      this.cache.push(...chunk);
      this.appended.push(...chunk);
      done += chunk.length;
      options.onProgress?.(done);
      await Promise.resolve();
    }
    if (wanted === "none") return undefined;
    const first = wanted === "all" ? before : this.cache.length - 1;
    const rows = Array.from({ length: this.cache.length - first }, (_, row) =>
      this.logitsBehind(this.cache.slice(0, first + row + 1)),
    );
    return Float32Array.from(rows.flat());
  }

  async sample(_sampling: Sampling, allowed?: TokenMask): Promise<number> {
    if (this.samples++ === this.options.loseAtSample) this.loseDevice();
    this.check();
    const ids = Array.from({ length: this.options.vocabSize }, (_, id) => id);
    const open = allowed ? ids.filter((id) => ((allowed[id >>> 5] ?? 0) >>> (id & 31)) & 1) : ids;
    return this.options.choose?.(open, this.cache) ?? open[hash(this.cache) % open.length] ?? 0;
  }

  async pool(request: PoolRequest) {
    const rows = request.queryEdges.length - 1;
    const columns = request.keyEdges.length - 1;
    const row = Array.from({ length: columns }, (_, c) => {
      let mass = 0;
      for (let token = request.keyEdges[c] ?? 0; token < (request.keyEdges[c + 1] ?? 0); token++)
        mass += this.options.mass?.(token) ?? 0;
      return mass;
    });
    return { rows, columns, cells: Float32Array.from({ length: rows * columns }, (_, i) => row[i % columns] ?? 0) };
  }

  loseDevice(): boolean {
    this.dead = true;
    this.die();
    return true;
  }

  dispose(): void {
    this.disposed = true;
  }

  /** What `choose` takes is far ahead; the others follow by rising id, or without it in an order of their own. */
  private logitsBehind(cache: readonly number[]): number[] {
    const { options } = this;
    const ids = Array.from({ length: options.vocabSize }, (_, id) => id);
    if (options.logit) return ids.map((id) => options.logit?.(id, cache) ?? 0);
    const chosen = options.choose?.(ids, cache);
    return ids.map((id) =>
      chosen === undefined ? (hash([...cache, id]) % 997) / 997 : (id === chosen ? 8 : 0) + id / options.vocabSize,
    );
  }

  private check(): void {
    if (this.dead) throw new EngineError("device-lost", "gone", "ask again");
  }
}

function hash(ids: readonly number[]): number {
  return ids.reduce((sum, id) => (Math.imul(sum, 31) + id + 7) >>> 0, 17);
}
