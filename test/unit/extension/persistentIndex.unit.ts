import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  decodeIndex,
  encodeIndex,
  type IndexedText,
  type IndexEntry,
  isRacy,
  readIndex,
  writeIndex,
} from "../../../extension/server/persistentIndex.ts";
import { seeded } from "../../support/random.ts";
import { withTempTree } from "../../support/tempTree.ts";

const identity = "o200k|v1";

/** Entries of every kind, with paths that share much, little and half a character. */
function someEntries(random: () => number, count: number): IndexEntry[] {
  const names = [
    "src/index.ts",
    "src/index.tsx",
    "a",
    "é",
    "日本",
    "😀x",
    "😁y",
    "\uFFFD",
    "b\nc",
    "\\x",
    `long-${"n".repeat(300)}`,
    " ",
  ];
  const reasons = [
    { reason: "binary content (a NUL at byte 3)", kind: "binary" },
    { reason: "larger than 1 MiB (2.0 MiB)", kind: "too-large" },
  ] as const;
  return Array.from({ length: count }, (_, at): IndexEntry => {
    const path = `${names[Math.floor(random() * names.length)] ?? ""}/${at}`;
    const start = {
      absolute: `/repository/${path}`,
      sizeBytes: Math.floor(random() * 2 ** 40),
      mtimeMs: 1.7e12 + random() * 1e9,
      racy: random() < 0.1,
    };
    if (random() < 0.2) return { ...start, known: { ...(reasons[at % 2] ?? reasons[0]) } };
    const marks = random() < 0.1 ? [{ kind: "bom" as const, message: "the byte order mark at its start is not counted" }] : [];
    const hash = createHash("sha256").update(path).digest("hex");
    const prefix = random() < 0.5 ? "" : "work (2)/";
    const [tokens, nameTokens] = [Math.floor(random() * 1e6), Math.floor(random() * 300)];
    const text = { hash, tokens, bodyTokens: tokens + 1, nameTokens, path: prefix + path, marks };
    const [outline, scan] = [someOutline(random), someScan(random)];
    return { ...start, known: { ...text, ...(scan && { scan }), ...(outline && { outline }) } };
  });
}

function someOutline(random: () => number): IndexedText["outline"] {
  if (random() < 0.3) return undefined;
  if (random() < 0.2) return { reason: "there is no outline for this kind of file" };
  let last = 0;
  const lines = Array.from({ length: Math.floor(random() * 5) }, () => {
    const first = last + 1 + Math.floor(random() * 300);
    last = first + Math.floor(random() * 3);
    return { first, last };
  });
  const definitions = Int32Array.from({ length: Math.floor(random() * 4) }, () => Math.floor((random() - 0.5) * 2 ** 32));
  return { tokens: Math.floor(random() * 1000), lines, definitions };
}

function someScan(random: () => number): IndexedText["scan"] {
  if (random() < 0.3) return undefined;
  const secrets = random() < 0.2 ? [{ line: 3, rule: "aws", message: "looks like an AWS secret access key" }] : [];
  return random() < 0.2 ? { secrets, hostileLine: { line: 1, characters: 20_000, bytes: 20_000, tokens: 19_000 } } : { secrets };
}

function byPath(entries: readonly IndexEntry[]): IndexEntry[] {
  return [...entries].sort((a, b) => (a.absolute < b.absolute ? -1 : 1));
}

const start = "LCPINDEX".length + 1;

/** The bytes of an index with another content, and the checksum of that. */
function signed(bytes: Uint8Array, content: Uint8Array): Buffer {
  const checksum = createHash("sha256").update(content).digest();
  return Buffer.concat([bytes.subarray(0, start), checksum, content]);
}

/** Where the entries begin: behind identity, notes and their number. */
function contentOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.subarray(start + 32));
}

describe("the index on disk", () => {
  it("has every entry again, also from the file, for the same identity alone", async () => {
    const entries = someEntries(seeded(1), 500);
    const decoded = await decodeIndex(await encodeIndex(identity, entries), identity);
    assert.deepEqual([...decoded.values()], byPath(entries));
    assert.deepEqual(
      [...decoded.keys()],
      byPath(entries).map(({ absolute }) => absolute),
    );
    await withTempTree({}, async (folder) => {
      const file = join(folder, "deep", "er", "index.bin");
      const log: string[] = [];
      const read = async (name: string): Promise<number> => (await readIndex(file, name, (message) => log.push(message))).size;
      assert.equal(await read(identity), 0, "there is none yet");
      await writeIndex(file, identity, entries);
      assert.equal(await read(identity), 500);
      assert.equal(await read("cl100k|v1"), 0);
      await writeIndex(file, identity, []);
      assert.equal(await read(identity), 0);
      assert.deepEqual(log, []);
      assert.deepEqual(await readdir(join(folder, "deep", "er")), ["index.bin"], "nothing is left beside it");
    });
  });

  it("leaves out what it could not read again: a path that is longer than any", async () => {
    const [entry] = someEntries(seeded(5), 1);
    assert.ok(entry);
    const long = { ...entry, absolute: `/${"d/".repeat(5000)}x` };
    assert.deepEqual([...(await decodeIndex(await encodeIndex(identity, [long, entry]), identity)).values()], [entry]);
  });

  it("takes some sixty bytes for a file", async () => {
    const random = seeded(2);
    const entries = Array.from({ length: 2000 }, (_, at): IndexEntry => {
      const path = `packages/core/src/feature-${Math.floor(at / 20)}/module-${at}.ts`;
      const hash = createHash("sha256").update(path).digest("hex");
      const tokens = Math.floor(random() * 4000);
      const known = { hash, tokens, bodyTokens: tokens, nameTokens: 14, path, marks: [] };
      return {
        absolute: `/home/someone/project/${path}`,
        sizeBytes: Math.floor(random() * 9000),
        mtimeMs: 1.7e12 + random(),
        racy: false,
        known,
      };
    });
    const bytesPerFile = (await encodeIndex(identity, entries)).length / entries.length;
    assert.ok(bytesPerFile < 65, `${bytesPerFile} bytes per file`);
  });

  it("that is cut, changed in any bit, of another version, random, a pipe or a folder is empty, and the log says so", async () => {
    await withTempTree({ "folder/x": "" }, async (folder) => {
      const file = join(folder, "index.bin");
      const random = seeded(3);
      const entries = someEntries(random, 40);
      await writeIndex(file, identity, entries);
      const bytes = await readFile(file);
      const check = async (damaged: Uint8Array | undefined, name: string, path = file): Promise<void> => {
        if (damaged) await writeFile(file, damaged);
        const log: string[] = [];
        const found = await readIndex(path, identity, (message) => log.push(message));
        assert.equal(found.size, 0, name);
        assert.equal(log.length, 1, name);
        assert.match(log[0] ?? "", /^the index of token counts .* and is made again: ./, name);
      };
      for (let length = 0; length < bytes.length; length += 1 + Math.floor(random() * 40))
        await check(bytes.subarray(0, length), `cut at ${length}`);
      for (let round = 0; round < 200; round++) {
        const damaged = Buffer.from(bytes);
        const at = Math.floor(random() * bytes.length);
        damaged[at] = (damaged[at] ?? 0) ^ (1 << Math.floor(random() * 8));
        await check(damaged, `byte ${at}`);
      }
      for (const length of [1, 9, 41, 42, 1000])
        await check(Buffer.from(Array.from({ length }, () => Math.floor(random() * 256))), "random bytes");
      await check(Buffer.concat([bytes, Buffer.of(0)]), "a byte more");
      await check(signed(bytes, Buffer.concat([contentOf(bytes), Buffer.of(0)])), "a byte more, with its checksum");
      await check(undefined, "a folder", join(folder, "folder"));
      if (process.platform === "win32") return;
      execFileSync("mkfifo", [join(folder, "pipe")]);
      await check(undefined, "a pipe", join(folder, "pipe"));
      await writeFile(file, "");
      await truncate(file, 2 ** 40);
      await check(undefined, "a terabyte of nothing");
    });
  });

  it("with a good checksum over anything ends with what is wrong, and takes no more memory than the file", async () => {
    const random = seeded(4);
    const entries = someEntries(random, 60);
    const bytes = await encodeIndex(identity, entries);
    const content = contentOf(bytes);
    let refused = 0;
    const rounds = 1500;
    for (let round = 0; round < rounds; round++) {
      const damaged = Buffer.from(content);
      const from = round % 3 === 0 ? 0 : Buffer.byteLength(identity) + 1;
      for (let change = 1 + Math.floor(random() * 3); change > 0; change--) {
        damaged[from + Math.floor(random() * (damaged.length - from))] = [0, 1, 0x7f, 0x80, 0xff][Math.floor(random() * 5)] ?? 0;
      }
      try {
        const found = await decodeIndex(
          signed(bytes, random() < 0.2 ? damaged.subarray(0, random() * damaged.length) : damaged),
          identity,
        );
        for (const entry of found.values()) checkEntry(entry);
      } catch (error) {
        assert.ok(error instanceof Error, String(error));
        refused++;
      }
    }
    assert.ok(refused > rounds / 10, `${refused} refused`);
  });

  it("does not believe lengths, numbers and notes", async () => {
    const bytes = await encodeIndex(identity, []);
    const text = (value: string): Buffer => Buffer.concat([varint(Buffer.byteLength(value)), Buffer.from(value)]);
    const file = (notes: string, count: Buffer, ...rest: Buffer[]): Buffer =>
      signed(bytes, Buffer.concat([text(identity), text(notes), count, ...rest]));
    const number = Buffer.alloc(8);
    const rejects = (damaged: Buffer, message: RegExp): Promise<void> => assert.rejects(decodeIndex(damaged, identity), message);
    const endless = Buffer.alloc(4096, 0xff);
    await rejects(signed(bytes, endless), /a number is too large/);
    await rejects(signed(bytes, Buffer.concat([varint(2 ** 52), Buffer.from("x")])), /ends too early/);
    await rejects(file("[]", endless), /a number is too large/);
    await rejects(file("[]", varint(Number.MAX_SAFE_INTEGER)), /ends too early/);
    await rejects(file("{}", varint(0)), /no notes/);
    await rejects(file("[", varint(0)), /JSON/);
    await rejects(file("[]", varint(1), varint(5), text("x")), /a path is too long/);
    await rejects(file("[]", varint(1), varint(0), text("x".repeat(10_000))), /a path is too long/);
    const infinite = Buffer.alloc(8);
    infinite.writeDoubleLE(Infinity);
    await rejects(file("[]", varint(1), varint(0), text("x"), varint(1), infinite), /a time is no number/);
    const excluded = (notes: string): Buffer =>
      file(notes, varint(1), varint(0), text("x"), varint(1), number, varint(0), varint(0));
    for (const notes of [
      "[]",
      "[null]",
      "[3]",
      '[{"reason":1,"kind":"binary"}]',
      '[{"reason":"r","kind":"toString"}]',
      '[{"kind":"binary"}]',
    ]) {
      await rejects(excluded(notes), /a note is (missing|no reason)/);
    }
    assert.equal((await decodeIndex(excluded('[{"reason":"r","kind":"binary","__proto__":{"polluted":1}}]'), identity)).size, 1);
    const counted = (notes: string, marks: number, scan = 0, outline: readonly number[] = [0]): Buffer =>
      file(
        notes,
        varint(1),
        varint(0),
        text("/x"),
        varint(1),
        number,
        varint(2),
        Buffer.alloc(32),
        varint(1),
        varint(1),
        varint(0),
        varint(0),
        varint(marks),
        varint(scan),
        ...outline.map(varint),
      );
    for (const notes of ['[{"cut":"1","prefix":""}]', '[{"cut":-1,"prefix":""}]', '[{"cut":1}]'])
      await rejects(counted(notes, 0), /a note is no path/);
    const path = '{"cut":1,"prefix":""}';
    await rejects(counted(`[${path},{}]`, 2), /no list of marks/);
    await rejects(counted(`[${path},[{"kind":"bom"}]]`, 2), /no mark/);
    await rejects(counted(`[${path}]`, 2), /no list of marks/);
    assert.equal((await decodeIndex(counted(`[${path}]`, 0), identity)).size, 1);
    for (const scan of ["{}", '{"secrets":[{"line":"1"}]}', '{"secrets":[],"hostileLine":{"line":1}}'])
      await rejects(counted(`[${path},${scan}]`, 0, 2), /no scan|no secret|no line/);
    await rejects(counted(`[${path}]`, 0, 0, [1, 0]), /a note is no text/);
    await rejects(counted(`[${path}]`, 0, 0, [2, Number.MAX_SAFE_INTEGER, 1, 0]), /ends too early/);
    await rejects(counted(`[${path}]`, 0, 0, [2, 0, 2, 0, 0]), /half a name/);
    await rejects(counted(`[${path}]`, 0, 0, [2, 0, 4_000_000]), /ends too early/);
    assert.equal((await decodeIndex(counted(`[${path}]`, 0, 0, [7, 1, 3, 2, 0]), identity)).size, 1);
    const two = Buffer.concat([
      varint(0),
      text("b"),
      varint(1),
      number,
      varint(0),
      varint(0),
      varint(0),
      text("a"),
      varint(1),
      number,
      varint(0),
      varint(0),
    ]);
    await rejects(file('[{"reason":"r","kind":"binary"}]', varint(2), two), /not in order/);
  });

  it("whose paths would fill the memory is refused: each shares a long beginning with the one before", async () => {
    const bytes = await encodeIndex(identity, []);
    const text = (value: string): Buffer => Buffer.concat([varint(Buffer.byteLength(value)), Buffer.from(value)]);
    const long = 8_000;
    const rest = Buffer.concat([varint(1), Buffer.alloc(8), varint(0), varint(0)]);
    const entries = Array.from({ length: 20_000 }, (_, at) =>
      Buffer.concat([varint(long), text(String(at).padStart(6, "0")), rest]),
    );
    const content = [
      text(identity),
      text('[{"reason":"r","kind":"binary"}]'),
      varint(entries.length + 1),
      varint(0),
      text("x".repeat(long)),
      rest,
      ...entries,
    ];
    await assert.rejects(decodeIndex(signed(bytes, Buffer.concat(content)), identity), /a path is too long/);
  });

  it("calls a change racy that is too young to be told from the next, or lies in the future", () => {
    assert.equal(isRacy(1000, 2000), true);
    assert.equal(isRacy(9000, 2000), true);
    assert.equal(isRacy(1000, 3001), false);
  });
});

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

/** What every user of an entry relies on. */
function checkEntry({ absolute, sizeBytes, mtimeMs, racy, known }: IndexEntry): void {
  assert.ok(typeof absolute === "string" && typeof racy === "boolean");
  assert.ok(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0 && Number.isFinite(mtimeMs));
  if (!("hash" in known)) {
    assert.ok(typeof known.reason === "string" && typeof known.kind === "string");
    return;
  }
  assert.match(known.hash, /^[0-9a-f]{64}$/);
  assert.ok(typeof known.path === "string" && Array.isArray(known.marks));
  for (const count of [known.tokens, known.bodyTokens, known.nameTokens]) assert.ok(Number.isSafeInteger(count) && count >= 0);
  if (known.scan) for (const { line, message } of known.scan.secrets) assert.ok(line >= 0 && typeof message === "string");
  if (!known.outline) return;
  if ("reason" in known.outline) assert.equal(typeof known.outline.reason, "string");
  else for (const { first, last } of known.outline.lines) assert.ok(first <= last && Number.isSafeInteger(last));
}
