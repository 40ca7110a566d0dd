/** What a person has of kept prefixes: asking again after a reload, an edit or a lost device computes only what changed, with the same answer. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ModelFiles, Runner, Runtime } from "../../../engine/api.ts";
import type { AskEvent, AskRequest } from "../../../engine/generate/api.ts";
import { openReferenceRunner } from "../../../engine/reference/open.ts";
import { openSession, type Session, type SessionOptions } from "../../../engine/session.ts";
import { FakeRunner } from "../../support/fakeRunner.ts";
import { memoryFiles, safetensorsFile } from "../../support/memoryFiles.ts";
import { MemoryPrefixes } from "../../support/memoryPrefixes.ts";
import { randomConfigs, randomRecurrent } from "../../support/recurrentModels.ts";
import { memoryWorkspace, tinyModelFiles, tinyTokenizerJson } from "../../support/tinyModel.ts";

const runtime: Runtime = { gpu: undefined, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };
const never = new AbortController().signal;
const ignore = () => undefined;
const PAGE = 256;
const QUESTION = "Where is limit7 defined?";

/** About a hundred tokens a file, in the order of their names. */
function contents(files = 6): Record<string, string> {
  const body = (file: number) =>
    Array.from({ length: 4 }, (_, line) => `export const limit${file * 4 + line} = ${line * 3 + file};\n`).join("");
  return Object.fromEntries(Array.from({ length: files }, (_, file) => [`src/${"abcdefghij"[file]}.ts`, body(file)]));
}

function request(files: Record<string, string>, extra: Partial<AskRequest> = {}): AskRequest {
  return {
    ...{ question: QUESTION, history: [], quote: "constrained", maxAnswerTokens: 40 },
    ...{ rope: { kind: "auto" }, attention: { policy: { kind: "flash" } }, sampling: { temperature: 0, topP: 1, seed: 1 } },
    ...memoryWorkspace(files),
    ...extra,
  };
}

function recurrentFiles(kind: "mamba" | "mamba2" | "rwkv7"): ModelFiles {
  const extra = { vocab_size: 320, eos_token_id: [0], absent_token_id: 2, prompt_format: "extractive" };
  const { tensors } = randomRecurrent(kind, extra);
  return memoryFiles({
    "config.json": JSON.stringify({ ...randomConfigs[kind], ...extra }),
    "tokenizer.json": JSON.stringify(tinyTokenizerJson),
    "model.safetensors": safetensorsFile(Object.fromEntries(tensors)),
  });
}

const models: [string, () => ModelFiles][] = [
  ["a transformer", () => tinyModelFiles()],
  ["mamba", () => recurrentFiles("mamba")],
  ["rwkv7", () => recurrentFiles("rwkv7")],
];

function open(model: ModelFiles, prefixes?: MemoryPrefixes, options: Partial<SessionOptions> = {}): Promise<Session> {
  return openSession(model, runtime, { backend: "reference", weightFormat: "f32", prefixes, ...options });
}

/** Asks in a session of its own and waits until everything is kept, as a window that is closed afterwards. */
async function askOnce(
  model: ModelFiles,
  prefixes: MemoryPrefixes | undefined,
  asked: AskRequest,
  options: Partial<SessionOptions> = {},
) {
  const session = await open(model, prefixes, options);
  const events: AskEvent[] = [];
  const plan = await session.plan(asked, never);
  const result = await session.ask(asked, never, (event) => events.push(event));
  await session.prefixesSettled();
  const statistics = session.prefixStatistics;
  session.close();
  return { plan, result, events, statistics };
}

for (const [name, model] of models) {
  describe(`prefixes that outlive a session with ${name}`, () => {
    it("are restored after a reload: the same answer, and hardly anything computed", async () => {
      const store = new MemoryPrefixes();
      const first = await askOnce(model(), store, request(contents()));
      assert.equal(first.result.reusedTokens, 0);
      assert.equal(first.plan.recomputedTokens, first.result.promptTokens);
      const whole = Math.floor((first.result.promptTokens - 1) / PAGE) * PAGE;
      assert.ok(whole >= 2 * PAGE, `${first.result.promptTokens} tokens`);

      const again = await askOnce(model(), store, request(contents()));
      assert.equal(again.result.restoredTokens, whole);
      assert.equal(again.result.reusedTokens, whole);
      assert.deepEqual(again.plan, {
        ...{ promptTokens: first.result.promptTokens, reusedTokens: whole, restoredTokens: whole },
        recomputedTokens: first.result.promptTokens - whole,
        ...{ limit: again.result.limit, rope: again.result.rope, rows: again.result.rows },
      });
      assert.equal(again.result.answer, first.result.answer);
      assert.deepEqual(again.result.citations, first.result.citations);
      const last = again.events.filter((event) => event.type === "prefill").at(-1);
      assert.deepEqual(last?.type === "prefill" && [last.doneTokens, last.restoredTokens], [first.result.promptTokens, whole]);
      assert.equal(again.statistics?.savedPages, 0, "what is kept is not written again");
    });

    it("serve exactly the pages before an edit, and the answer is that of computing everything", async () => {
      const store = new MemoryPrefixes();
      const before = await askOnce(model(), store, request(contents()));
      const edited = { ...contents(), "src/d.ts": contents()["src/d.ts"]?.replace("limit13", "limit99") ?? "" };
      const alone = await askOnce(model(), undefined, request(edited));
      const changed = before.result.packed.find(({ path }) => path === "src/d.ts");
      assert.ok(changed);
      const after = await askOnce(model(), store, request(edited));
      // The edit is a few tokens into the file's body.
      const expected = Math.floor((changed.bodyStart + 20) / PAGE) * PAGE;
      assert.equal(after.result.restoredTokens, expected);
      assert.ok(expected > 0 && expected < before.result.promptTokens - PAGE);
      assert.equal(after.plan.recomputedTokens, after.result.promptTokens - after.result.reusedTokens);
      assert.equal(after.result.answer, alone.result.answer);
      assert.deepEqual(after.result.citations, alone.result.citations);
      // Both versions are kept now: going back to the branch of before is as cheap.
      const back = await askOnce(model(), store, request(contents()));
      assert.ok(back.result.restoredTokens > expected);
      assert.equal(back.result.answer, before.result.answer);
    });
  });
}

describe("a session that keeps prefixes", () => {
  it("takes what is in the cache first, and from the store what lies beyond", async () => {
    const store = new MemoryPrefixes();
    const long = request(contents());
    await askOnce(tinyModelFiles(), store, long);
    const session = await open(tinyModelFiles(), store);
    const few = Object.fromEntries(Object.entries(contents()).slice(0, 3));
    const short = await session.ask(request(few), never, ignore);
    const plan = await session.plan(long, never);
    const result = await session.ask(long, never, ignore);
    assert.ok(short.promptTokens > PAGE && short.promptTokens < 2 * PAGE);
    assert.equal(result.reusedTokens, plan.reusedTokens);
    assert.equal(result.restoredTokens, plan.restoredTokens);
    assert.ok(result.restoredTokens > 0 && result.restoredTokens < result.reusedTokens);
    const follow = request(contents(), { history: [{ question: QUESTION, answer: result.answer }], question: "What is limit3?" });
    const next = await session.plan(follow, never);
    assert.equal(next.restoredTokens, 0, "the cache holds more than the store");
    assert.equal((await session.ask(follow, never, ignore)).reusedTokens, next.reusedTokens);
    session.close();
  });

  it("never takes those of another rotation or weight format, or of other weights", async () => {
    const store = new MemoryPrefixes();
    await askOnce(tinyModelFiles(), store, request(contents()));
    const restored = async (model: ModelFiles, extra: Partial<AskRequest>, options: Partial<SessionOptions>) =>
      (await askOnce(model, store, request(contents(), extra), options)).result.restoredTokens;
    assert.equal(await restored(tinyModelFiles(), { rope: { kind: "linear", factor: 2 } }, {}), 0);
    assert.equal(await restored(tinyModelFiles(), {}, { weightFormat: "q8_0" }), 0);
    assert.equal(await restored(tinyModelFiles({ layers: 3 }), {}, {}), 0);
    assert.ok((await restored(tinyModelFiles(), {}, {})) > 0, "and of its own as ever");
  });

  it("gives nothing of a file that was damaged, and answers as if it had never been there", async () => {
    const store = new MemoryPrefixes();
    const first = await askOnce(tinyModelFiles(), store, request(contents()));
    const file = store.page(1);
    for (const damage of [
      () => file.bytes.slice(0, 100),
      () => new Uint8Array(file.bytes.length),
      () => file.bytes.map((byte, index) => (index === 5000 ? byte ^ 16 : byte)),
    ]) {
      store.page(1).bytes = damage();
      const again = await askOnce(tinyModelFiles(), store, request(contents()));
      assert.equal(again.result.restoredTokens, PAGE);
      assert.equal(again.result.answer, first.result.answer);
      assert.equal((await askOnce(tinyModelFiles(), store, request(contents()))).result.restoredTokens, 2 * PAGE);
    }
  });

  it("keeps the pages that were finished when a prefill was stopped", async () => {
    const store = new MemoryPrefixes();
    const controller = new AbortController();
    const session = await open(tinyModelFiles(), store);
    const asking = session.ask(request(contents()), controller.signal, (event) => {
      if (event.type === "prefill" && event.doneTokens >= PAGE) controller.abort();
    });
    await assert.rejects(asking, { code: "aborted" });
    await session.prefixesSettled();
    session.close();
    const again = await askOnce(tinyModelFiles(), store, request(contents()));
    assert.ok(again.result.restoredTokens >= PAGE);
  });

  it("restores them when the device was lost in the middle of an answer", async () => {
    const store = new MemoryPrefixes();
    let opened = 0;
    const session = await open(tinyModelFiles(), store, {
      openRunner: async (_kind, options) => {
        const runner = await openReferenceRunner(options);
        return opened++ > 0 ? runner : losesAtFirstAnswer(runner);
      },
    });
    const result = await session.ask(request(contents()), never, ignore);
    assert.equal(opened, 2);
    assert.equal(result.restoredTokens, Math.floor((result.promptTokens - 1) / PAGE) * PAGE);
  });

  it("says from where on attention can be pooled", async () => {
    const store = new MemoryPrefixes();
    assert.equal((await askOnce(tinyModelFiles(), store, request(contents()))).result.attentionFrom, 0);
    const session = await open(tinyModelFiles(), store);
    const { attentionFrom, restoredTokens, promptTokens, lookedAt } = await session.ask(request(contents()), never, ignore);
    assert.equal(attentionFrom, restoredTokens);
    assert.ok(lookedAt.length > 0, "the answer's own queries are there");
    const edges = { queryEdges: Uint32Array.of(attentionFrom, promptTokens), keyEdges: Uint32Array.of(0, promptTokens) };
    assert.equal((await session.pool({ layer: "mean", head: "mean", ...edges })).cells.length, 1);
  });

  it("says where a backend cannot give its cache away, and asks nothing of the store", async () => {
    const store = new MemoryPrefixes();
    const session = await open(tinyModelFiles(), store, {
      openRunner: async (kind) => new FakeRunner({ kind, vocabSize: 320 }),
    });
    await session.ask(request(contents()), never, ignore);
    assert.equal(session.info.prefixes?.kept, false);
    assert.match(session.info.prefixes?.because ?? "", /reference/);
    assert.equal(store.lists, 0);
    assert.equal((await open(tinyModelFiles(), store)).info.prefixes?.kept, true);
    assert.equal((await open(tinyModelFiles())).info.prefixes, undefined);
  });

  it("plans without changing what the next question finds", async () => {
    const session = await open(tinyModelFiles());
    const first = await session.ask(request(contents()), never, ignore);
    const other = request({ "src/z.ts": "export const z = 1;\n" }, { rope: { kind: "linear", factor: 4 } });
    assert.equal((await session.plan(other, never)).reusedTokens, 0);
    const again = await session.plan(request(contents()), never);
    assert.ok(again.recomputedTokens <= 16, `${again.recomputedTokens} of ${first.promptTokens}`);
    const result = await session.ask(request(contents()), never, ignore);
    assert.equal(result.reusedTokens, again.reusedTokens);
    await assert.rejects(session.plan(request({}), never), { code: "empty-workspace" });
  });
});

/** The device is gone when the answer's first logits are asked for. */
function losesAtFirstAnswer(runner: Runner): Runner {
  let die: () => void = () => undefined;
  const lost = new Promise<void>((resolve) => (die = resolve));
  return new Proxy(runner, {
    get(target, name, receiver) {
      if (name === "lost") return lost;
      if (name !== "append") return Reflect.get(target, name, receiver) as unknown;
      return async (ids: number[], options: Parameters<Runner["append"]>[1]) => {
        if (options?.logits === undefined || options.logits === "none") return target.append(ids, options);
        die();
        return new Promise<never>(() => undefined);
      };
    },
  });
}
