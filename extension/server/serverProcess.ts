/** How the process of the token server is started. */
import { readdirSync } from "node:fs";

/** With this argument a counting thread is started at once, because there is no index that could make it needless. */
export const firstCountArgument = "--first-count";

/**
 * Flags of Node. The server makes all of its long-lived objects in its first moments: with V8's small first nursery they are copied several times
 * each, which is a third of a start from the index.
 */
export const serverFlags: readonly string[] = ["--min-semi-space-size=64"];

export function serverArguments(storageFolder: string): string[] {
  return hasIndex(storageFolder) ? [] : [firstCountArgument];
}

function hasIndex(storageFolder: string): boolean {
  try {
    return storageFolder !== "" && readdirSync(storageFolder).some((name) => name.endsWith(".index"));
  } catch {
    // Not made yet.
    return false;
  }
}
