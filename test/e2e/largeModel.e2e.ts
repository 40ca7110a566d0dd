/** A model outside of the extension with a large file: read through a port of this machine that closes with the panel. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { writeLargeModel } from "../support/largeModel.ts";
import { PlaygroundPage } from "../support/playgroundPage.ts";
import { Workbench } from "../support/workbench.ts";

/** 4 * 64 bytes each: 80 MiB. */
const vocabSize = 327_680;

describe("a large model", () => {
  let folder: string;
  let workbench: Workbench;
  const addresses = new Set<string>();

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "lcp-large-"));
    await writeLargeModel(folder, vocabSize);
    workbench = await Workbench.open("ferry", { machine: { "longContext.model.path": folder } });
    workbench.page.on("request", (request) => {
      if (/\/(model\.safetensors|config\.json)$/.test(request.url())) addresses.add(request.url());
    });
  });

  after(async () => {
    await workbench.close();
    await rm(folder, { recursive: true, force: true });
  });

  it("is opened by the panel, its weights from the port and its small files as webview resources", async () => {
    const panel = await PlaygroundPage.open(workbench);
    assert.match(await panel.part("lc-status").innerText(), /Ready/);
    const weights = [...addresses].filter((address) => address.endsWith("model.safetensors"));
    assert.equal(weights.length, 1, [...addresses].join(" "));
    // The browser-hosted VS Code makes a path of its own address of a port.
    assert.match(weights[0] ?? "", /^http:\/\/127\.0\.0\.1:\d+\/proxy\/\d+\/[\w-]{43}\/model\.safetensors$/);
    assert.ok([...addresses].some((address) => /vscode-resource.*config\.json$/.test(address)));
  });

  it("leaves no port open when the panel is closed", async () => {
    const address = [...addresses].find((candidate) => candidate.endsWith("model.safetensors")) ?? "";
    const direct = address.replace(/^http:\/\/127\.0\.0\.1:\d+\/proxy\/(\d+)\//, "http://127.0.0.1:$1/");
    const ask = () => fetch(direct, { headers: { range: "bytes=0-7" } });
    assert.equal((await ask()).status, 206);
    await workbench.runCommand("View: Close All Editors");
    await workbench.until("the port to close", 30_000, () =>
      ask().then(
        () => undefined,
        () => true,
      ),
    );
  });
});
