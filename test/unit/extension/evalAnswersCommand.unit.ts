/** `lcp eval-answers` from a folder to its table, with the bundled model on WASM. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import type { AnswerRecord } from "../../../engine/eval/answers/api.ts";
import type { AttendedShare, Score } from "../../../engine/eval/answers/score.ts";
import { parseCommand } from "../../../extension/cli/args.ts";
import { evalAnswers } from "../../../extension/cli/evalAnswers.ts";
import { withTempTree } from "../../support/tempTree.ts";

interface Written {
  out: string;
  err: string;
  error: unknown;
}

/** Runs the command as `lcp` does; stopped once `stopAt` is written to standard error. */
async function run(args: string[], stopAt?: RegExp): Promise<Written> {
  const written: Written = { out: "", err: "", error: undefined };
  const stop = new AbortController();
  const output = {
    out: (text: string) => void (written.out += text),
    err: (text: string) => {
      written.err += text;
      if (stopAt?.test(text)) stop.abort();
    },
    terminal: false,
  };
  const command = parseCommand(["eval-answers", ...args]);
  assert.ok(command.name === "eval-answers");
  try {
    await evalAnswers(command, resolve("."), output, stop.signal);
  } catch (error) {
    written.error = error;
  }
  return written;
}

const ferry = ["test/fixtures/workspaces/ferry", "--backend", "ort", "--per-type", "1"];

interface Report {
  finished: boolean;
  seed: number;
  answers: (AnswerRecord & { score: Score })[];
  lengths: { lengthTokens: number; rope: unknown; contexts: { anchor: string; files: string[]; planted: string[] }[] }[];
}

describe("lcp eval-answers", () => {
  it("asks the bundled model about a folder: definitions are quoted and cited, needles found, and what is not there is refused", () =>
    withTempTree({}, async (folder) => {
      const [json, attended] = [join(folder, "answers.json"), join(folder, "attended.json")];
      const { out, err, error } = await run([...ferry, "--json", json, "--attended", attended]);
      assert.equal(error, undefined);
      const report = JSON.parse(await readFile(json, "utf8")) as Report;
      const of = (type: string) => report.answers.filter(({ question }) => question.type === type);
      for (const type of ["definition", "needle", "needle-multi"]) {
        const [found, ...more] = of(type);
        assert.equal(more.length, 0);
        assert.deepEqual([type, found?.score.exact, found?.score.right, found?.absent], [type, true, 1, false]);
        assert.equal(found?.answer, found?.question.expected?.text);
      }
      for (const type of ["absent-unseen", "absent-used"]) {
        const [refused] = of(type);
        assert.deepEqual([type, refused?.absent, refused?.citations.length], [type, true, 0]);
      }
      assert.equal(report.finished, true);
      const [length] = report.lengths;
      assert.deepEqual(length?.rope, { rope_type: "default" });
      assert.ok(length?.contexts.every(({ anchor, files, planted }) => files.includes(anchor) && planted.length > 0));
      // Questions about one context share its prefix.
      assert.ok(report.answers.filter(({ reusedTokens, promptTokens }) => reusedTokens > promptTokens / 2).length > 5);
      const share = JSON.parse(await readFile(attended, "utf8")) as AttendedShare & { command: string };
      assert.deepEqual([share.hits, share.asked], [2, 2]);
      assert.ok(share.contextTokens > 1000 && share.contextTokens < 2048);
      assert.equal(share.command, `npm run eval:answers -- ${[...ferry, "--json", json, "--attended", attended].join(" ")}`);
      assert.match(out, /^\| length \| type .*\n(\|.*\n)+/);
      assert.match(out, /\| +2,048 \| definition +\| +1 \| 100 % \| +100 % \| +100 % \|/);
      assert.match(out, /\| +2,048 \| unanswerable +\| +2 \| 100 % \|/);
      assert.match(err, /2,048 tokens: \d+ questions about \d contexts?, RoPE \{"rope_type":"default"\}/);
    }));

  it("prints and writes what there is when it is stopped, and ends as stopped", () =>
    withTempTree({}, async (folder) => {
      const json = join(folder, "answers.json");
      const { out, error } = await run([...ferry, "--json", json], /: \d+ \/ \d+ questions/);
      assert.ok(EngineError.is(error, "aborted"));
      const report = JSON.parse(await readFile(json, "utf8")) as Report;
      assert.equal(report.finished, false);
      assert.equal(report.answers.length, 1);
      assert.match(out, /\| answerable +\| +1 \|/);
    }));

  it("asks about a whole folder, of which the window takes a part", () =>
    withTempTree({}, async (folder) => {
      const json = join(folder, "answers.json");
      const args = [
        "engine/pack",
        "--per-type",
        "1",
        "--backend",
        "ort",
        "--rope",
        "model",
        "--lengths",
        "whole",
        "--json",
        json,
      ];
      // One answer shows it: each question has a prompt of its own to read.
      const { err } = await run(args, /: 1 \/ \d+ questions/);
      assert.match(err, /the whole folder, [\d,]+ tokens: \d+ questions about \d contexts?, RoPE/);
      assert.match(err, /, the first prompt [\d,]+ tokens, \d+ files? do(es)? not fit, .*2,048 tokens/);
      const { answers, lengths } = JSON.parse(await readFile(json, "utf8")) as Report;
      assert.ok(lengths[0] && lengths[0].lengthTokens > 20_000);
      assert.ok(answers.every(({ promptTokens }) => promptTokens <= 2048));
      assert.deepEqual(
        answers.map(({ question, score }) => [question.type, score.exact, score.right]),
        [["definition", true, 1]],
      );
    }));

  it("says what is wrong with a folder, with a model and with lengths", () =>
    withTempTree(
      { "empty/a.bin": "\u0000\u0000", "tiny/a.txt": "plain words\n", "long/a.ts": "const a = 1;\n".repeat(4000) },
      async (folder) => {
        const failed = async (args: string[], code: string, message: RegExp): Promise<void> => {
          const { error } = await run(args);
          assert.ok(EngineError.is(error), String(error));
          assert.equal(error.code, code);
          assert.match(error.message, message);
          assert.notEqual(error.remedy, "");
        };
        await failed([join(folder, "nowhere")], "no-such-folder", /does not exist/);
        await failed([join(folder, "empty")], "empty-workspace", /has no text file/);
        await failed([join(folder, "long")], "empty-workspace", /has nothing that can be asked/);
        await failed([join(folder, "tiny"), "--model", join(folder, "none")], "no-such-folder", /the model .* does not exist/);
        const beyond = ["engine/pack", "--per-type", "1", "--backend", "ort", "--rope", "model", "--lengths", "8192"];
        await failed(beyond, "context-too-long", /no length can be asked: the window ends before: .*2,048 tokens/);
        assert.throws(
          () => parseCommand(["eval-answers", ...ferry, "--lengths", "12"]),
          /--lengths has "12", not a whole number from 256/,
        );
        assert.throws(() => parseCommand(["eval-answers", ...ferry, "--per-type", "0"]), /--per-type/);
        assert.throws(() => parseCommand(["eval-answers"]), /<folder> is missing/);
        assert.throws(() => parseCommand(["eval-answers", ...ferry, "--json", ""]), /--json names no file/);
      },
    ));
});
