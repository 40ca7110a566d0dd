/**
 * One rank of a ring: a worker with a device and all weights of its own. Of each layer it makes queries, keys and values of its tokens, then
 * meets one block of keys after the other; each block is sent on before its attention is waited for, so that passing hides behind it.
 */
import { abortedError, EngineError, plainError, throwIfAborted } from "../../errors.ts";
import { linkFrom, linkTo, neededRows, putRows, takeRows, type NeededRows } from "./before.ts";
import type { KeyBlock, OpenRank, RankCompute } from "./compute.ts";
import { openInbox, type Arrived, type Inbox } from "./inbox.ts";
import { buffersOf, isCommand, type LinkMessage, type RankCommand, type RankPorts, type RankReport } from "./messages.ts";
import { planOf } from "./plainPlan.ts";
import { blockOwner } from "./schedule.ts";
import { wallMs, type RankStep } from "./timings.ts";

type PrefillCommand = Extract<RankCommand, { kind: "prefill" }>;

/** Serves one rank until it is told to close; then its device is given back. Errors are reported, never thrown. */
export function serveRank(ports: RankPorts, open: OpenRank): Promise<void> {
  const inboxes = { next: openInbox(ports.next), previous: openInbox(ports.previous) };
  const life = new AbortController();
  let compute: RankCompute | undefined;
  let running: { run: number; stop: AbortController; ended: Promise<void> } | undefined;
  const report = (message: RankReport, transfer: readonly ArrayBuffer[] = []): void => ports.control.post(message, transfer);

  async function opened({ options }: Extract<RankCommand, { kind: "open" }>): Promise<void> {
    try {
      const made = await open(options, life.signal, (doneBytes, totalBytes) =>
        report({ kind: "opening", doneBytes, totalBytes }),
      );
      if (life.signal.aborted) {
        made.dispose();
        return;
      }
      compute = made;
      report({ kind: "opened", device: made.device });
    } catch (error) {
      report({ kind: "failed", error: plainError(error) });
    }
  }

  async function prefilled(command: PrefillCommand, signal: AbortSignal): Promise<void> {
    const { run } = command;
    try {
      if (compute === undefined) throw new EngineError("internal", "the rank has no model yet", "report this");
      for (const inbox of Object.values(inboxes)) inbox.begin(run);
      const states = await runLayers(
        { rank: command.rank, ranks: command.shards.length, ports, inboxes, compute, report, signal },
        command,
      );
      report({ kind: "finished", run, states: states.buffer }, [states.buffer]);
    } catch (error) {
      report({ kind: "failed", run, error: plainError(error) });
    } finally {
      compute?.end();
    }
  }

  function stop(): void {
    running?.stop.abort();
    for (const inbox of Object.values(inboxes)) inbox.fail(abortedError());
  }

  return new Promise((resolve) => {
    ports.control.listen((command) => {
      if (!isCommand(command)) return;
      switch (command.kind) {
        case "open":
          void opened(command);
          return;
        case "prefill": {
          const controller = new AbortController();
          running = { run: command.run, stop: controller, ended: prefilled(command, controller.signal) };
          return;
        }
        case "abort":
          if (running?.run === command.run) stop();
          return;
        case "close":
          life.abort();
          stop();
          // A device must not go while a command is being recorded for it.
          void (running?.ended ?? Promise.resolve()).then(() => {
            compute?.dispose();
            for (const port of [ports.control, ports.next, ports.previous]) port.close();
            resolve();
          });
      }
    });
  });
}

interface Rank {
  rank: number;
  ranks: number;
  ports: RankPorts;
  inboxes: { next: Inbox; previous: Inbox };
  compute: RankCompute;
  signal: AbortSignal;
  report(message: RankReport, transfer?: readonly ArrayBuffer[]): void;
}

/** All layers of one prompt; resolves with the wanted rows of the final residual stream. */
async function runLayers(rank: Rank, command: PrefillCommand): Promise<Float32Array<ArrayBuffer>> {
  const { compute, signal } = rank;
  const { run, shards, ids, plan, tapRows } = command;
  const own = shards[rank.rank];
  await compute.begin({ rank: rank.rank, shards, ids, plan: planOf(plan, own), tapRows });
  const needs = compute.spec.keyShift ? shards.map((_, other) => neededRows(shards, other)) : [];
  for (let layer = 0; layer < compute.spec.layerCount; layer++) {
    throwIfAborted(signal);
    const rawKeys = await compute.project(layer);
    const before = rawKeys && (await exchangeBefore(rank, run, layer, rawKeys, needs));
    const { steps, block, owner } = await meetBlocks(rank, run, layer, await compute.ownBlock(layer, before));
    const tapped = await compute.finish(layer, command.tapLayers.includes(layer));
    const { keys, values } = compute.rows(block, shards[owner].length);
    const tap = tapped && { queries: tapped.queries.map(({ buffer }) => buffer), lse: tapped.lse.buffer };
    const buffers = { keys: keys.map(({ buffer }) => buffer), values: values.buffer, rawKeys: rawKeys?.buffer };
    const transfer = [...buffers.keys, buffers.values, ...present(buffers.rawKeys), ...(tap ? [...tap.queries, tap.lse] : [])];
    rank.report({ kind: "layer", run, layer, owner, ...buffers, tap, steps }, transfer);
  }
  return compute.states(command.statesFrom);
}

/** The P steps of one layer; the block that is held at the end goes no further. */
async function meetBlocks(
  rank: Rank,
  run: number,
  layer: number,
  own: KeyBlock,
): Promise<{ steps: RankStep[]; block: KeyBlock; owner: number }> {
  const { ranks, compute, inboxes } = rank;
  const steps: RankStep[] = [];
  let block = own;
  let owner = rank.rank;
  let came = { bytes: 0, transferMs: 0, waitedMs: 0 };
  for (let step = 0; step < ranks; step++) {
    throwIfAborted(rank.signal);
    owner = blockOwner(rank.rank, step, ranks);
    if (step > 0) compute.hold(owner, block);
    const isLast = step === ranks - 1;
    if (!isLast) send(rank, "next", { kind: "block", run, layer, step: step + 1, sentAt: wallMs(), block }, buffersOf(block));
    const beganMs = wallMs();
    const attending = compute.attend(layer, step, owner).then((pairs) => ({ pairs, atMs: wallMs() }));
    const arriving = isLast ? undefined : inboxes.previous.take("block", layer, step + 1);
    const [attended, arrived] = await Promise.all([attending, arriving]);
    steps.push({ step, owner, pairs: attended.pairs, ...came, computeMs: attended.atMs - beganMs });
    if (arrived?.message.kind === "block") {
      block = arrived.message.block;
      came = {
        bytes: buffersOf(block).reduce((sum, { byteLength }) => sum + byteLength, 0),
        transferMs: Math.max(0, arrived.atMs - arrived.message.sentAt),
        waitedMs: Math.max(0, arrived.atMs - attended.atMs),
      };
    }
  }
  return { steps, block, owner };
}

/** Raw keys [n, G, D] in front of own tokens: own ones, and those that neighbours send; zeros in front of the prompt. */
async function exchangeBefore(
  rank: Rank,
  run: number,
  layer: number,
  rawKeys: Float32Array,
  needs: readonly (readonly NeededRows[])[],
): Promise<Float32Array<ArrayBuffer>> {
  const { ranks, compute, inboxes } = rank;
  const width = compute.spec.kvHeadCount * compute.spec.headDim;
  for (const [other, needed] of needs.entries()) {
    const mine = needed.find(({ from }) => from === rank.rank);
    if (mine === undefined || other === rank.rank) continue;
    const rows = takeRows(rawKeys, mine.rows, width).buffer;
    send(rank, linkTo(rank.rank, other, ranks), { kind: "rows", run, layer, step: 0, sentAt: wallMs(), rows }, [rows]);
  }
  const before = new Float32Array(rawKeys.length);
  for (const { from, rows, into } of needs[rank.rank] ?? []) {
    if (from === rank.rank) putRows(before, takeRows(rawKeys, rows, width), into, width);
    else putRows(before, rowsOf(await inboxes[linkFrom(rank.rank, from, ranks)].take("rows", layer, 0)), into, width);
  }
  return before;
}

function rowsOf({ message }: Arrived): Float32Array {
  if (message.kind !== "rows") throw new RangeError("a block came where rows were asked for");
  return new Float32Array(message.rows);
}

function send({ ports }: Rank, link: "next" | "previous", message: LinkMessage, transfer: readonly ArrayBuffer[]): void {
  ports[link].post(message, transfer);
}

function present<T>(value: T | undefined): T[] {
  return value === undefined ? [] : [value];
}
