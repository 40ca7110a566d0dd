import type { BackendChoice } from "../engine/api.ts";

/** Ids of all settings; the manifest declares the same, a test compares them. */
export const settingIds = {
  modelPath: "longContext.model.path",
  backend: "longContext.backend",
} as const;

/** What longContext.backend may be; the reference backend is a specification, not something to work with. */
export const backendSettings = ["auto", "wgsl", "ort"] as const satisfies readonly BackendChoice[];

export function isBackendSetting(value: string): value is (typeof backendSettings)[number] {
  return backendSettings.some((known) => known === value);
}
