import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PrefixName } from "../../../engine/kv-cache/api.ts";
import { decodePrefixFile, encodePrefixFile, prefixFileBytes } from "../../../engine/kv-cache/prefixFile.ts";
import { seeded } from "../../support/random.ts";

const name: PrefixName = { root: "00112233445566778899aabbccddeeff", page: 7, key: "0f1e2d3c4b5a69788796a5b4c3d2e1f0" };
const random = seeded(5);
const payload = Uint8Array.from({ length: 1000 }, () => Math.floor(random() * 256));

const read = (bytes: Uint8Array<ArrayBuffer>, as: PrefixName = name, length = payload.length) =>
  decodePrefixFile(bytes, as, length);

describe("the file of a page", () => {
  it("gives back what was written, and its size is known before", async () => {
    const file = await encodePrefixFile(name, payload);
    assert.equal(file.length, prefixFileBytes(payload.length));
    assert.deepEqual(await read(file), payload);
    const nothing = await encodePrefixFile(name, new Uint8Array());
    assert.deepEqual(await read(nothing, name, 0), new Uint8Array());
  });

  it("begins with its magic and version, so that another program can tell what it is", async () => {
    const file = await encodePrefixFile(name, payload);
    assert.equal(new TextDecoder().decode(file.slice(0, 8)), "LCPREFIX");
    assert.deepEqual([...file.slice(8, 16)], [1, 0, 0, 0, 7, 0, 0, 0]);
  });

  it("is none at any length but its own", async () => {
    const file = await encodePrefixFile(name, payload);
    for (let length = 0; length < file.length; length++) assert.equal(await read(file.slice(0, length)), undefined, `${length}`);
    const longer = new Uint8Array(file.length + 1);
    longer.set(file);
    assert.equal(await read(longer), undefined);
  });

  it("is none with any of its bits turned", async () => {
    const file = await encodePrefixFile(name, payload);
    for (let byte = 0; byte < file.length; byte++) {
      const damaged = file.slice();
      damaged[byte] = (damaged[byte] ?? 0) ^ (1 << (byte % 8));
      assert.equal(await read(damaged), undefined, `byte ${byte}`);
    }
  });

  it("is none where a part of it was never written", async () => {
    const file = await encodePrefixFile(name, payload);
    for (const [from, to] of [
      [0, 64],
      [100, 612],
      [600, file.length],
    ]) {
      const damaged = file.slice().fill(0, from, to);
      assert.equal(await read(damaged), undefined, `${from} to ${to}`);
    }
  });

  it("is none under another name, page, root or size", async () => {
    const file = await encodePrefixFile(name, payload);
    assert.equal(await read(file, { ...name, key: name.root }), undefined);
    assert.equal(await read(file, { ...name, root: name.key }), undefined);
    assert.equal(await read(file, { ...name, page: 6 }), undefined);
    assert.equal(await read(file, name, payload.length - 4), undefined);
  });
});
