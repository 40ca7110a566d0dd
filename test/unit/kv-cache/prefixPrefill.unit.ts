/** When a long prefill takes finished pages out: early enough that a window that closes loses little, and never in the middle of a chunk. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PositionPlan } from "../../../engine/api.ts";
import type { AttentionChoice } from "../../../engine/attention/api.ts";
import type { AskEvent } from "../../../engine/generate/api.ts";
import { HeldTokens } from "../../../engine/generate/heldTokens.ts";
import { LONGEST_PIECE_TOKENS, prefill } from "../../../engine/generate/prefill.ts";
import type { PrefixPlace } from "../../../engine/generate/prefixPlace.ts";
import type { CachedPages } from "../../../engine/kv-cache/api.ts";
import { heldTokens } from "../../../engine/kv-cache/retention.ts";
import { openPrefixIndex } from "../../../engine/kv-cache/prefixIndex.ts";
import { positionPlan } from "../../../engine/position/bands.ts";
import { unrotatedLimit } from "../../../engine/position/limits.ts";
import { randomModel } from "../../support/goldenModels.ts";
import { FakeRunner } from "../../support/fakeRunner.ts";
import { MemoryPrefixes } from "../../support/memoryPrefixes.ts";

const PAGE = 256;
const flash = { policy: { kind: "flash" as const } };

/** A runner without a model whose pages hold their first token; says what was asked of it in which order. */
class PagedRunner extends FakeRunner {
  readonly log: string[] = [];
  onLength: (length: number) => void = () => undefined;
  readonly pages: CachedPages = {
    kind: "keys",
    tokensPerPage: PAGE,
    bytesPerPage: 4,
    layout: "fake",
    export: (first, count) => {
      this.log.push(`out ${first}-${first + count}`);
      return Promise.resolve(
        Array.from({ length: count }, (_, index) => new Uint8Array(Int32Array.of(this.cache[(first + index) * PAGE]).buffer)),
      );
    },
    import: (pages) => {
      for (const page of pages) {
        const [token = 0] = new Int32Array(page.slice().buffer);
        this.cache.push(...Array.from({ length: PAGE }, (_, index) => token + index));
      }
      return Promise.resolve();
    },
  };

  override append(...[ids, options]: Parameters<FakeRunner["append"]>): ReturnType<FakeRunner["append"]> {
    this.log.push(`append ${ids.length}${options?.moreFollows === true ? " and more" : ""}`);
    const onProgress = (doneTokens: number): void => {
      this.onLength(this.cache.length);
      options?.onProgress?.(doneTokens);
    };
    return super.append(ids, { ...options, onProgress });
  }
}

describe("a long prefill", () => {
  const { spec } = randomModel();
  const plan: PositionPlan = positionPlan({ kind: "none" }, spec, 10_000);
  const ids = Int32Array.from({ length: 5000 }, (_, index) => index);
  const packed = {
    ids,
    pack: { files: [], rows: [], ids, lines: () => [] },
    rope: { plan, scaling: { kind: "none" as const }, limit: unrotatedLimit(spec, false, 10_000) },
  };

  interface Run {
    prompt?: Int32Array<ArrayBuffer>;
    signal?: AbortSignal;
    onEvent?: (event: AskEvent) => void;
    attention?: AttentionChoice;
  }

  async function run(store: MemoryPrefixes, options: Run = {}) {
    const { prompt = ids, signal = new AbortController().signal, onEvent = () => undefined, attention = flash } = options;
    const runner = new PagedRunner({ vocabSize: 40, capacityTokens: 10_000 });
    const index = await openPrefixIndex(store);
    const prefixes: PrefixPlace = {
      ...{ weightFormat: "f32", products: "exact", statistics: undefined },
      open: () => Promise.resolve({ index, model: "m" }),
      settled: () => index.settled(),
    };
    const done = prefill({ held: new HeldTokens(runner), prefixes }, { ...packed, ids: prompt }, attention, signal, onEvent);
    return { runner, index, done };
  }

  it("keeps finished pages behind every piece, and tells the runner that more follows", async () => {
    const store = new MemoryPrefixes();
    const { runner, index, done } = await run(store);
    assert.deepEqual(await done, { reusedTokens: 0, restoredTokens: 0 });
    await index.settled();
    assert.deepEqual(runner.log, [
      ...["append 1024 and more", "out 0-4", "append 1024 and more", "out 4-8", "append 1024 and more", "out 8-12"],
      ...["append 1024 and more", "out 12-16", "append 904", "out 16-19"],
    ]);
    assert.deepEqual(
      store.pages,
      Array.from({ length: 19 }, (_, page) => page),
    );
  });

  it("makes no piece of a few tokens at the end", async () => {
    const { runner, done } = await run(new MemoryPrefixes(), { prompt: ids.slice(0, 1024 + 500) });
    await done;
    assert.deepEqual(runner.log, ["append 1524", "out 0-5"]);
  });

  it("leaves a prompt whole for a ring, which takes what is kept only where it is most of the prompt", async () => {
    const attention: AttentionChoice = { policy: { kind: "ring", ranks: 2, layout: "striped" } };
    const store = new MemoryPrefixes();
    const { runner, index, done } = await run(store, { attention });
    await done;
    await index.settled();
    assert.equal(runner.log[0], "append 5000");
    assert.equal(runner.log.at(-1), "out 16-19");
    const again = await run(store, { attention });
    assert.deepEqual(await again.done, { reusedTokens: 19 * PAGE, restoredTokens: 19 * PAGE });
    const other = ids.map((id, index) => (index < 2 * PAGE ? id : id + 10_000));
    const short = await run(store, { attention, prompt: other });
    assert.deepEqual(await short.done, { reusedTokens: 0, restoredTokens: 0 });
    assert.equal(short.runner.log[0], "append 5000");
  });

  it("keeps pages before a layer with a window gives them up", () => {
    const held = heldTokens({ window: 1, rotation: "main" }, { policy: { kind: "flash" } }, 1);
    assert.ok(LONGEST_PIECE_TOKENS <= held, `${held} tokens are held`);
  });

  it("restores them, says how far it is, and computes the rest alone", async () => {
    const store = new MemoryPrefixes();
    const first = await run(store);
    await first.done;
    await first.index.settled();
    const events: AskEvent[] = [];
    const { runner, done } = await run(store, { onEvent: (event) => events.push(event) });
    assert.deepEqual(await done, { reusedTokens: 19 * PAGE, restoredTokens: 19 * PAGE });
    assert.deepEqual(runner.cache, [...ids]);
    assert.deepEqual(runner.log, [`append ${5000 - 19 * PAGE}`]);
    const restoring = events.filter((event) => event.type === "prefill" && event.doneTokens < 19 * PAGE);
    assert.ok(restoring.every((event) => event.type === "prefill" && event.doneTokens === event.restoredTokens));
  });

  it("loses nothing that was finished when it is stopped", async () => {
    const store = new MemoryPrefixes();
    const controller = new AbortController();
    const { runner, index, done } = await run(store, { signal: controller.signal });
    runner.onLength = (length) => (length > 2500 ? controller.abort() : undefined);
    await assert.rejects(done, { code: "aborted" });
    await index.settled();
    assert.ok(store.pages.length >= 9, `${store.pages.length} pages`);
  });
});
