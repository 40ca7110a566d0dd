import type { SymbolTokens } from "./requests.ts";
import type { WorkspaceCounts } from "./state.ts";

/** Symbols of a counted file as it stands in the editor; none where it cannot be outlined. Throws `aborted`. */
export async function symbolsOf(counts: WorkspaceCounts, path: string, signal: AbortSignal): Promise<SymbolTokens[]> {
  const file = counts.table.file(path);
  if (!file) return [];
  const text = counts.editors.textAt(path);
  const request = { path, absolute: file.entry.absolute, ...(text === undefined ? {} : { text }) };
  const symbols = await counts.pool.call("symbols", { file: request }, { signal, urgent: true });
  return Array.isArray(symbols) ? symbols : [];
}
