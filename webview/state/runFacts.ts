/** What a run was asked with and what it took, as rows of a name and a value: the same in the panel and in the export. Pure. */
import { formatAttention } from "../../engine/attention/policy.ts";
import { formatKvFormats } from "../../engine/kv-cache/kvFormats.ts";
import { label } from "../../engine/position/limits.ts";
import type { Sampling } from "../../engine/api.ts";
import type { SavedRun } from "../protocol/panel.ts";
import { backendName, duration, exact, plural } from "./words.ts";

export type Row = readonly [name: string, value: string];

/** Model, device and options. What an older version did not keep has no row. */
export function settingRows({ result, settings }: SavedRun): Row[] {
  const { attention, kv, limit } = result;
  return [
    ...rows(settings && [["Model", settings.model]]),
    ["Backend", result.backendBecause === "" ? backendName(result) : `${backendName(result)}: ${result.backendBecause}`],
    ["Device", result.device],
    ...rows(settings && [["Weights", settings.weightFormat === "file" ? "as in the file" : settings.weightFormat]]),
    ...rows(settings && result.backend === "wgsl" && [["Products", settings.products]]),
    ["Window", `${exact(limit.tokens)} tokens (${limit.because})`],
    ["RoPE scaling", label(result.rope)],
    ...rows(attention && [["Attention", formatAttention(attention)]]),
    ...rows(kv && [["Cached keys and values", formatKvFormats(kv)]]),
    ...rows(
      settings && [
        ["Sampling", samplingText(settings.sampling)],
        ["Quotes", settings.quote === "constrained" ? "constrained to the files" : "free: the model spells"],
        ["Largest answer", plural(settings.maxAnswerTokens, "token")],
      ],
    ),
  ];
}

/** Tokens and times. */
export function costRows({ result }: SavedRun): Row[] {
  const { promptTokens, reusedTokens, restoredTokens, answerTokens, timings } = result;
  return [
    ["Prompt", plural(promptTokens, "token")],
    [
      "of them reused",
      restoredTokens > 0 ? `${exact(reusedTokens)}, ${exact(restoredTokens)} from an earlier session` : exact(reusedTokens),
    ],
    ["of them computed", exact(promptTokens - reusedTokens)],
    ["Answer", plural(answerTokens, "token")],
    ["Packing", duration(timings.packMs)],
    ["Prefill", duration(timings.prefillMs)],
    ["Decoding", duration(timings.decodeMs)],
  ];
}

function rows(some: readonly Row[] | false | undefined): readonly Row[] {
  return some === false || some === undefined ? [] : some;
}

function samplingText({ temperature, topP, seed }: Sampling): string {
  return temperature === 0
    ? "temperature 0: always the likeliest token"
    : `temperature ${temperature}, top-p ${topP}, seed ${seed}`;
}
