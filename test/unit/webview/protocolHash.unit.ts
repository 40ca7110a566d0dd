import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { it } from "node:test";

/** First 16 hex digits of the SHA-256 over the sources, line ends as LF. */
function sourcesHash(): string {
  const hash = createHash("sha256");
  for (const name of ["channel.ts", "panel.ts", "worker.ts"]) {
    hash.update(readFileSync(`webview/protocol/${name}`, "utf8").replaceAll("\r\n", "\n"));
  }
  return hash.digest("hex").slice(0, 16);
}

it("PROTOCOL.md describes the protocol sources as they are", () => {
  const stated = /worker\.ts: `([0-9a-f]+)`/.exec(readFileSync("webview/protocol/PROTOCOL.md", "utf8"))?.[1];
  assert.equal(stated, sourcesHash(), "the protocol changed: check PROTOCOL.md and PROTOCOL_VERSION, then state this hash there");
});
