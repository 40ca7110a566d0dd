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
    const budget = await settled();
    const counted = countWithLcp(workspaceFolder());
    assert.deepEqual(
      { tokens: budget.tokens, bytes: budget.bytes, files: budget.totalFiles },
      { tokens: counted.tokens, bytes: counted.bytes, files: counted.files },
    );
    assert.ok(counted.tokens > 1000, `${counted.tokens} tokens`);
    const leftOut = counted.excluded.map(({ path }) => path);
    assert.ok(leftOut.includes("ignored.log") && leftOut.includes("assets/pier.bin"), leftOut.join(" "));
  });

  it("follow an edit as it stands in the editor, its undoing, and a save", async () => {
    const path = "src/fares.ts";
    const comment = "// Fares are agreed with the islands every spring.\n";
    const { tokens: before } = await settled();
    const editor = await vscode.window.showTextDocument(vscode.Uri.file(join(workspaceFolder(), path)));
    const insert = () => editor.edit((edit) => edit.insert(new vscode.Position(0, 0), comment));
    const marked = async (): Promise<boolean> => {
      const { row } = await servedRow(path);
      return row?.marks.some(({ kind }) => kind === "unsaved") ?? false;
    };
    assert.ok(await insert());
    const { budget: unsaved } = await stateWhere("the edit", ({ budget }) => (budget?.tokens ?? 0) > before);
    assert.ok(await marked(), "the row says that it is not saved");
    assert.equal(countWithLcp(workspaceFolder()).tokens, before, "the file is as it was");
    assert.ok(await editor.edit((edit) => edit.delete(new vscode.Range(0, 0, 1, 0))));
    await stateWhere("the counts as they were", ({ budget }) => budget?.tokens === before);
    assert.equal(await marked(), false, "nothing is unsaved any more");
    assert.ok(await insert());
    assert.ok(await editor.document.save());
    await until("the saved file", 60_000, async () => ((await marked()) ? undefined : true));
    const { tokens } = await settled();
    assert.deepEqual([tokens, tokens], [unsaved?.tokens, countWithLcp(workspaceFolder()).tokens]);
  });

  it("follow a new file and its deletion", async () => {
    const path = join(workspaceFolder(), "src", "pier.ts");
    const { tokens: before } = await settled();
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
