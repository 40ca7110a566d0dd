import assert from "node:assert/strict";
import { createServer } from "node:https";
import { after, before, beforeEach, describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { parseRepository, readRepository, readRepositoryText, withDetails } from "../../../extension/hub/repository.ts";
import { choicesOf, ggufVariant } from "../../../extension/hub/selection.ts";
import { hubAt, rejected } from "../../support/hubClient.ts";
import { selfSigned } from "../../support/selfSigned.ts";
import { commitOf, type HubServer, startHubServer } from "../../support/hubServer.ts";

const weights = new Uint8Array(1000).fill(7);
const folder = {
  "config.json": '{"model_type":"llama"}',
  "tokenizer.json": "{}",
  "tokenizer_config.json": "{}",
  "generation_config.json": "{}",
  "special_tokens_map.json": "{}",
  "chat_template.jinja": "x",
  "model.safetensors": weights,
  "consolidated.safetensors": weights,
  "pytorch_model.bin": weights,
  "README.md": "hello",
  ".gitattributes": "",
  "onnx/model.onnx": weights,
};

describe("what a hub says about a model", () => {
  let server: HubServer;

  before(async () => {
    server = await startHubServer({
      "org/plain": { files: folder, license: "apache-2.0", modelType: "llama", revisions: ["v1"] },
      "org/bare": { files: folder, bare: true },
      "org/gated": { files: folder, gated: "manual", token: "hf_good" },
      "org/private": { files: folder, token: "hf_good" },
    });
  });
  beforeEach(() => {
    server.faults.length = 0;
  });
  after(() => server.close());

  it("is its commit, licence, kind, and its files with sizes and checksums", async () => {
    const found = await readRepository(hubAt(server.url), "org/plain", "v1");
    assert.equal(found.commit, commitOf("org/plain"));
    assert.deepEqual(
      [found.license, found.modelType, found.gated, found.repository],
      ["apache-2.0", "llama", false, "org/plain"],
    );
    const model = found.files.find(({ name }) => name === "model.safetensors");
    assert.deepEqual([model?.sizeBytes, model?.checksum?.kind], [1000, "sha256"]);
    const config = found.files.find(({ name }) => name === "config.json");
    assert.deepEqual([config?.sizeBytes, config?.checksum?.kind], [22, "git-sha1"]);
    assert.equal(await readRepositoryText(hubAt(server.url), found, "config.json"), folder["config.json"]);
  });

  it("is completed from the headers of the files where the listing says no more than names", async () => {
    const hub = hubAt(server.url);
    const found = await readRepository(hub, "org/bare", "main");
    const listed = await readRepository(hub, "org/plain", "main");
    const before = server.requests.length;
    for (const file of found.files.slice(0, 8)) {
      assert.equal(file.checksum, undefined);
      assert.deepEqual(
        await withDetails(hub, found, file),
        listed.files.find(({ name }) => name === file.name),
      );
    }
    assert.ok(
      server.requests.slice(before).every(({ method, store }) => method === "HEAD" && !store),
      "a store knows neither size nor checksum",
    );
  });

  it("is refused without a login for gated and private models, each with what to do", async () => {
    const hub = hubAt(server.url);
    await rejected(
      readRepository(hub, "org/gated", "main"),
      "hub-refused",
      /gated/,
      /accept its licence at .*org\/gated and set a token/,
    );
    await rejected(readRepository(hub, "org/private", "main"), "hub-refused", /private or gated/, /set a token/);
    const wrong = hubAt(server.url, { token: "hf_wrong" });
    await rejected(readRepository(wrong, "org/private", "main"), "hub-refused", /does not accept the token/, /another token/);
    const found = await readRepository(wrong, "org/gated", "main");
    await rejected(readRepositoryText(wrong, found, "config.json"), "hub-refused", /gated/, /the account the token belongs to/);
    const good = hubAt(server.url, { token: "hf_good" });
    assert.equal((await readRepository(good, "org/private", "main")).files.length, Object.keys(folder).length);
  });

  it("is an error that tells a missing model from a missing revision", async () => {
    const hub = hubAt(server.url);
    await rejected(readRepository(hub, "org/none", "main"), "not-found", /no org\/none/);
    await rejected(readRepository(hub, "org/plain", "v9"), "not-found", /no such revision/, /tree\/main/);
  });

  it("is asked for again while the hub is busy, as late as it wants, and not for ever", async () => {
    const hub = hubAt(server.url);
    server.faults.push({ on: /api\/models/, times: 2, status: 429, headers: { "retry-after": "7" } });
    assert.equal((await readRepository(hub, "org/plain", "main")).license, "apache-2.0");
    assert.deepEqual(hub.waits, [7000, 7000]);
    server.faults.push({ on: /api\/models/, status: 503 });
    const before = server.requests.length;
    await rejected(readRepository(hub, "org/plain", "main"), "hub-unreachable", /problem of its own \(503\)/, /in a few minutes/);
    assert.equal(server.requests.length - before, 5);
    assert.deepEqual(hub.waits.slice(2), [1000, 2000, 4000, 8000]);
  });

  it("is given up at once where the hub wants to be left alone for minutes", async () => {
    const hub = hubAt(server.url);
    server.faults.push({ on: /api\/models/, status: 429, headers: { "retry-after": "300" } });
    await rejected(readRepository(hub, "org/plain", "main"), "hub-unreachable", /fewer requests/, /in 300 s/);
    assert.deepEqual(hub.waits, []);
  });

  it("is never asked for when the user wants no network: nothing is opened", async () => {
    const before = server.connections;
    const error = rejected(
      readRepository(hubAt(server.url, { offline: true }), "org/plain", "main"),
      "hub-offline",
      /offline/,
      /hub\.offline/,
    );
    await error;
    assert.equal(server.connections, before);
  });

  it("is an error where nobody answers, answers as something else, or never ends", async () => {
    await rejected(
      readRepository(hubAt("http://127.0.0.1:1"), "org/plain", "main"),
      "hub-unreachable",
      /ECONNREFUSED/,
      /http\.proxy/,
    );
    server.faults.push({ on: /api\/models/, bytesPerSecond: 1, times: 9 });
    await rejected(readRepository(hubAt(server.url, { idleMs: 60 }), "org/plain", "main"), "hub-unreachable", /no answer for/);
  });

  it("comes over a connection whose certificate is trusted, unless the user wants it otherwise", async () => {
    const body = JSON.stringify({ sha: "a".repeat(40), siblings: [] });
    const secure = createServer(selfSigned, (_, response) => response.end(body));
    await new Promise<void>((resolve) => secure.listen(0, "127.0.0.1", resolve));
    const address = secure.address();
    const url = `https://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
    try {
      await rejected(
        readRepository(hubAt(url), "org/plain", "main"),
        "hub-unreachable",
        /certificate .* is not trusted/,
        /http\.proxyStrictSSL/,
      );
      assert.deepEqual((await readRepository(hubAt(url, { strictSsl: false }), "org/plain", "main")).files, []);
    } finally {
      secure.close();
      secure.closeAllConnections();
    }
  });

  it("sends the token to the hub alone, and never over an open network", async () => {
    const hub = hubAt(server.url, { token: "hf_good" });
    const before = server.requests.length;
    const found = await readRepository(hub, "org/private", "main");
    await readRepositoryText(hub, found, "model.safetensors");
    const sent = server.requests.slice(before);
    assert.deepEqual(
      sent.map(({ store, authorization }) => [store, authorization]),
      [
        [false, "Bearer hf_good"],
        [false, "Bearer hf_good"],
        [true, undefined],
      ],
    );
    await rejected(
      readRepository(hubAt("http://hub.test", { token: "hf_good" }), "org/plain", "main"),
      "hub-refused",
      /not encrypted/,
    );
  });

  it("does not follow a redirect to another kind of address, or in circles", async () => {
    const hub = hubAt(server.url);
    server.faults.push({ on: /api\/models/, times: 1, status: 302, headers: { location: "file:///etc/passwd" } });
    await rejected(readRepository(hub, "org/plain", "main"), "hub-refused", /file:/);
    server.faults.push({ on: /api\/models/, times: 1, status: 302 });
    await rejected(readRepository(hub, "org/plain", "main"), "hub-refused", /to nowhere/);
    server.faults.push({ on: /api\/models/, status: 307, headers: { location: "/api/models/org/plain/revision/main" } });
    await rejected(readRepository(hub, "org/plain", "main"), "hub-unreachable", /in circles/);
  });
});

describe("an answer that is none", () => {
  const read = (value: unknown) =>
    parseRepository(typeof value === "string" ? value : JSON.stringify(value), "org/x", "main", "https://hub.test");
  const sha = "a".repeat(40);

  it("is an error that names the setting of the hub's address", () => {
    const bad = [
      "<html>",
      [],
      { siblings: [] },
      { sha: "main", siblings: [] },
      { sha },
      { sha, siblings: [{}] },
      { sha, siblings: [{ rfilename: 1 }] },
    ];
    for (const value of bad) {
      assert.throws(
        () => read(value),
        (error) => EngineError.is(error, "hub-unreachable") && /hub\.url/.test(error.remedy),
        JSON.stringify(value),
      );
    }
  });

  it("is refused as a whole when it names a file outside of the repository", () => {
    for (const rfilename of ["../../.bashrc", "/etc/passwd", "a\\..\\b", "config.json\0"])
      assert.throws(
        () => read({ sha, siblings: [{ rfilename }] }),
        (error) => EngineError.is(error, "hub-refused"),
        rfilename,
      );
  });

  it("does not make numbers or names of what is none", () => {
    const found = read({
      sha,
      id: "../x",
      gated: "auto",
      cardData: { license: ["mit", 3] },
      siblings: [{ rfilename: "a", size: -1, blobId: "zz" }],
    });
    assert.deepEqual(found, {
      repository: "org/x",
      revision: "main",
      commit: sha,
      gated: true,
      license: "mit",
      modelType: undefined,
      files: [{ name: "a", sizeBytes: undefined, checksum: undefined }],
    });
    assert.equal(read({ sha, cardData: { license: "other", license_name: "llama3" }, siblings: [] }).license, "llama3");
    assert.equal(read({ sha, tags: ["x", "license:mit"], siblings: [] }).license, "mit");
    assert.throws(
      () => read({ sha, disabled: true, siblings: [] }),
      (error) => EngineError.is(error, "hub-refused"),
    );
  });
});

describe("the files that are downloaded", () => {
  const choose = (...names: string[]) => {
    const files = names.map((name) => ({ name, sizeBytes: 1, checksum: undefined }));
    const found = {
      repository: "org/x",
      revision: "main",
      commit: "c",
      gated: false,
      license: undefined,
      modelType: undefined,
      files,
    };
    return choicesOf({ url: "https://hub.test" }, found).map(({ kind, files: chosen }) => [
      kind,
      ...chosen.map(({ name }) => name),
    ]);
  };
  const refused = (names: string[], message: RegExp): void => {
    assert.throws(
      () => choose(...names),
      (error) => EngineError.is(error, "hub-refused") && message.test(error.message) && error.remedy !== "",
    );
  };

  it("are what the engine opens: settings, tokenizer, template and one set of safetensors", () => {
    const wanted = Object.keys(folder).slice(0, 7);
    assert.deepEqual(choose(...Object.keys(folder)), [["safetensors", ...wanted]]);
    const shards = [
      "config.json",
      "model.safetensors.index.json",
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
    ];
    assert.deepEqual(choose(...shards, "consolidated.safetensors", "sub/model-00001-of-00002.safetensors"), [
      ["safetensors", ...shards],
    ]);
  });

  it("are all parts of a GGUF model that was cut up", () => {
    const parts = ["sub/a-Q8_0-00001-of-00002.gguf", "sub/a-Q8_0-00002-of-00002.gguf"];
    assert.deepEqual(choose(...parts, "a-Q4_0.gguf"), [
      ["gguf", ...parts],
      ["gguf", "a-Q4_0.gguf"],
    ]);
    assert.equal(ggufVariant("sub/a-Q8_0-00001-of-00002.gguf"), "Q8_0");
  });

  it("are one GGUF file of those there are", () => {
    assert.deepEqual(choose("a-Q4_K_M.gguf", "sub/a-Q8_0.gguf", "a-f16-00001-of-00002.gguf", "mmproj-a.gguf", "config.json"), [
      ["gguf", "a-Q4_K_M.gguf"],
      ["gguf", "sub/a-Q8_0.gguf"],
    ]);
    assert.deepEqual(["m-Q4_K_M.gguf", "m.q8_0.gguf", "m-bf16.gguf", "m-IQ4_XS.gguf", "sub/odd.gguf"].map(ggufVariant), [
      "Q4_K_M",
      "Q8_0",
      "BF16",
      "IQ4_XS",
      "odd.gguf",
    ]);
  });

  it("are none where weights are pickles, adapters, in parts or not there, each with the reason", () => {
    refused(["config.json", "pytorch_model.bin"], /pickles \(pytorch_model\.bin\), which can run code/);
    refused(["config.json", "model.pt"], /pickles/);
    refused(["adapter_config.json", "adapter_model.safetensors"], /adapter/);
    refused(["a-00001-of-00003.gguf"], /lacks parts/);
    refused(["model.safetensors"], /no config\.json/);
    refused(["config.json", "weights.safetensors"], /other files than model\.safetensors/);
    refused(["README.md"], /neither safetensors nor GGUF/);
  });
});
