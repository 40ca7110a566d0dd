/** `npm start` as a newcomer runs it, with and without a window. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";

const ferry = "test/fixtures/workspaces/ferry";

describe("npm start", () => {
  it("serves VS Code in the browser until it is interrupted", async () => {
    const start = spawn(process.execPath, ["extension/dev/start.mjs", "--browser", ferry], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise((resolve) => start.once("close", resolve));
    let url = "";
    for await (const line of createInterface({ input: start.stdout })) {
      url = /http:\/\/\S+/.exec(line)?.[0] ?? "";
      if (url !== "") break;
    }
    assert.match(decodeURIComponent(url), /\?folder=.*ferry$/);
    assert.equal((await fetch(new URL("/healthz", url))).status, 200);
    start.kill("SIGINT");
    assert.equal(await ended, 0);
    await assert.rejects(fetch(new URL("/healthz", url)), "the server is gone");
  });

  it("asks without a window", () => {
    const ask = run("ask", ferry, "Where is `retryCeiling` defined?", "--json");
    assert.equal(ask.status, 0, ask.stderr);
    const { answer, citations } = JSON.parse(ask.stdout) as {
      answer: string;
      citations: { path: string; startLine: number; verified: boolean }[];
    };
    assert.equal(answer, "export const retryCeiling = 45731;");
    assert.deepEqual(
      citations.map(({ path, startLine, verified }) => ({ path, startLine, verified })),
      [{ path: "src/net/backoff.ts", startLine: 5, verified: true }],
    );
  });

  it("says what is wrong with its arguments", () => {
    const cases = [
      { args: ["no/such/folder"], says: /no such folder/ },
      { args: ["--port", "soon"], says: /--port wants a number/ },
      { args: ["--fast"], says: /unknown option --fast/ },
    ];
    for (const { args, says } of cases) {
      const { status, stderr } = run(...args);
      assert.equal(status, 2, args.join(" "));
      assert.match(stderr, says);
    }
  });
});

function run(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ["extension/dev/start.mjs", ...args], { encoding: "utf8" });
}
