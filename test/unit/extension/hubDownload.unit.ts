import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { partPath } from "../../../extension/hub/downloadFile.ts";
import { checkRoom, type DownloadProgress, downloadModel, missingFiles } from "../../../extension/hub/downloadModel.ts";
import { withFileLock } from "../../../extension/hub/fileLock.ts";
import type { Hub } from "../../../extension/hub/hub.ts";
import { pause } from "../../../extension/hub/retry.ts";
import { type HubRepository, readRepository, withDetails } from "../../../extension/hub/repository.ts";
import { choicesOf } from "../../../extension/hub/selection.ts";
import { hubAt, rejected } from "../../support/hubClient.ts";
import { type HubServer, startHubServer } from "../../support/hubServer.ts";
import { withTempTree } from "../../support/tempTree.ts";

/** Larger than what counts as progress between two broken connections. */
const weights = Uint8Array.from({ length: 3 * 2 ** 20 + 17 }, (_, index) => (index * 31 + (index >> 9)) & 255);
const config = '{"model_type":"llama","hidden_size":4}';
const files = {
  "config.json": config,
  "tokenizer.json": '{"model":{}}',
  "model.safetensors": weights,
  "pytorch_model.bin": weights,
};
const isWeights = /\/[0-9a-f]{64}\?/;

describe("downloading a model", () => {
  let server: HubServer;

  before(async () => {
    server = await startHubServer({ "org/name": { files, license: "mit" }, "org/bare": { files, bare: true } });
  });
  beforeEach(() => {
    server.faults.length = 0;
  });
  after(() => server.close());

  /** Runs `use` in an empty folder on what the hub lists. */
  const inFolder = (use: (at: Setup) => Promise<void>, repository = "org/name") =>
    withTempTree({}, async (root) => {
      const hub = hubAt(server.url);
      const found = await readRepository(hub, repository, "main");
      const [choice] = choicesOf(hub, found);
      assert.ok(choice);
      const listed = await Promise.all(choice.files.map((file) => withDetails(hub, found, file)));
      const folder = join(root, "model");
      const weightFile = listed.find(({ name }) => name === "model.safetensors");
      assert.ok(weightFile);
      const download = (options = {}, through: Hub = hub) =>
        downloadModel(through, { repository, commit: found.commit, files: listed, folder }, options);
      await use({ hub, found, folder, part: partPath({ folder, file: weightFile, commit: found.commit }), download });
    });

  interface Setup {
    hub: ReturnType<typeof hubAt>;
    found: HubRepository;
    folder: string;
    /** Where the unfinished weights lie. */
    part: string;
    download: (options?: Parameters<typeof downloadModel>[2], through?: Hub) => Promise<void>;
  }

  const checkWhole = async (folder: string): Promise<void> => {
    assert.deepEqual((await readdir(folder)).sort(), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert.equal(await readFile(join(folder, "config.json"), "utf8"), config);
    assert.ok((await readFile(join(folder, "model.safetensors"))).equals(weights));
  };
  const rangesSince = (index: number): (string | undefined)[] =>
    server.requests.slice(index).flatMap(({ store, range }) => (store ? [range] : []));

  it("brings the files that are needed, tells how far it is, and asks for nothing twice", () =>
    inFolder(async ({ folder, download, found }) => {
      const told: DownloadProgress[] = [];
      const before = server.requests.length;
      await download({ onProgress: (progress) => told.push(progress) });
      await checkWhole(folder);
      const paths = server.requests.slice(before).map(({ path, store }) => (store ? "store" : path));
      assert.deepEqual(
        paths,
        ["tokenizer.json", "config.json", "model.safetensors"]
          .map((name) => `/org/name/resolve/${found.commit}/${name}`)
          .concat("store"),
      );
      const last = told.at(-1);
      assert.equal(last?.doneBytes, last?.totalBytes);
      assert.equal(last?.totalBytes, weights.length + config.length + 12);
      assert.ok(told.every(({ doneBytes }, index) => doneBytes >= (told[index - 1]?.doneBytes ?? 0)));
      const asked = server.requests.length;
      await download();
      assert.equal(server.requests.length, asked, "what is there is not asked for again");
    }));

  it("works with a hub that lists names only: size and checksum are those of the headers", () =>
    inFolder(async ({ folder, download }) => {
      server.faults.push({ on: isWeights, corruptAt: 5 });
      await rejected(download(), "download-damaged", /sha256/);
      server.faults.length = 0;
      await download();
      await checkWhole(folder);
    }, "org/bare"));

  it("goes on by itself where the connection breaks, from the byte it broke at", () =>
    inFolder(async ({ hub, folder, download }) => {
      const sent = 1.25 * 2 ** 20;
      server.faults.push({ on: isWeights, truncateAt: sent, times: 2 });
      const before = server.requests.length;
      await download();
      await checkWhole(folder);
      // What a broken connection still had under way is lost, so it may have come a little less far than the server sent.
      const [first, ...later] = rangesSince(before);
      assert.equal(first, undefined);
      const starts = later.map((range) => Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1]));
      assert.equal(starts.length, 2);
      for (const [index, start] of starts.entries()) {
        const gained = start - (starts[index - 1] ?? 0);
        assert.ok(gained > sent / 2 && gained <= sent, `went on from ${start}`);
      }
      assert.deepEqual(hub.waits, [1000, 1000], "each time something was gained");
    }));

  it("gives up where every connection breaks at once, keeps what has come, and resumes from there", () =>
    inFolder(async ({ folder, part, download }) => {
      server.faults.push({ on: isWeights, truncateAt: 65_536 });
      await rejected(download(), "hub-unreachable", /broke|ended after/, /what was downloaded is kept/);
      const { size } = await stat(part);
      assert.ok(size > 4 * 65_536 && size <= 5 * 65_536, `${size} bytes were kept`);
      server.faults.length = 0;
      const before = server.requests.length;
      await download();
      await checkWhole(folder);
      assert.deepEqual(rangesSince(before), [`bytes=${size}-`]);
    }));

  it("stops when it is told to, and goes on later", () =>
    inFolder(async ({ folder, part, download }) => {
      server.faults.push({ on: isWeights, bytesPerSecond: 2 * 2 ** 20 });
      const stop = new AbortController();
      const work = download({
        signal: stop.signal,
        onProgress: ({ file, doneBytes }) => {
          if (file === "model.safetensors" && doneBytes > 300_000) stop.abort();
        },
      });
      await rejected(work, "aborted", /stopped/, /resume/);
      const { size } = await stat(part);
      assert.ok(size > 200_000 && size < weights.length, `${size} bytes`);
      assert.deepEqual(
        (await missingFiles(folder, [{ name: "model.safetensors", sizeBytes: 1, checksum: undefined }])).length,
        1,
      );
      server.faults.length = 0;
      await download();
      await checkWhole(folder);
    }));

  it("stops while it waits to ask again", () =>
    inFolder(async ({ hub, download }) => {
      server.faults.push({ on: isWeights, status: 503 });
      const stop = new AbortController();
      const waiting = (ms: number, signal: AbortSignal | undefined): Promise<void> => {
        setImmediate(() => stop.abort());
        return pause(ms, signal);
      };
      await rejected(download({ signal: stop.signal }, { ...hub, sleep: waiting }), "aborted", /stopped/);
    }));

  it("starts again where the server has no ranges", () =>
    inFolder(async ({ folder, part, download }) => {
      await mkdir(folder);
      await writeFile(part, weights.subarray(0, 1000));
      server.faults.push({ on: isWeights, noRange: true });
      const before = server.requests.length;
      await download();
      await checkWhole(folder);
      assert.deepEqual(rangesSince(before), ["bytes=1000-"]);
    }));

  it("starts again where there is no such range, or the part is longer than the file", () =>
    inFolder(async ({ folder, part, download }) => {
      await mkdir(folder);
      await writeFile(part, weights.subarray(0, 1000));
      server.faults.push({ on: isWeights, noSuchRange: true, times: 1 });
      const before = server.requests.length;
      await download();
      await checkWhole(folder);
      assert.deepEqual(rangesSince(before), ["bytes=1000-", undefined]);
    }).then(() =>
      inFolder(async ({ folder, part, download }) => {
        await mkdir(folder);
        await writeFile(part, new Uint8Array(weights.length + 1));
        await download();
        await checkWhole(folder);
      }),
    ));

  it("checks a part that is as long as the file before it is taken for it", () =>
    inFolder(async ({ folder, part, download }) => {
      await mkdir(folder);
      await writeFile(part, weights);
      const before = server.requests.length;
      await download();
      await checkWhole(folder);
      assert.deepEqual(rangesSince(before), [], "it was whole already");
    }).then(() =>
      inFolder(async ({ folder, part, download }) => {
        await mkdir(folder);
        await writeFile(part, new Uint8Array(weights.length));
        const before = server.requests.length;
        await download();
        await checkWhole(folder);
        assert.deepEqual(rangesSince(before), [undefined]);
      }),
    ));

  it("starts again once where a resumed file turns out wrong: its beginning may be of another time", () =>
    inFolder(async ({ folder, part, download }) => {
      await mkdir(folder);
      await writeFile(part, new Uint8Array(1000));
      const before = server.requests.length;
      await download();
      await checkWhole(folder);
      assert.deepEqual(rangesSince(before), ["bytes=1000-", undefined]);
    }));

  it("deletes a part of an older content of the file", () =>
    inFolder(async ({ folder, download }) => {
      await mkdir(folder);
      await writeFile(join(folder, "model.safetensors.0123456789abcdef.part"), "old");
      await download();
      await checkWhole(folder);
    }));

  it("deletes a file that came with another checksum, in LFS or in git, and says so", () =>
    inFolder(async ({ folder, part, download }) => {
      server.faults.push({ on: isWeights, corruptAt: 2 * 2 ** 20 });
      await rejected(download(), "download-damaged", /model\.safetensors did not arrive with the sha256/, /something between/);
      assert.ok(!existsSync(part) && !existsSync(join(folder, "model.safetensors")));
      assert.ok(existsSync(join(folder, "config.json")), "what is right stays");
    }).then(() =>
      inFolder(async ({ folder, download }) => {
        server.faults.length = 0;
        server.faults.push({ on: /resolve\/.*config\.json/, corruptAt: 3 });
        await rejected(download(), "download-damaged", /config\.json did not arrive with the checksum/);
        assert.ok(!existsSync(join(folder, "config.json")));
      }),
    ));

  it("stops at the length the hub stated, however much is sent", () =>
    inFolder(async ({ folder, download }) => {
      server.faults.push({ on: isWeights, extraBytes: 100_000 });
      await rejected(download(), "download-damaged", /more than the 3145745 bytes/);
      assert.ok(!existsSync(join(folder, "model.safetensors")));
      server.faults.length = 0;
      await download();
      await checkWhole(folder);
    }));

  it("notices when the hub has another file or commit by now", () =>
    inFolder(async ({ download }) => {
      const changes: Record<string, string>[] = [
        { "x-linked-etag": `"${"0".repeat(64)}"` },
        { "x-linked-size": "5" },
        { "x-repo-commit": "0".repeat(40) },
      ];
      for (const headers of changes) {
        server.faults.push({ on: /resolve\/.*model\.safetensors/, headers, times: 1 });
        await rejected(download(), "download-damaged", /another model\.safetensors than it listed/, /add the model again/);
      }
    }));

  it("tells each refusal of the hub in words: gone, not allowed, busy", () =>
    inFolder(async ({ download }) => {
      const refusals = [
        {
          fault: { status: 404, headers: { "x-error-code": "EntryNotFound" } },
          code: "not-found",
          message: /no model\.safetensors of org\/name/,
        },
        { fault: { status: 401 }, code: "hub-refused", message: /without a login/ },
        {
          fault: { status: 403, headers: { "x-error-message": "no\twrite" } },
          code: "hub-refused",
          message: /refuses .*: no write$/,
        },
        { fault: { status: 403, headers: { "x-error-code": "GatedRepo" } }, code: "hub-refused", message: /gated/ },
        { fault: { status: 500 }, code: "hub-unreachable", message: /500/ },
        { fault: { status: 418 }, code: "hub-unreachable", message: /418/ },
      ] as const;
      for (const { fault, code, message } of refusals) {
        server.faults.length = 0;
        server.faults.push({ on: /resolve\/.*model\.safetensors/, ...fault });
        await rejected(download(), code, message);
      }
      server.faults.length = 0;
      server.faults.push({ on: isWeights, status: 429, headers: { "retry-after": "2" }, times: 1 });
      await download();
    }));

  it("says that the disk is full, before or while it writes", () =>
    inFolder(async ({ folder, part, download }) => {
      await mkdir(folder);
      if (existsSync("/dev/full")) {
        // Every write to this device fails as on a full disk.
        await symlink("/dev/full", part);
        await rejected(download(), "storage-failed", /disk is full/, /free some space/);
      }
      const commit = "c";
      const huge = [{ name: "model.safetensors", sizeBytes: 2 ** 60, checksum: undefined }];
      await rejected(
        checkRoom({ folder, files: huge, commit }),
        "storage-failed",
        /not enough room: .* GB are needed and .* free/,
      );
      await checkRoom({
        folder: join(folder, "not", "there"),
        files: [{ name: "x", sizeBytes: 1, checksum: undefined }],
        commit,
      });
    }));

  it("is done by one window at a time, and a window that died does not keep the others from it", () =>
    inFolder(async ({ folder, download }) => {
      const lock = join(folder, ".lock");
      await withFileLock(
        lock,
        0,
        () => new Error("busy"),
        async () => {
          await rejected(download(), "bad-argument", /another window downloads/);
        },
      );
      await writeFile(lock, "");
      const longAgo = new Date(Date.now() - 60_000);
      await utimes(lock, longAgo, longAgo);
      await download();
      await checkWhole(folder);
    }));

  it("lets who waits for a lock have it as soon as it is free", () =>
    withTempTree({}, async (folder) => {
      const order: string[] = [];
      const lock = join(folder, "deep", "lock");
      const busy = (): Error => new Error("busy");
      const first = withFileLock(lock, 0, busy, async () => {
        await sleep(120);
        order.push("first");
      });
      await sleep(20);
      await withFileLock(lock, 5000, busy, async () => void order.push("second"));
      await first;
      assert.deepEqual(order, ["first", "second"]);
      assert.ok(!existsSync(lock));
    }));
});
