import type { BackendChoice } from "../engine/api.ts";

/** Ids of all settings; the manifest declares the same, a test compares them. */
export const settingIds = {
  modelPath: "longContext.model.path",
  hubUrl: "longContext.hub.url",
  hubOffline: "longContext.hub.offline",
  backend: "longContext.backend",
  attention: "longContext.attention",
  kv: "longContext.kv",
  coldPrefixSeconds: "longContext.ask.coldPrefixSeconds",
  tokenizer: "longContext.tokenizer",
  tokenizerPath: "longContext.tokenizerPath",
  window: "longContext.window",
  reserve: "longContext.reserve",
  include: "longContext.include",
  maxFileKiB: "longContext.maxFileKiB",
  gitCommits: "longContext.gitCommits",
  badges: "longContext.badges",
  codeLens: "longContext.codeLens",
  findings: "longContext.findings",
  prices: "longContext.prices",
  prefixCacheMaxGiB: "longContext.prefixCache.maxGiB",
} as const;

/** What longContext.backend may be; the reference backend is a specification, not something to work with. */
export const backendSettings = ["auto", "wgsl", "ort"] as const satisfies readonly BackendChoice[];

/** What longContext.tokenizer may be: the loaded model's own, or a vocabulary that comes with the extension. */
export const tokenizerSettings = ["model", "o200k", "cl100k"] as const;
export type TokenizerSetting = (typeof tokenizerSettings)[number];

/** What the manifest declares as defaults, for who counts without an editor; a test compares them. */
export const settingDefaults = {
  window: 128_000,
  reserve: 8_000,
  maxFileKiB: 1024,
  gitCommits: 20,
  hubUrl: "https://huggingface.co",
  hubOffline: false,
  attention: "flash",
  kv: "f32",
  prefixCacheMaxGiB: 4,
  coldPrefixSeconds: 60,
} as const;

export function isBackendSetting(value: string): value is (typeof backendSettings)[number] {
  return backendSettings.some((known) => known === value);
}

export function isTokenizerSetting(value: unknown): value is TokenizerSetting {
  return tokenizerSettings.some((known) => known === value);
}
