/** What an answer is worth, and the table of it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AnswerRecord, ExpectedAnswer, QuestionType } from "../../../engine/eval/answers/api.ts";
import { answerRows, attendedShare, firstTokenTimes, percentile, scoreOf } from "../../../engine/eval/answers/score.ts";
import type { Attended } from "../../../engine/generate/api.ts";
import { answerTable, firstTokenLines } from "../../../engine/eval/answers/table.ts";

const place: ExpectedAnswer = { path: "a.ts", line: 3, text: "const limit = 4;" };

function record(
  type: QuestionType,
  expected: ExpectedAnswer | undefined,
  rest: Partial<AnswerRecord> & Pick<AnswerRecord, "answer">,
): AnswerRecord {
  return {
    ...{ lengthTokens: 2048, context: 0, question: { type, name: "limit", text: "?", expected } },
    ...{ absent: false, citations: [], promptTokens: 100, reusedTokens: 0, firstTokenMs: 200, answeredMs: 300 },
    ...{ firstMention: undefined, withoutModel: undefined, ...rest },
  };
}

function cited(path: string, startLine: number, verified = true) {
  return { path, startLine, endLine: startLine, quote: "q", verified };
}

describe("the score of an answer", () => {
  it("is exact whatever the blanks and the backticks around, and not for another line", () => {
    assert.ok(scoreOf(record("constant", place, { answer: "  const limit  =\t4; " })).exact);
    assert.ok(scoreOf(record("constant", place, { answer: "`const limit = 4;`" })).exact);
    assert.ok(!scoreOf(record("constant", place, { answer: "const limit = 40;" })).exact);
    assert.ok(!scoreOf(record("constant", place, { answer: "const limit = 4;", absent: true })).exact);
  });

  it("takes for a file its path, and the header line that an extractive model answers with", () => {
    const file = { path: "a.ts", line: 3, text: "a.ts" };
    assert.ok(scoreOf(record("file", file, { answer: "=== a.ts ===" })).exact);
    assert.ok(scoreOf(record("file", file, { answer: "a.ts" })).exact);
    assert.ok(!scoreOf(record("file", file, { answer: "=== b.ts ===" })).exact);
    assert.equal(scoreOf(record("file", file, { answer: "", citations: [cited("a.ts", 1), cited("b.ts", 3)] })).right, 1);
  });

  it("counts verified citations only, and those at the expected line as right", () => {
    const citations = [cited("a.ts", 3), cited("a.ts", 4), cited("b.ts", 3), cited("a.ts", 3, false)];
    const { shown, right } = scoreOf(record("definition", place, { answer: "", citations }));
    assert.deepEqual({ shown, right }, { shown: 3, right: 1 });
  });

  it("of what has no answer is exact when it was refused, and the control refuses where no line holds the name", () => {
    const refused = scoreOf(record("absent-unseen", undefined, { answer: "Not found in the files.", absent: true }));
    assert.deepEqual([refused.exact, refused.refused, refused.withoutModel], [true, true, true]);
    const answered = scoreOf(record("absent-used", undefined, { answer: "limit();", firstMention: place, withoutModel: place }));
    assert.deepEqual([answered.exact, answered.refused, answered.withoutModel], [false, false, false]);
  });

  it("says whether attention fell on the planted line, where it was measured", () => {
    const needle = (attended: readonly Attended[] | undefined): boolean | undefined =>
      scoreOf(record("needle", place, { answer: "", attended })).attended;
    assert.deepEqual(
      [
        needle([lines("b.ts", 3), lines("a.ts", 2, 4)]),
        needle([lines("b.ts", 3), lines("a.ts", 4)]),
        needle([]),
        needle(undefined),
      ],
      [true, false, false, undefined],
    );
  });
});

function lines(path: string, startLine: number, endLine = startLine): Attended {
  return { path, startLine, endLine, share: 0.5, quote: "" };
}

const records = [
  record("definition", place, { answer: place.text, citations: [cited("a.ts", 3)], firstMention: place, withoutModel: place }),
  record("definition", place, { answer: "x", citations: [cited("a.ts", 9)], reusedTokens: 90, firstTokenMs: 20 }),
  record("needle", place, { answer: place.text, citations: [cited("a.ts", 3)], attended: [lines("a.ts", 3)] }),
  record("needle", place, { answer: "Not found", absent: true, promptTokens: 400, attended: [lines("a.ts", 4)] }),
  record("absent-used", undefined, { answer: "Not found", absent: true }),
  record("definition", place, { answer: place.text, lengthTokens: 4096, firstTokenMs: 12_345 }),
];

describe("the table", () => {
  it("has a row for each length and type that was asked, and the sums of what can be answered and what cannot", () => {
    assert.equal(
      answerTable(answerRows(records)),
      [
        "| length | type         |  n | exact | cited right | place cited | refused | falsely refused | first mention | no model | attended | prompt tokens | first token |    p90 |",
        "| -----: | ------------ | -: | ----: | ----------: | ----------: | ------: | --------------: | ------------: | -------: | -------: | ------------: | ----------: | -----: |",
        "|  2,048 | definition   |  2 |  50 % |        50 % |        50 % |       – |             0 % |          50 % |     50 % |        – |           100 |      0.02 s | 0.20 s |",
        "|  2,048 | needle       |  2 |  50 % |       100 % |        50 % |       – |            50 % |           0 % |      0 % |     50 % |           100 |      0.20 s | 0.20 s |",
        "|  2,048 | absent-used  |  1 | 100 % |           – |           – |   100 % |               – |         100 % |    100 % |        – |           100 |      0.20 s | 0.20 s |",
        "|  2,048 | answerable   |  4 |  50 % |        67 % |        50 % |       – |            25 % |          25 % |     25 % |     50 % |           100 |      0.20 s | 0.20 s |",
        "|  2,048 | unanswerable |  1 | 100 % |           – |           – |   100 % |               – |         100 % |    100 % |        – |           100 |      0.20 s | 0.20 s |",
        "|  4,096 | definition   |  1 | 100 % |           – |         0 % |       – |             0 % |           0 % |      0 % |        – |           100 |        12 s |   12 s |",
        "|  4,096 | answerable   |  1 | 100 % |           – |         0 % |       – |             0 % |           0 % |      0 % |        – |           100 |        12 s |   12 s |",
        "",
      ].join("\n"),
    );
  });

  it("tells the first question about a context from those behind it", () => {
    assert.equal(
      firstTokenLines(firstTokenTimes(records.slice(0, 2))),
      "2,048 tokens, with its context read anew: first token 0.20 s (median), 0.20 s (p90), of 1 questions\n" +
        "2,048 tokens, behind a context that was kept: first token 0.02 s (median), 0.02 s (p90), of 1 questions\n",
    );
  });

  it("takes percentiles by nearest rank", () => {
    const values = [5, 1, 4, 2, 3];
    assert.deepEqual([percentile(values, 0.5), percentile(values, 0.9), percentile([7], 0.9)], [3, 5, 7]);
  });
});

describe("the share of attended lines", () => {
  it("is of planted lines that were measured, with the tokens that were read", () => {
    assert.deepEqual(attendedShare(records), { hits: 1, asked: 2, contextTokens: 100 });
    assert.equal(attendedShare(records.slice(0, 2)), undefined);
  });
});
