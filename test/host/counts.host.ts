import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as vscode from "vscode";
import { countWithLcp, stateWhere, workspaceFolder } from "../support/extensionState.ts";

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
});
