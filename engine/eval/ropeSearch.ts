/** LongRoPE's search for real: factors are judged by the model's perplexity on the user's own files at the length that is searched for. */
import type { DecoderSpec, FrequencyScaling } from "../api.ts";
import { EngineError } from "../errors.ts";
import { isRecord, JsonFields, shown } from "../formats/json.ts";
import { positionPlan } from "../position/bands.ts";
import { defaultYarn } from "../position/ropeJson.ts";
import { ropeBase, rotating, trainedLength, yarnDivisors } from "../position/scaling.ts";
import {
  bestOf,
  countOf,
  divisorsOf,
  isFinished,
  parseSearchState,
  runSearch,
  searchedScaling,
  startSearch,
  stretchOf,
} from "../position/search.ts";
import type { RopeSearchEvent, RopeSearchProgress, RopeSearchRequest, RopeSearchResult, RopeSearchState } from "./api.ts";
import { documentsHash, readDocuments } from "./documents.ts";
import { type EvaluatedModel, perplexityOf, scoreTokens } from "./perplexity.ts";

/**
 * Searches until its iterations are over or the signal is aborted, which is no error: the result then holds what there is, and the state to
 * go on from; stopped before the first list was judged for, it throws `aborted`. Throws `rope-invalid` for a model without rotation, `bad-argument` for a length or a state that does not fit it,
 * `context-too-long` where the files or the cache are too small.
 */
export async function searchRope(
  model: EvaluatedModel,
  request: RopeSearchRequest,
  signal: AbortSignal,
  onEvent: (event: RopeSearchEvent) => void,
): Promise<RopeSearchResult> {
  const spec = rotating(model.spec);
  const { targetTokens, documents } = request;
  checkTarget(spec, targetTokens, documents, model.runner.capacityTokens);
  if (request.resume !== undefined) checkSame(request.resume, request, spec);
  const texts = await readDocuments({
    ...request,
    tokenizer: model.tokenizer,
    cache: model.bodies,
    documentTokens: targetTokens,
    documents,
    seed: request.options.seed,
    signal,
    onProgress: (doneTokens, totalTokens) => onEvent({ type: "reading", doneTokens, totalTokens }),
  });
  const perplexityUnder = async (scaling: FrequencyScaling, what: "plain" | "yarn" | "factors"): Promise<number> => {
    model.runner.setPositions(positionPlan(scaling, spec, targetTokens));
    const logProbabilities: number[] = [];
    for (const [index, text] of texts.entries()) {
      const onProgress = (doneTokens: number): void =>
        onEvent({
          type: "scoring",
          what,
          doneTokens: index * targetTokens + doneTokens,
          totalTokens: texts.length * targetTokens,
        });
      const scored = await scoreTokens(model.runner, spec.vocabSize, text, { signal, onProgress });
      for (const { logProbability } of scored) logProbabilities.push(logProbability);
    }
    return perplexityOf(logProbabilities);
  };

  let state = request.resume
    ? resumed(request.resume, documentsHash(texts), request.options.iterations)
    : await begun(spec, request, documentsHash(texts), perplexityUnder);
  const report = stateReporter(onEvent);
  report(state, true);
  try {
    const search = await runSearch(
      state.search,
      (divisors) => perplexityUnder(searchedScaling(spec, targetTokens, divisors), "factors"),
      {
        signal,
        onProgress: (progress) => {
          const isNewGeneration = progress.state.iteration !== state.search.iteration;
          state = { ...state, search: progress.state };
          const { perplexity } = progress.judged;
          onEvent({ type: "judged", ...progressOf(state), perplexity, best: progress.best.perplexity });
          report(state, isNewGeneration);
        },
      },
    );
    state = { ...state, search };
  } catch (error) {
    // A list that was half judged is judged anew when the search goes on.
    if (!EngineError.is(error, "aborted")) throw error;
  }
  report(state, true);
  return resultOf(spec, state);
}

/** A state that was written as JSON. Throws `bad-argument` for anything else. */
export function parseRopeSearchState(json: unknown): RopeSearchState {
  const remedy = "start the search anew";
  const bad = (what: string): EngineError => new EngineError("bad-argument", `the saved search ${what}`, remedy);
  if (!isRecord(json)) throw bad(`is ${shown(json)}, not an object`);
  const fields = new JsonFields(json, "the saved search", "bad-argument", remedy);
  const model = json["model"];
  if (!isRecord(model)) throw bad("names no model");
  const modelFields = new JsonFields(model, "the saved search's model", "bad-argument", remedy);
  return {
    model: {
      rotaryDim: modelFields.positiveInteger("rotaryDim"),
      theta: modelFields.number("theta"),
      trainedTokens: modelFields.positiveInteger("trainedTokens"),
    },
    targetTokens: fields.positiveInteger("targetTokens"),
    documents: fields.positiveInteger("documents"),
    texts: fields.string("texts"),
    plain: fields.number("plain"),
    yarn: fields.number("yarn"),
    search: parseSearchState(json["search"]),
  };
}

async function begun(
  spec: DecoderSpec,
  { targetTokens, documents, options }: RopeSearchRequest,
  texts: string,
  perplexityUnder: (scaling: FrequencyScaling, what: "plain" | "yarn") => Promise<number>,
): Promise<RopeSearchState> {
  const stretch = stretchOf(spec, targetTokens);
  const yarn = defaultYarn(stretch, trainedLength(spec));
  // YaRN's own divisors; the released search begins with their arithmetic instead of their harmonic blend.
  const search = startSearch(yarnDivisors(yarn, ropeBase(spec)), stretch, options);
  return {
    model: modelOf(spec),
    targetTokens,
    documents,
    texts,
    plain: await perplexityUnder({ kind: "none" }, "plain"),
    yarn: await perplexityUnder(yarn, "yarn"),
    search,
  };
}

const RESUME_REMEDY = "start the search anew";

/** Throws `bad-argument` for a state that was begun for something else. */
function checkSame(state: RopeSearchState, request: RopeSearchRequest, spec: DecoderSpec): void {
  const found = { ...state.model, targetTokens: state.targetTokens, documents: state.documents, ...state.search.options };
  const { targetTokens, documents, options } = request;
  const wanted = { ...modelOf(spec), targetTokens, documents, ...options, iterations: found.iterations };
  const asked = new Map<string, number>(Object.entries(wanted));
  for (const [name, value] of Object.entries(found)) {
    if (value === asked.get(name)) continue;
    const message = `the saved search was begun with ${name} ${value}, not ${asked.get(name)}`;
    throw new EngineError("bad-argument", message, RESUME_REMEDY, { name });
  }
  const lists = [...state.search.pending, ...state.search.population.map(({ steps }) => steps)];
  if (lists.every((steps) => steps.length === spec.rotaryDim / 2)) return;
  throw new EngineError("bad-argument", "the saved search has lists of another length than the model's pairs", RESUME_REMEDY);
}

/** The state, with as many iterations as are asked for now. */
function resumed(state: RopeSearchState, texts: string, iterations: number): RopeSearchState {
  if (state.texts !== texts) {
    const message = "the files are not those that the search began with, so its perplexities cannot be compared";
    throw new EngineError("bad-argument", message, RESUME_REMEDY);
  }
  return { ...state, search: { ...state.search, options: { ...state.search.options, iterations } } };
}

function modelOf(spec: DecoderSpec): RopeSearchState["model"] {
  return { rotaryDim: spec.rotaryDim, theta: spec.ropeTheta, trainedTokens: trainedLength(spec) };
}

function checkTarget(spec: DecoderSpec, targetTokens: number, documents: number, capacityTokens: number): void {
  const trained = trainedLength(spec);
  if (!Number.isSafeInteger(targetTokens) || targetTokens <= trained) {
    const message = `a search for ${targetTokens} tokens: the model was trained on ${trained.toLocaleString("en-US")}`;
    throw new EngineError("bad-argument", message, "search for a longer context than that");
  }
  if (targetTokens > capacityTokens) {
    const message = `${targetTokens.toLocaleString("en-US")} tokens do not fit the KV cache of ${capacityTokens.toLocaleString("en-US")}`;
    throw new EngineError("context-too-long", message, "search for a shorter context", { targetTokens, capacityTokens });
  }
  if (!Number.isSafeInteger(documents) || documents < 1) {
    throw new EngineError("bad-argument", `a search on ${documents} texts`, "give at least one");
  }
}

function progressOf({ plain, yarn, search }: RopeSearchState): Omit<RopeSearchProgress, "perplexity" | "best"> {
  return { generation: search.iteration, generations: search.options.iterations, ...countOf(search), plain, yarn };
}

function resultOf(spec: DecoderSpec, state: RopeSearchState): RopeSearchResult {
  const best = bestOf(state.search);
  return {
    state,
    finished: isFinished(state.search),
    best: best && {
      scaling: searchedScaling(spec, state.targetTokens, divisorsOf(best.steps, state.search.options.step)),
      perplexity: best.perplexity,
    },
    progress: progressOf(state),
  };
}

/** A whole state may have a hundred kilobytes: it is sent with every generation, and now and then within a long one. */
const STATE_MS = 30_000;

function stateReporter(onEvent: (event: RopeSearchEvent) => void): (state: RopeSearchState, must: boolean) => void {
  let last = -Infinity;
  return (state, must) => {
    const now = performance.now();
    if (!must && now - last < STATE_MS) return;
    last = now;
    onEvent({ type: "state", state });
  };
}
