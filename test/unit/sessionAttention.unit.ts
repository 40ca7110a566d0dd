/** How a question's attention and the cache's formats go through a session: to the runner in time, back into the result, and refused in place. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BackendKind, CacheError, Runner, RunnerOptions, Runtime } from "../../engine/api.ts";
import type { AttentionChoice, KeptMass, KvFormats } from "../../engine/attention/api.ts";
import { checkF32Cache, checkWhole, F32_CACHE, WHOLE } from "../../engine/attention/wholeOnly.ts";
import { EngineError } from "../../engine/errors.ts";
import type { AskEvent, AskRequest } from "../../engine/generate/api.ts";
import { openSession, type Session } from "../../engine/session.ts";
import { FakeRunner } from "../support/fakeRunner.ts";
import { memoryWorkspace, tinyModelFiles } from "../support/tinyModel.ts";

const runtime: Runtime = { gpu: undefined, ortWasm: () => Promise.reject(new Error("not here")), ortThreads: 1 };
const never = new AbortController().signal;
const ignore = () => undefined;
const sinks: AttentionChoice = { policy: { kind: "sinks", sinks: 4, window: 64 } };
const q8: KvFormats = { keys: "q8", values: "f16" };

function request(attention: AttentionChoice): AskRequest {
  const { files, readFile } = memoryWorkspace({ "a.ts": "export const limit = 3;\n".repeat(8) });
  const settings = { rope: { kind: "model" }, attention, sampling: { temperature: 0, topP: 1, seed: 1 }, quote: "free" } as const;
  return { question: "Where is limit?", files, readFile, history: [], ...settings, maxAnswerTokens: 4 };
}

/** The tokens of the tiny model that have a text: a runner without weights draws from these only. */
const WITH_TEXT = 266;

/** A runner that attends as it is told, and has something to say of it. */
class TellingRunner extends FakeRunner {
  readonly cacheError: CacheError = { keys: 0.01, values: 0.001 };

  constructor(
    kind: BackendKind,
    readonly kv: KvFormats,
    loseAtSample?: number,
  ) {
    super({ kind, vocabSize: WITH_TEXT, ...(loseAtSample === undefined ? {} : { loseAtSample }) });
  }

  get keptMass(): KeptMass | undefined {
    return this.attention.policy.kind === "sinks" ? { mean: 0.9, least: 0.5, queries: 8, heads: 4 } : undefined;
  }
}

interface Opened {
  session: Session;
  runners: FakeRunner[];
  options: RunnerOptions[];
}

async function open(kv?: KvFormats, make = (kind: BackendKind) => new TellingRunner(kind, kv ?? F32_CACHE)): Promise<Opened> {
  const runners: FakeRunner[] = [];
  const options: RunnerOptions[] = [];
  const session = await openSession(tinyModelFiles({}), runtime, {
    backend: "reference",
    weightFormat: "f32",
    ...(kv === undefined ? {} : { kv }),
    openRunner: async (kind, given): Promise<Runner> => {
      options.push(given);
      const runner = make(kind);
      runners.push(runner);
      return runner;
    },
  });
  return { session, runners, options };
}

describe("the attention of a question", () => {
  it("is set before the prompt is read, and the result says it with what it kept", async () => {
    const { session, runners } = await open();
    const seen: AttentionChoice[] = [];
    const result = await session.ask(request(sinks), never, (event: AskEvent) => {
      if (event.type === "prefill") seen.push(runners[0].attention);
    });
    assert.ok(seen.length > 0 && seen.every((choice) => choice === sinks));
    assert.deepEqual(result.attention, sinks);
    assert.deepEqual(result.keptMass, { mean: 0.9, least: 0.5, queries: 8, heads: 4 });
    assert.deepEqual(result.cacheError, { keys: 0.01, values: 0.001 });
  });

  it("says what the prompt kept, not what the answer's tokens did, but where only those choose pages", async () => {
    class CountingRunner extends TellingRunner {
      override get keptMass(): KeptMass {
        return { mean: 0.9, least: 0.5, queries: this.length, heads: 4 };
      }
    }
    const { session } = await open(undefined, (kind) => new CountingRunner(kind, F32_CACHE));
    const result = await session.ask(request(sinks), never, ignore);
    assert.equal(result.keptMass?.queries, result.promptTokens);
    const pages = await session.ask(request({ policy: { kind: "flash" }, topPages: 4 }), never, ignore);
    assert.ok((pages.keptMass?.queries ?? 0) > pages.promptTokens);
  });

  it("keeps what is cached while it stays the same", async () => {
    const { session } = await open();
    await session.ask(request(sinks), never, ignore);
    assert.ok((await session.ask(request(sinks), never, ignore)).reusedTokens > 0);
    const whole = await session.ask(request(WHOLE), never, ignore);
    assert.deepEqual([whole.reusedTokens, whole.keptMass], [0, undefined]);
  });

  it("does not reach evaluations and logits, which read every key unless told", async () => {
    const { session, runners } = await open();
    const [runner] = runners;
    await session.ask(request(sinks), never, ignore);
    await session.perplexity([5, 6, 7], { rope: { kind: "model" } });
    assert.deepEqual(runner.attention, WHOLE);
    const { keptMass, cacheError } = await session.logits([5, 6], { rope: { kind: "model" }, attention: sinks, all: false });
    assert.deepEqual([runner.attention, keptMass?.least, cacheError?.keys], [sinks, 0.5, 0.01]);
    await session.logits([5, 6], { rope: { kind: "model" }, all: false });
    assert.deepEqual(runner.attention, WHOLE);
  });

  it("that a backend cannot do is refused with a remedy, before a file is read", async () => {
    const { session } = await open(undefined, (kind) => {
      const runner = new TellingRunner(kind, F32_CACHE);
      runner.setAttention = (choice) => checkWhole(choice, "WASM");
      return runner;
    });
    const events: AskEvent[] = [];
    await assert.rejects(
      session.ask(request(sinks), never, (event) => events.push(event)),
      (error) => EngineError.is(error, "bad-argument") && /sinks.*WASM/.test(error.message) && /flash/.test(error.remedy),
    );
    assert.deepEqual(events, []);
    assert.equal((await session.ask(request(WHOLE), never, ignore)).stoppedBy !== "user", true);
    assert.throws(() => checkWhole({ policy: { kind: "flash" }, topPages: 8 }, "WASM"), /top pages/);
  });
});

describe("formats of cached keys and values", () => {
  it("go to the runner, and information and results say what it has", async () => {
    const { session, options } = await open(q8);
    assert.deepEqual(options[0].kv, q8);
    assert.deepEqual(session.info.kv, q8);
    assert.deepEqual((await session.ask(request(WHOLE), never, ignore)).kv, q8);
  });

  it("are f32 on WASM after a loss, and the result says so", async () => {
    const { session, options } = await open(q8, (kind) =>
      kind === "ort" ? new TellingRunner(kind, F32_CACHE) : new TellingRunner(kind, q8, 0),
    );
    const result = await session.ask(request(WHOLE), never, ignore);
    assert.deepEqual(
      options.map(({ kv }) => kv?.keys),
      ["q8", "q8", "f32"],
    );
    assert.deepEqual([result.backend, result.kv], ["ort", F32_CACHE]);
  });

  it("that a backend does not have are refused with a remedy", () => {
    checkF32Cache(undefined, "WASM");
    checkF32Cache(F32_CACHE, "WASM");
    assert.throws(
      () => checkF32Cache({ keys: "f32", values: "q4" }, "WASM"),
      (error) => EngineError.is(error, "bad-argument") && /WASM/.test(error.message) && /f32/.test(error.remedy),
    );
  });
});
