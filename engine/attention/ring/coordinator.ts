/** The middle of a ring: starts its ranks, gives each its shard of a prompt, and hands on what they computed in the order of the prompt. */
import type { DecoderSpec, PositionPlan } from "../../api.ts";
import { abortedError, EngineError, throwIfAborted } from "../../errors.ts";
import { rowWords } from "../../kv-cache/format.ts";
import type { RingLayout, RingReport } from "../api.ts";
import { openAnswers } from "./answers.ts";
import type { RankOptions } from "./compute.ts";
import { floats, gatherLayers, inOrder, type RingLayer } from "./gather.ts";
import { isReport, type RankCommand, type RankReport, type RingPort } from "./messages.ts";
import { plainPlan } from "./plainPlan.ts";
import { shardsOf, type Shard } from "./schedule.ts";
import { ringReport, summedSteps, type RankStep } from "./timings.ts";

/** A worker that serves one rank, with links to its neighbours. */
export interface RankWorker {
  control: RingPort;
  /** Resolves with the reason when it ended without being told to. */
  died: Promise<EngineError>;
  /** Ends it, by force where it does not end by itself. */
  stop(): Promise<void>;
}

/** What starts ranks: worker threads in Node, web workers in the panel. */
export interface RingWorkers {
  /** Workers of one model, linked in a ring. Throws where they cannot be started. */
  start(ranks: number): Promise<readonly RankWorker[]>;
}

export interface RingRequest {
  ids: ArrayLike<number>;
  plan: PositionPlan;
  layout: RingLayout;
  /** Layers and positions whose queries are wanted, both rising. */
  tap: { layers: readonly number[]; positions: readonly number[] };
  /** Which rows of the final residual stream are wanted. */
  states: "last" | "all";
  signal?: AbortSignal | undefined;
  /** Layers come in order, one at a time; the ranks go on meanwhile. What it throws stops the ring and is thrown by `prefill`. */
  onLayer(layer: RingLayer): Promise<void>;
  /** Work done so far, in tokens of the prompt through all layers. */
  onProgress?(doneTokens: number): void;
}

export interface RingResult {
  /** [1, E] or [T, E], before the final norm. */
  states: Float32Array<ArrayBuffer>;
  report: RingReport;
}

export interface Ring {
  readonly ranks: number;
  /** Set once a rank died: another ring has to be opened. */
  readonly broken: EngineError | undefined;
  /**
   * Reads a prompt. Not re-entrant. Throws `bad-argument` for more ranks than tokens, `aborted` (nothing is kept then), and what a rank
   * throws, with its number; a rank that died has ended the ring.
   */
  prefill(request: RingRequest): Promise<RingResult>;
  close(): Promise<void>;
}

export interface OpenRingOptions extends RankOptions {
  spec: DecoderSpec;
  signal?: AbortSignal | undefined;
  /** Bytes of weights that all ranks have read, of all. */
  onProgress?(doneBytes: number, totalBytes: number): void;
}

/** Starts the ranks and lets each open the model. Throws what starting and opening throw; then none is left. */
export async function openRing(workers: RingWorkers, ranks: number, options: OpenRingOptions): Promise<Ring> {
  throwIfAborted(options.signal);
  const ring = new OpenRing(await workers.start(ranks), options);
  try {
    await ring.open();
    return ring;
  } catch (error) {
    await ring.close();
    throw error;
  }
}

class OpenRing implements Ring {
  broken: EngineError | undefined;
  /** Who hears what the ranks report, and that one of them died. */
  private listener: (rank: number, report: RankReport) => void = () => undefined;
  private onDeath: (error: EngineError) => void = () => undefined;
  private devices: readonly string[] = [];
  private lastRun = 0;
  private closing: Promise<void> | undefined;

  constructor(
    private readonly workers: readonly RankWorker[],
    private readonly options: OpenRingOptions,
  ) {
    for (const [rank, { control, died }] of workers.entries()) {
      control.listen((raw) => {
        if (isReport(raw)) this.listener(rank, raw);
      });
      void died.then((error) => {
        this.broken ??= this.ofRank(rank, error);
        this.onDeath(this.broken);
      });
    }
  }

  get ranks(): number {
    return this.workers.length;
  }

  async open(): Promise<void> {
    const { signal, weightFormat, products, kv, minimumLimits } = this.options;
    const answers = openAnswers<string>(this.ranks);
    const read = this.workers.map(() => ({ doneBytes: 0, totalBytes: 0 }));
    this.onDeath = (error) => answers.end(error);
    this.listener = (rank, report) => {
      if (report.kind === "opened") answers.value(rank, report.device);
      else if (report.kind === "failed") answers.end(this.ofRank(rank, EngineError.fromPlain(report.error)));
      else if (report.kind === "opening") {
        read[rank] = report;
        this.options.onProgress?.(
          read.reduce((sum, { doneBytes }) => sum + doneBytes, 0),
          read.reduce((sum, { totalBytes }) => sum + totalBytes, 0),
        );
      }
    };
    const stop = (): void => answers.end(abortedError());
    signal?.addEventListener("abort", stop, { once: true });
    this.post(() => ({ kind: "open", options: { weightFormat, products, kv, minimumLimits } }));
    try {
      this.devices = await answers.all;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  async prefill(request: RingRequest): Promise<RingResult> {
    const { ids, layout, signal } = request;
    throwIfAborted(signal);
    if (this.broken !== undefined) throw this.broken;
    const { ranks } = this;
    const { spec, kv } = this.options;
    const shards = shardsOf(layout, ranks, ids.length);
    const run = ++this.lastRun;
    const began = performance.now();
    const steps: RankStep[][][] = shards.map(() => []);
    const answers = openAnswers<Float32Array<ArrayBuffer>>(ranks);
    const abort = (): void => this.post(() => ({ kind: "abort", run }));
    const layers = inTurn(
      (layer: RingLayer) => request.onLayer(layer),
      (error) => {
        answers.blame(error);
        abort();
      },
    );
    const tapped = tappedRows(shards, request.tap.positions);
    const gatherer = gatherLayers(
      spec,
      kv,
      shards,
      tapped.map(({ places }) => places),
    );
    this.onDeath = (error) => answers.end(error);
    this.listener = (rank, report) => {
      if (!("run" in report) || report.run !== run) return;
      switch (report.kind) {
        case "layer": {
          steps[rank].push([...report.steps]);
          const layer = gatherer.add(rank, report);
          if (layer === undefined) return;
          layers.add(layer);
          request.onProgress?.(Math.floor((ids.length * (layer.layer + 1)) / spec.layerCount));
          return;
        }
        case "finished":
          answers.value(rank, new Float32Array(report.states));
          return;
        case "failed":
          answers.error(rank, this.ofRank(rank, EngineError.fromPlain(report.error)));
          // The others wait for keys that will not come; the ring is free again when all have said so.
          abort();
      }
    };
    signal?.addEventListener("abort", abort, { once: true });
    this.post((rank) => {
      const own = shards[rank];
      const hasLast = own.at(-1) === ids.length - 1;
      return {
        kind: "prefill",
        run,
        rank,
        shards,
        ids: Int32Array.from(own, (position) => ids[position]),
        plan: plainPlan(request.plan, own),
        tapLayers: request.tap.layers,
        tapRows: tapped[rank].rows,
        statesFrom: request.states === "all" ? 0 : hasLast ? own.length - 1 : own.length,
      };
    });
    try {
      const states = await answers.all;
      await layers.done();
      return {
        states:
          request.states === "all" ? floats(inOrder(zip(shards, states), spec.hiddenSize)) : (states.find(isFilled) ?? states[0]),
        report: ringReport(spec, (2 * (rowWords(kv.keys, spec.headDim) + rowWords(kv.values, spec.headDim))) / spec.headDim, {
          ranks,
          layout,
          tokens: ids.length,
          chunkTokens: Math.max(...shards.map(({ length }) => length)),
          totalMs: performance.now() - began,
          steps: steps.flatMap((ofRank, rank) => summedSteps(rank, ofRank)),
          devices: this.devices,
        }),
      };
    } finally {
      this.listener = () => undefined;
      this.onDeath = () => undefined;
      signal?.removeEventListener("abort", abort);
    }
  }

  close(): Promise<void> {
    this.closing ??= Promise.all(this.workers.map((worker) => worker.stop())).then(() => undefined);
    return this.closing;
  }

  private post(command: (rank: number) => RankCommand): void {
    for (const [rank, { control }] of this.workers.entries()) control.post(command(rank));
  }

  private ofRank(rank: number, error: EngineError): EngineError {
    if (error.code === "aborted") return error;
    const message = `rank ${rank} of ${this.ranks}: ${error.message}`;
    return new EngineError(error.code, message, error.remedy, { ...error.facts, rank });
  }
}

/** Work on one thing after the other; the first error ends that, is told at once, and is what `done` rejects with. */
function inTurn<T>(work: (thing: T) => Promise<void>, onError: (error: Error) => void) {
  let turn = Promise.resolve();
  let failed = false;
  return {
    add(thing: T): void {
      turn = turn.then(() => (failed ? undefined : work(thing)));
      turn.catch((error: unknown) => {
        if (!failed) onError(error instanceof Error ? error : new Error(String(error)));
        failed = true;
      });
    },
    done: () => turn,
  };
}

/** Of each shard the tokens at `positions`: rows in the shard, and places among the positions. */
function tappedRows(shards: readonly Shard[], positions: readonly number[]) {
  const placeOf = new Map(positions.map((position, place) => [position, place]));
  return shards.map((shard) => {
    const found = [...shard.entries()].flatMap(([row, position]) => {
      const place = placeOf.get(position);
      return place === undefined ? [] : [{ row, place }];
    });
    return { rows: Uint32Array.from(found, ({ row }) => row), places: Uint32Array.from(found, ({ place }) => place) };
  });
}

function isFilled(rows: Float32Array): boolean {
  return rows.length > 0;
}

function zip<A>(shards: readonly A[], parts: readonly Float32Array<ArrayBuffer>[]): [A, ArrayBuffer][] {
  return shards.map((shard, index) => [shard, parts[index].buffer]);
}
