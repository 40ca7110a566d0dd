import type {
  BackendChoice,
  BackendKind,
  CacheError,
  DenseScores,
  ModelFiles,
  PooledAttention,
  PoolRequest,
  RopeChoice,
  Runner,
  Runtime,
  SessionInfo,
  WeightFormat,
  MatmulPrecision,
} from "./api.ts";
import type { AttentionChoice, AttentionFacts, KeptMass, KvFormats, RingReport } from "./attention/api.ts";
import { F32_CACHE, WHOLE } from "./attention/wholeOnly.ts";
import type {
  AnswerCheck,
  AskEvent,
  AskPlan,
  AskRequest,
  AskResult,
  CheckProgress,
  Reply,
  ReplyRequest,
} from "./generate/api.ts";
import { chooseBackend, type ChosenBackend } from "./backends/choose.ts";
import { type OpenRunner, openRunner } from "./backends/open.ts";
import { EngineError, plainError, throwIfAborted } from "./errors.ts";
import type {
  PerplexityReport,
  PerplexityRequest,
  RopePreview,
  RopeSearchEvent,
  RopeSearchRequest,
  RopeSearchResult,
} from "./eval/api.ts";
import { type EvaluatedModel, measurePerplexity } from "./eval/perplexity.ts";
import { searchRope } from "./eval/ropeSearch.ts";
import { checkAnswer } from "./generate/ablation.ts";
import { type AskedPrompt, type AskModel, answerQuestion } from "./generate/ask.ts";
import { askModelOf } from "./generate/askModel.ts";
import { HeldTokens } from "./generate/heldTokens.ts";
import { planQuestion } from "./generate/plan.ts";
import { openPrefixPlace, prefixesOf, type PrefixPlace } from "./generate/prefixPlace.ts";
import { previewAnswer } from "./generate/preview.ts";
import { replyTo } from "./generate/reply.ts";
import { WindowChooser } from "./generate/window.ts";
import type { PrefixStatistics, PrefixStore } from "./kv-cache/api.ts";
import { cachedFormats } from "./kv-cache/format.ts";
import { loadModel, type LoadedModel } from "./models/load.ts";
import type { AttentionTable, AttentionTableRequest } from "./planner/api.ts";
import { attentionTable, RateKeeper } from "./planner/attentionTable.ts";
import { openModel } from "./planner/openModel.ts";
import { weightsAsStored } from "./planner/weightBytes.ts";
import { resolveRope } from "./position/choose.ts";
import { checkIds } from "./reference/checks.ts";

export interface SessionOptions {
  backend: BackendChoice;
  weightFormat: WeightFormat;
  /** How products with weights are made on WebGPU (default exact). */
  products?: MatmulPrecision;
  /** How keys and values are cached (default f32); recurrent models have none, and WASM after a loss takes f32. */
  kv?: KvFormats;
  /** Upper bound on the KV cache; by default what the device holds. */
  capacityTokens?: number;
  /** Only token ids will be handed in: the model needs no tokenizer. */
  idsOnly?: boolean;
  /** Where prefixes of prompts outlive the session; by default they end with it. */
  prefixes?: PrefixStore;
  signal?: AbortSignal;
  onProgress?(stage: string, doneBytes: number, totalBytes: number): void;
  /** How a backend is opened; tests put runners of their own here. */
  openRunner?: OpenRunner;
}

/** One open model. Calls wait for each other: the KV cache is one. */
export interface Session {
  /** As it is now: a lost device can change backend and device. */
  readonly info: SessionInfo;
  /**
   * Answers a question over files. Rejects with `aborted` when stopped before the answer began (finished prefill is kept), with
   * `empty-workspace`, `context-too-long` and what the stages throw; stopped within the answer it returns what there is. Where
   * the device is lost the run starts again: text streamed before a `recovered` event no longer counts.
   */
  ask(request: AskRequest, signal: AbortSignal, onEvent: (event: AskEvent) => void): Promise<AskResult>;
  /** What `ask` would cost now: packs the prompt, and computes nothing. Waits for what is going on. Throws what packing throws. */
  plan(request: AskRequest, signal: AbortSignal): Promise<AskPlan>;
  /** The next turn of any conversation, through the model's own template. Survives a lost device as `ask` does. Throws what `replyTo` throws. */
  reply(request: ReplyRequest, signal: AbortSignal, onEvent: (event: AskEvent) => void): Promise<Reply>;
  /** Settles when every finished page of a prefix has been written. */
  prefixesSettled(): Promise<void>;
  /** Undefined without a place for prefixes, and before the first question. */
  readonly prefixStatistics: PrefixStatistics | undefined;
  /** The last question again under another scaling, at once and approximately. Throws what `previewAnswer` throws. */
  previewRope(rope: RopeChoice, signal: AbortSignal, onEvent: (event: AskEvent) => void): Promise<RopePreview>;
  /** How much the last answer depends on what it cites. Throws what `checkAnswer` throws. */
  checkAnswer(signal: AbortSignal, onProgress: (progress: CheckProgress) => void): Promise<AnswerCheck>;
  /** How well the model foretells a text; empties the cache. Throws what `scoreTokens` throws. */
  perplexity(ids: readonly number[], request: PerplexityRequest): Promise<PerplexityReport>;
  /** Searches for LongRoPE's factors on the user's files; empties the cache. An abort ends it with what there is. Throws what `searchRope` throws. */
  searchRope(
    request: RopeSearchRequest,
    signal: AbortSignal,
    onEvent: (event: RopeSearchEvent) => void,
  ): Promise<RopeSearchResult>;
  /**
   * What a prompt would take with every policy and cache format of this backend, which is measured the first time: some seconds. Throws
   * `aborted`, and `bad-argument` on the reference.
   */
  planAttention(request: AttentionTableRequest, signal: AbortSignal): Promise<AttentionTable>;
  /** Attention over what the last run left in the cache. */
  pool(request: PoolRequest, signal?: AbortSignal): Promise<PooledAttention>;
  /** What each head did, measured on at most `queries` of the last run's; no heads for a model without attention. */
  headFacts(queries: number, signal?: AbortSignal): Promise<AttentionFacts>;
  /** Logits of the last token of `ids`, or of all; empties the cache. Throws what `Runner.setAttention` throws. */
  logits(ids: readonly number[], options: LogitsOptions): Promise<LogitsResult>;
  /** Debug: destroys the device; false where there is none. */
  loseDevice(): boolean;
  close(): void;
}

export interface LogitsOptions {
  rope: RopeChoice;
  /** Default flash. */
  attention?: AttentionChoice;
  all: boolean;
  signal?: AbortSignal;
}

export interface LogitsResult {
  /** One row for each returned position. */
  logits: number[][];
  /** As in AskResult. */
  keptMass?: KeptMass | undefined;
  cacheError?: CacheError | undefined;
  denseScores?: DenseScores | undefined;
  ring?: RingReport | undefined;
}

/** Opens a model folder on a backend. Throws what reading the folder and opening the backend throw. */
export async function openSession(files: ModelFiles, runtime: Runtime, options: SessionOptions): Promise<Session> {
  options.onProgress?.("reading the model", 0, 0);
  const loaded = await loadModel(files, options.signal);
  // A tokenizer that cannot be read is told before the weights are.
  const model = options.idsOnly === true ? undefined : askModelOf(loaded);
  const backend = await chooseBackend(options.backend, runtime.gpu);
  const session = new OpenSession(loaded, model, files, runtime, options);
  try {
    await session.open(backend, options.signal);
  } catch (error) {
    if (options.backend !== "auto" || backend.kind !== "wgsl" || !isDeviceTrouble(error)) throw error;
    await session.open(
      { kind: "ort", because: `WebGPU cannot hold this model (${plainError(error).message}): WASM runs instead` },
      options.signal,
      F32_CACHE,
    );
  }
  return session;
}

/** What a machine's GPU can be to blame for, and WASM is not. */
function isDeviceTrouble(error: unknown): boolean {
  return ["device-lost", "kv-cache-too-large", "limit-exceeded", "no-adapter"].includes(plainError(error).code);
}

/** Tokens that the cache holds under a choice. */
function capacityFor(runner: Runner, attention: AttentionChoice | undefined): number {
  return attention === undefined ? runner.capacityTokens : (runner.capacityFor?.(attention) ?? runner.capacityTokens);
}

/** One runner with what belongs to it. */
interface Engine {
  runner: Runner;
  held: HeldTokens;
  window: WindowChooser;
  prefixes: PrefixPlace | undefined;
  asked: AskedPrompt | undefined;
  chosen: ChosenBackend;
  lost: boolean;
}

class OpenSession implements Session {
  private engine: Engine | undefined;
  private closed = false;
  private queue: Promise<unknown> = Promise.resolve();
  private readonly measured = new RateKeeper();
  private readonly prefixes: PrefixPlace | undefined;

  constructor(
    private readonly loaded: LoadedModel,
    private readonly asking: AskModel | undefined,
    private readonly files: ModelFiles,
    private readonly runtime: Runtime,
    private readonly options: SessionOptions,
  ) {
    const { prefixes: store, weightFormat, products = "exact" } = options;
    this.prefixes = store && openPrefixPlace(store, { ...loaded, weightFormat, products });
  }

  get info(): SessionInfo {
    const { runner, chosen } = this.current();
    return {
      model: this.loaded.label,
      spec: this.loaded.spec,
      parameterCount: this.loaded.parameterCount,
      backend: chosen.kind,
      backendBecause: chosen.because,
      device: runner.device,
      weightFormat: this.options.weightFormat,
      weightBytes: weightsAsStored(this.loaded.spec, this.loaded.weights, this.options.weightFormat),
      quantizationError: runner.quantizationError,
      kv: runner.kv,
      capacityTokens: runner.capacityTokens,
      tap: runner.tap,
      ...(this.prefixes && { prefixes: prefixesOf(runner) }),
    };
  }

  /** Reads the weights onto a backend and makes it the current one. */
  async open(chosen: ChosenBackend, signal: AbortSignal | undefined, kv = this.options.kv): Promise<void> {
    const { spec } = this.loaded;
    const stage = `reading weights (${NAMES[chosen.kind]})`;
    // The store of the first opening may hold handles that are gone after a loss, so the folder is read again.
    const { weights } = this.engine ? await loadModel(this.files, signal) : this.loaded;
    const runner = await (this.options.openRunner ?? openRunner)(
      chosen.kind,
      {
        spec,
        weights,
        weightFormat: this.options.weightFormat,
        products: this.options.products,
        kv: spec.kind === "decoder" ? kv : undefined,
        capacityTokens: this.options.capacityTokens,
        signal,
        onProgress: (doneBytes, totalBytes) => this.options.onProgress?.(stage, doneBytes, totalBytes),
      },
      this.runtime,
    );
    const engine: Engine = {
      runner,
      held: new HeldTokens(runner),
      window: new WindowChooser(spec, (attention) => capacityFor(runner, attention)),
      prefixes: this.prefixes,
      asked: undefined,
      chosen,
      lost: false,
    };
    void runner.lost.then(() => (engine.lost = true));
    if (this.closed) runner.dispose();
    this.engine = engine;
  }

  ask(request: AskRequest, signal: AbortSignal, onEvent: (event: AskEvent) => void): Promise<AskResult> {
    const recovered = (because: string): void => onEvent({ type: "recovered", because });
    return this.exclusive(signal, async () => {
      checkRequest(request);
      return this.surviving(signal, recovered, () => this.attempt(request, signal, onEvent));
    });
  }

  plan(request: AskRequest, signal: AbortSignal): Promise<AskPlan> {
    return this.exclusive(signal, () => {
      checkRequest(request);
      return this.untilLost((engine) => planQuestion(this.model(), engine, request, signal));
    });
  }

  reply(request: ReplyRequest, signal: AbortSignal, onEvent: (event: AskEvent) => void): Promise<Reply> {
    const recovered = (because: string): void => onEvent({ type: "recovered", because });
    const attempt = (): Promise<Reply> =>
      this.untilLost((engine, isCurrent) =>
        replyTo(this.model(), engine, request, signal, (event) => {
          if (isCurrent()) onEvent(event);
        }),
      );
    return this.exclusive(signal, () => this.surviving(signal, recovered, attempt));
  }

  planAttention(request: AttentionTableRequest, signal: AbortSignal): Promise<AttentionTable> {
    return this.exclusive(signal, async () => {
      const { loaded, options, runtime, measured } = this;
      return attentionTable(await openModel(loaded, options, runtime, this.current().chosen.kind), request, measured, signal);
    });
  }

  async prefixesSettled(): Promise<void> {
    await this.prefixes?.settled();
  }

  get prefixStatistics(): PrefixStatistics | undefined {
    return this.prefixes?.statistics;
  }

  headFacts(queries: number, signal?: AbortSignal): Promise<AttentionFacts> {
    const none: AttentionFacts = { queries: 0, heads: [] };
    return this.exclusive(signal, () =>
      this.untilLost(async ({ runner }) => (await runner.headFacts?.(queries, signal)) ?? none),
    );
  }

  pool(request: PoolRequest, signal?: AbortSignal): Promise<PooledAttention> {
    return this.exclusive(signal, () => this.untilLost((engine) => engine.runner.pool(request, signal)));
  }

  logits(ids: readonly number[], options: LogitsOptions): Promise<LogitsResult> {
    return this.exclusive(options.signal, async () => {
      const { vocabSize } = this.loaded.spec;
      checkIds(ids, vocabSize);
      if (ids.length === 0)
        throw new EngineError("bad-argument", "no token ids were given", `give ids from 0 to ${vocabSize - 1}`);
      return this.untilLost(async (engine) => {
        const { runner, held } = engine;
        const attention = options.attention ?? WHOLE;
        const rope = resolveRope(options.rope, this.loaded.spec, ids.length, capacityFor(runner, attention), attention);
        runner.setAttention(attention);
        runner.setPositions(rope.plan);
        runner.truncate(0);
        held.start(ids, rope.plan, this.loaded.spec.kind === "decoder" ? attention : undefined);
        engine.asked = undefined;
        const flat = await runner.append(ids, { signal: options.signal, logits: options.all ? "all" : "last" });
        if (!flat) throw new EngineError("internal", "the backend returned no logits", "report it with the name of the backend");
        const rows = flat.length / vocabSize;
        return {
          logits: Array.from({ length: rows }, (_, row) => Array.from(flat.subarray(row * vocabSize, (row + 1) * vocabSize))),
          keptMass: runner.keptMass,
          cacheError: runner.cacheError,
          denseScores: runner.denseScores,
          ring: runner.ring,
        };
      });
    });
  }

  previewRope(rope: RopeChoice, signal: AbortSignal, onEvent: (event: AskEvent) => void): Promise<RopePreview> {
    return this.exclusive(signal, () => this.untilLost((engine) => previewAnswer(this.model(), engine, rope, signal, onEvent)));
  }

  checkAnswer(signal: AbortSignal, onProgress: (progress: CheckProgress) => void): Promise<AnswerCheck> {
    return this.exclusive(signal, () => this.untilLost((engine) => checkAnswer(this.model(), engine, signal, onProgress)));
  }

  perplexity(ids: readonly number[], request: PerplexityRequest): Promise<PerplexityReport> {
    return this.exclusive(request.signal, () =>
      this.untilLost((engine) => measurePerplexity(this.evaluated(engine), ids, request)),
    );
  }

  searchRope(
    request: RopeSearchRequest,
    signal: AbortSignal,
    onEvent: (event: RopeSearchEvent) => void,
  ): Promise<RopeSearchResult> {
    let { resume } = request;
    const recovered = (because: string): void => onEvent({ type: "recovered", because });
    const keep = (event: RopeSearchEvent): void => {
      if (event.type === "state") resume = event.state;
      onEvent(event);
    };
    return this.exclusive(signal, () =>
      this.surviving(signal, recovered, () =>
        this.untilLost((engine) => searchRope(this.evaluated(engine), { ...request, resume }, signal, keep)),
      ),
    );
  }

  loseDevice(): boolean {
    return this.current().runner.loseDevice();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.engine?.runner.dispose();
  }

  /** The model for an evaluation, which leaves nothing in the cache that a question could use. */
  private evaluated(engine: Engine): EvaluatedModel {
    engine.held.forget();
    engine.asked = undefined;
    // Evaluations compare positions: they read every key, whatever the last question did.
    engine.runner.setAttention(WHOLE);
    return { ...this.model(), runner: engine.runner };
  }

  private async attempt(request: AskRequest, signal: AbortSignal, onEvent: (event: AskEvent) => void): Promise<AskResult> {
    return this.untilLost(async (engine, isCurrent) => {
      const answered = await answerQuestion(this.model(), engine, request, signal, (event) => {
        if (isCurrent()) onEvent(event);
      });
      const { kind, because } = engine.chosen;
      const { device, kv } = engine.runner;
      const cached = kv && cachedFormats(kv, request.attention ?? WHOLE);
      return { ...answered, backend: kind, backendBecause: because, device, kv: cached };
    });
  }

  /** Tries again where the device is lost, on whatever is left then. */
  private async surviving<T>(signal: AbortSignal, onRecovered: (because: string) => void, attempt: () => Promise<T>): Promise<T> {
    for (let losses = 0; ; losses++) {
      try {
        return await attempt();
      } catch (error) {
        if (!EngineError.is(error, "device-lost") || losses >= MAX_LOSSES || this.closed) throw error;
        onRecovered(await this.recover(losses, signal));
      }
    }
  }

  /** Runs work on the current runner; rejects with `device-lost` as soon as its device is, even if the work never settles. */
  private async untilLost<T>(work: (engine: Engine, isCurrent: () => boolean) => Promise<T>): Promise<T> {
    const engine = this.current();
    if (engine.lost) throw deviceLost();
    let current = true;
    const lost = engine.runner.lost.then((): never => {
      throw deviceLost();
    });
    try {
      return await Promise.race([work(engine, () => current), lost]);
    } finally {
      current = false;
    }
  }

  /** Opens the same backend once more; the second time, or where that fails, WASM. Returns what happened in words. */
  private async recover(losses: number, signal: AbortSignal): Promise<string> {
    const engine = this.current();
    const { chosen } = engine;
    engine.lost = true;
    engine.runner.dispose();
    if (losses === 0) {
      try {
        await this.open(chosen, signal);
        return "the GPU device was lost: it was opened again and the work goes on";
      } catch (error) {
        throwIfAborted(signal);
        const because = `the GPU device was lost and did not open again (${plainError(error).message}): WASM runs instead`;
        await this.open({ kind: "ort", because }, signal, F32_CACHE);
        return because;
      }
    }
    const because = "the GPU device was lost twice: WASM runs instead";
    await this.open({ kind: "ort", because }, signal, F32_CACHE);
    return because;
  }

  private model(): AskModel {
    return this.asking ?? askModelOf(this.loaded);
  }

  private current(): Engine {
    if (this.closed || !this.engine) throw new EngineError("bad-argument", "the session is closed", "open the model again");
    return this.engine;
  }

  /** One call at a time, in the order they came. */
  private exclusive<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const turn = this.queue.then(() => {
      throwIfAborted(signal);
      this.current();
      return work();
    });
    this.queue = turn.catch(() => undefined);
    return turn;
  }
}

/** Losses within one question or search after which it gives up. */
const MAX_LOSSES = 2;

const NAMES: Record<BackendKind, string> = { wgsl: "WebGPU", ort: "WASM", reference: "reference" };

function checkRequest(request: AskRequest): void {
  if (request.files.length === 0) {
    throw new EngineError("empty-workspace", "there are no files to ask about", "open a folder with text files, or include some");
  }
  if (request.question.trim() === "") throw new EngineError("bad-argument", "the question is empty", "type a question");
  if (!Number.isInteger(request.maxAnswerTokens) || request.maxAnswerTokens < 1) {
    throw new EngineError("bad-argument", `an answer of ${request.maxAnswerTokens} tokens`, "allow at least one token");
  }
}

function deviceLost(): EngineError {
  return new EngineError("device-lost", "the GPU device was lost", "ask again: the model is read anew");
}
