import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import { commandIds } from "../../extension/commandIds.ts";
import { servedRow, settled } from "../support/budgetSource.ts";
import { countWithLcp, stateWhere, workspaceFolder } from "../support/extensionState.ts";
import { until } from "../support/until.ts";

describe("token counts", () => {
  it("are those of lcp count, without ignored and binary files", async () => {
    const { budget } = await stateWhere("the first count", (state) => state.budget?.state === "ready");
    const counted = countWithLcp(workspaceFolder());
    assert.ok(budget);
    assert.deepEqual(
      { tokens: budget.tokens, bytes: budget.bytes, files: budget.totalFiles },
      { tokens: counted.tokens, bytes: counted.bytes, files: counted.files },
    );
    assert.ok(counted.tokens > 1000, `${counted.tokens} tokens`);
    const leftOut = counted.excluded.map(({ path }) => path);
    assert.ok(leftOut.includes("ignored.log") && leftOut.includes("assets/pier.bin"), leftOut.join(" "));
  });

  it("follow a save", async () => {
    const path = join(workspaceFolder(), "src", "fares.ts");
    const before = (await stateWhere("a count", (state) => state.budget?.state === "ready")).budget?.tokens ?? 0;
    const editor = await vscode.window.showTextDocument(vscode.Uri.file(path));
    await editor.edit((edit) => edit.insert(new vscode.Position(0, 0), "// Fares are agreed with the islands every spring.\n"));
    assert.equal(
      (await stateWhere("a count", (state) => state.budget?.state === "ready")).budget?.tokens,
      before,
      "an unsaved edit does not count",
    );
    assert.ok(await editor.document.save());
    await stateWhere("the count of the saved file", ({ budget }) => budget?.state === "ready" && budget.tokens > before);
    const { budget } = await stateWhere("the end of counting", (state) => state.budget?.state === "ready");
    assert.equal(budget?.tokens, countWithLcp(workspaceFolder()).tokens);
  });

  it("follow a new file and its deletion", async () => {
    const path = join(workspaceFolder(), "src", "pier.ts");
    const before = (await stateWhere("a count", (state) => state.budget?.state === "ready")).budget?.tokens ?? 0;
    writeFileSync(path, "export const pierCount = 7;\n");
    await stateWhere("the count with the new file", ({ budget }) => budget?.state === "ready" && budget.tokens > before);
    rmSync(path);
    await stateWhere("the count without it", ({ budget }) => budget?.state === "ready" && budget.tokens === before);
  });

  it("and levels survive the death of their server, which is started again", async () => {
    await vscode.commands.executeCommand(commandIds.exclude, "tools/");
    await stateWhere("the level", ({ budget }) => budget !== undefined && budget.packTokens < budget.tokens);
    const { tokens, packTokens, revision } = await settled();
    assert.ok(packTokens < tokens, `${packTokens} of ${tokens}`);
    const [killed, ...others] = serverProcesses();
    assert.ok(killed !== undefined && others.length === 0, `servers: ${[killed, ...others].join(" ")}`);
    process.kill(killed, "SIGKILL");
    await stateWhere("the counts as they were", ({ budget }) =>
      Boolean(
        budget &&
        budget.revision > revision &&
        budget.state === "ready" &&
        budget.tokens === tokens &&
        budget.packTokens === packTokens,
      ),
    );
    assert.notDeepEqual(serverProcesses(), [killed]);
    assert.equal((await servedRow("tools/")).row?.level, "excluded");
    await vscode.commands.executeCommand(commandIds.resetLevel, "");
    await settled();
  });

  it("say so when the server dies again and again, and come back by a recount", async () => {
    const { tokens } = await settled();
    for (let deaths = 0; deaths < 10; deaths++) {
      const { budget } = await stateWhere(
        "a server, or none any more",
        ({ budget }) => budget?.state === "failed" || serverProcesses().length === 1,
      );
      if (budget?.state === "failed") break;
      const killed = serverProcesses();
      for (const server of killed) process.kill(server, "SIGKILL");
      // The next one may be there before anybody has looked.
      await until("its end", 30_000, async () =>
        serverProcesses().some((server) => killed.includes(server)) ? undefined : true,
      );
    }
    const { budget } = await stateWhere("the failure", (state) => state.budget?.state === "failed");
    assert.match(budget?.error?.message ?? "", /stopped several times/);
    await vscode.commands.executeCommand(commandIds.recount);
    await stateWhere("the counts as they were", (state) => state.budget?.state === "ready" && state.budget.tokens === tokens);
  });
});

/** Token servers that this extension host has started. */
function serverProcesses(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((id) => {
      const [status, commandLine] = [readProcess(id, "stat"), readProcess(id, "cmdline")];
      // Behind the name in parentheses stand the state and the parent.
      const [state, parent] = status.slice(status.lastIndexOf(")") + 2).split(" ");
      return Number(parent) === process.pid && state !== "Z" && commandLine.includes("/dist/server.js");
    });
}

/** Empty for a process that has ended meanwhile. */
function readProcess(id: number, file: string): string {
  try {
    return readFileSync(`/proc/${id}/${file}`, "utf8");
  } catch (error) {
    if (error instanceof Error && /ENOENT|ESRCH/.test(error.message)) return "";
    throw error;
  }
}
