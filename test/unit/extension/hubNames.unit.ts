import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { test } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { checksumOf, checksumOfEtag, startHash } from "../../../extension/hub/checksum.ts";
import { retryAfterMs } from "../../../extension/hub/failures.ts";
import { checkFileName, storedPath } from "../../../extension/hub/fileName.ts";
import { folderName, parseRepositoryId, repositoryOfFolder } from "../../../extension/hub/repositoryId.ts";
import { Speed } from "../../../extension/hub/speed.ts";
import { bytesText, leftText, speedText } from "../../../extension/hub/words.ts";

const hub = "https://hub.test";

test("a model is named as people have it: by id, with a revision, or by the address of its page", () => {
  const read = (text: string) => parseRepositoryId(text, hub);
  assert.deepEqual(read(" org/name "), { repository: "org/name", revision: "main", file: undefined });
  assert.deepEqual(read("gpt2"), { repository: "gpt2", revision: "main", file: undefined });
  assert.deepEqual(read("Org-1/Na.me_2@refs/pr/3"), { repository: "Org-1/Na.me_2", revision: "refs/pr/3", file: undefined });
  assert.deepEqual(read(`${hub}/org/name`), { repository: "org/name", revision: "main", file: undefined });
  assert.deepEqual(read(`${hub}/org/name/tree/v1.0?x=1`), { repository: "org/name", revision: "v1.0", file: undefined });
  const page = `${hub}/org/name/blob/main/sub/model%20Q4.gguf#top`;
  assert.deepEqual(read(page), { repository: "org/name", revision: "main", file: "sub/model Q4.gguf" });
});

test("what is no name of a model is refused, with how to write it", () => {
  const bad = [
    "",
    "org/",
    "/name",
    "org/na me",
    "org/name/more",
    "../name",
    "org/..",
    "a--b/c",
    "org/name.git",
    "org/name@",
    "org/name@../x",
  ];
  for (const text of [...bad, "org/name@a@b", "org/name@-x", "https://other.test/org/name", `${hub}/org/name/tree/%zz`]) {
    assert.throws(
      () => parseRepositoryId(text, hub),
      (error) => EngineError.is(error, "bad-argument") && /org\/name/.test(error.remedy),
      text,
    );
  }
});

test("a folder of the store says which model it holds", () => {
  assert.equal(folderName("org/name"), "org--name");
  assert.equal(repositoryOfFolder("org--name"), "org/name");
  for (const name of ["name", "a--b--c", "org--", "org--na me"]) assert.equal(repositoryOfFolder(name), undefined, name);
});

test("no name that a server sends becomes a path outside of the model's folder", () => {
  const outside = [
    "../x",
    "a/../../x",
    "..",
    ".",
    "a/./b",
    "/etc/passwd",
    "C:/x",
    "c:x",
    "a\\b",
    "..\\x",
    "a\0.json",
    "a\nb",
    "",
    "a//b",
    "a/",
  ];
  for (const name of outside)
    assert.throws(
      () => checkFileName(name),
      (error) => EngineError.is(error, "hub-refused"),
      name,
    );
  const unstorable = ["con", "NUL.json", "a/aux.txt", "a:b", "x?", "x.", "x ", `${"n".repeat(256)}.json`];
  for (const name of unstorable) {
    checkFileName(name.replace("a:b", "ab"));
    assert.throws(
      () => storedPath("/models/x", name),
      (error) => EngineError.is(error, "hub-refused"),
      name,
    );
  }
  assert.equal(storedPath("/models/x", "sub/model-Q4.gguf"), join("/models/x", "sub", "model-Q4.gguf"));
});

test("checksums are read from hexadecimal and from ETags, and hash as git and LFS do", () => {
  const sha = "a".repeat(64);
  assert.deepEqual(checksumOf(sha.toUpperCase()), { kind: "sha256", hex: sha });
  assert.deepEqual(checksumOfEtag(`W/"${"b".repeat(40)}"`), { kind: "git-sha1", hex: "b".repeat(40) });
  for (const etag of [undefined, '"abc"', '"store-1"', `"${sha}-2"`]) assert.equal(checksumOfEtag(etag), undefined);
  // git hash-object of "hello\n".
  assert.equal(startHash("git-sha1", 6).update("hello\n").digest("hex"), "ce013625030ba8dba906f756967f9e9ca394464a");
  assert.equal(startHash("sha256", 6).update("hello\n").digest("hex"), createHash("sha256").update("hello\n").digest("hex"));
});

test("Retry-After is seconds or a date", () => {
  assert.equal(retryAfterMs({ "retry-after": "7" }), 7000);
  assert.equal(retryAfterMs({ "retry-after": "Thu, 01 Jan 2026 00:00:30 GMT" }, Date.UTC(2026, 0, 1)), 30_000);
  assert.equal(retryAfterMs({ "retry-after": "Thu, 01 Jan 2026 00:00:30 GMT" }, Date.UTC(2026, 0, 2)), 0);
  for (const header of ["", "soon"]) assert.equal(retryAfterMs({ "retry-after": header }), undefined, header);
});

test("sizes, speeds and times read well", () => {
  assert.deepEqual([0, 812, 7_940_000, 1_250_000_000, 12_300, 999, 1_000_000].map(bytesText), [
    "0 B",
    "812 B",
    "7.94 MB",
    "1.25 GB",
    "12.3 kB",
    "999 B",
    "1 MB",
  ]);
  assert.equal(speedText(12_500_000), "12.5 MB/s");
  assert.deepEqual([0.2, 59, 61, 7500].map(leftText), ["1 s left", "59 s left", "2 min left", "2 h 5 min left"]);
});

test("the speed is that of the last seconds", () => {
  let nowMs = 0;
  const speed = new Speed(() => nowMs);
  assert.equal(speed.bytesPerSecond, 0);
  for (nowMs = 0; nowMs <= 10_000; nowMs += 500) speed.mark(nowMs * 1000);
  assert.equal(speed.bytesPerSecond, 1_000_000);
  for (; nowMs <= 20_000; nowMs += 500) speed.mark(10_000_000);
  assert.equal(speed.bytesPerSecond, 0, "nothing has come for longer than it looks back");
});
