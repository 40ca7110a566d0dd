/**
 * Flags for the process of the token server. It makes all of its long-lived objects in its first moments: with V8's small first nursery
 * they are copied several times each, which is a third of a start from the index.
 */
export const serverFlags: readonly string[] = ["--min-semi-space-size=64"];
