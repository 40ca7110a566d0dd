import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { AttentionChoice, AttentionPolicy } from "../../../engine/attention/api.ts";
import { checkAttention, formatAttention, formatValues, parseAttention, valuesOf } from "../../../engine/attention/policy.ts";
import { policyRow, policyTable } from "../../../engine/attention/policyTable.ts";
import { EngineError } from "../../../engine/errors.ts";

describe("attention as text", () => {
  const readings: [text: string, choice: AttentionChoice, written?: string][] = [
    ["flash", { policy: { kind: "flash" } }],
    ["dense", { policy: { kind: "dense" } }],
    ["flash3", { policy: { kind: "flash3" } }],
    ["stream", { policy: { kind: "stream" } }],
    ["window:512", { policy: { kind: "window", window: 512 } }],
    ["window", { policy: { kind: "window", window: 4096 } }, "window:4096"],
    ["sinks:4,1024", { policy: { kind: "sinks", sinks: 4, window: 1024 } }],
    ["sinks:0,16", { policy: { kind: "sinks", sinks: 0, window: 16 } }],
    ["sinks:8", { policy: { kind: "sinks", sinks: 8, window: 1024 } }, "sinks:8,1024"],
    ["sinks", { policy: { kind: "sinks", sinks: 4, window: 1024 } }, "sinks:4,1024"],
    ["longformer:256,2", { policy: { kind: "longformer", window: 256, globals: 2 } }],
    ["bigbird:3,2,1", { policy: { kind: "bigbird", window: 3, random: 2, globals: 1 } }],
    [" bigbird : 3 , 0 , 0 ", { policy: { kind: "bigbird", window: 3, random: 0, globals: 0 } }, "bigbird:3,0,0"],
    ["strided:128", { policy: { kind: "strided", stride: 128 } }],
    ["fixed:128,8", { policy: { kind: "fixed", stride: 128, summary: 8 } }],
    ["a-shape:100,800", { policy: { kind: "a-shape", sinks: 100, window: 800 } }],
    ["vertical-slash:1000,6096", { policy: { kind: "vertical-slash", verticals: 1000, slashes: 6096 } }],
    ["blocks:100", { policy: { kind: "blocks", blocks: 100 } }],
    ["minference:0.95", { policy: { kind: "minference", recall: 0.95 } }],
    ["minference:1", { policy: { kind: "minference", recall: 1 } }],
    ["ring:8,striped", { policy: { kind: "ring", ranks: 8, layout: "striped" } }],
    ["ring:2", { policy: { kind: "ring", ranks: 2, layout: "zigzag" } }, "ring:2,zigzag"],
    ["top-pages:32", { policy: { kind: "flash" }, topPages: 32 }],
    ["top-pages", { policy: { kind: "flash" }, topPages: 64 }, "top-pages:64"],
    ["flash+top-pages:32", { policy: { kind: "flash" }, topPages: 32 }, "top-pages:32"],
    [
      "a-shape:4,64 + top-pages:8",
      { policy: { kind: "a-shape", sinks: 4, window: 64 }, topPages: 8 },
      "a-shape:4,64+top-pages:8",
    ],
  ];
  for (const [text, choice, written = text] of readings) {
    it(`reads ${text}, and writes it as ${written}`, () => {
      assert.deepEqual(parseAttention(text), choice);
      assert.equal(formatAttention(choice), written);
      assert.deepEqual(parseAttention(written), choice);
      checkAttention(choice);
    });
  }

  const refusals: [text: string, inMessage: RegExp, inRemedy: RegExp][] = [
    ["", /no attention policy ""/, /flash.*window.*sinks.*top-pages.*stream/],
    ["flash2", /"flash2"/, /flash/],
    ["Window:4", /"Window"/, /window/],
    ["flash:3", /flash takes no numbers/, /flash$/],
    ["window:0", /whole number of keys from 1/, /window:4096/],
    ["window:-5", /not "-5"/, /window:4096/],
    ["window:2.5", /whole number/, /window:4096/],
    ["window:many", /not "many"/, /window:4096/],
    ["window:", /not ""/, /window:4096/],
    ["window:1e3", /not "1e3"/, /window:4096/],
    ["window:99999999999", /to 268435456/, /window:4096/],
    ["window:4,4", /at most 1.*has 2/, /window:4096/],
    ["sinks:,8", /the sinks of sinks.*not ""/, /sinks:4,1024/],
    ["sinks:4,0", /the window of sinks/, /sinks:4,1024/],
    ["strided:0", /stride/, /strided:128/],
    ["fixed:8,9", /summary of 9 keys is more than a block of 8/, /at most 8/],
    ["vertical-slash:4,0", /slashes/, /vertical-slash:1000,6096/],
    ["blocks:0", /blocks/, /blocks:100/],
    ["minference:0", /recall/, /minference:0.95/],
    ["minference:1.5", /recall/, /minference:0.95/],
    ["ring:0", /ranks/, /ring:4,zigzag/],
    ["ring:4,snake", /contiguous, zigzag, striped, not "snake"/, /ring:4,zigzag/],
    ["ring:zigzag", /ranks.*not "zigzag"/, /ring:4,zigzag/],
    ["top-pages:0", /pages/, /top-pages:64/],
    ["flash+dense", /only decoding by top pages/, /a-shape\+top-pages:64/],
    ["top-pages:4+flash", /only decoding by top pages/, /\+top-pages/],
    ["top-pages:4+top-pages:4", /only decoding by top pages/, /\+top-pages/],
    ["flash+top-pages:4+top-pages:4", /only once/, /\+top-pages/],
    ["flash+", /no attention policy ""/, /top-pages/],
    ["sinks:4,64+top-pages:4", /evicted/, /a-shape\+top-pages/],
  ];
  for (const [text, inMessage, inRemedy] of refusals) {
    it(`refuses "${text}"`, () =>
      assert.throws(
        () => parseAttention(text),
        (error) => EngineError.is(error, "bad-argument") && inMessage.test(error.message) && inRemedy.test(error.remedy),
      ));
  }

  it("refuses choices that come from elsewhere by the same rules", () => {
    const bad: AttentionChoice[] = [
      { policy: { kind: "window", window: NaN } },
      { policy: { kind: "window", window: 0.5 } },
      { policy: { kind: "minference", recall: -1 } },
      { policy: { kind: "flash" }, topPages: 0 },
      { policy: { kind: "sinks", sinks: 4, window: 8 }, topPages: 4 },
      { policy: { kind: "stream" }, topPages: 4 },
      { policy: { kind: "flash3" }, topPages: 4 },
    ];
    for (const choice of bad)
      assert.throws(
        () => checkAttention(choice),
        (error) => EngineError.is(error, "bad-argument"),
      );
  });
});

describe("the table of policies", () => {
  it("has a row for each kind, and each row's fields are those of the policy", () => {
    for (const { kind, fields } of policyTable) {
      if (kind === "top-pages") continue;
      const { policy } = parseAttention(kind);
      assert.equal(policy.kind, kind);
      assert.deepEqual(
        Object.keys(valuesOf(policy)),
        fields.map(({ name }) => name),
      );
    }
    const kinds: Record<AttentionPolicy["kind"], true> = {
      ...{ dense: true, flash: true, flash3: true, window: true, sinks: true, longformer: true, bigbird: true, strided: true },
      ...{ fixed: true, "a-shape": true, "vertical-slash": true, blocks: true, minference: true, ring: true, stream: true },
    };
    assert.deepEqual(policyTable.map(({ kind }) => kind).sort(), [...Object.keys(kinds), "top-pages"].sort());
  });

  it("takes the ends of every range, and nothing beyond", () => {
    for (const { kind, fields } of policyTable) {
      for (const field of fields) {
        if ("words" in field) continue;
        // A block must not be smaller than its summary.
        const other: Record<string, number> = field.name === "stride" ? { summary: 0 } : { stride: field.most };
        const rest = kind === "fixed" ? other : {};
        for (const value of [field.least, field.most]) parseAttention(formatValues(kind, { ...rest, [field.name]: value }));
        for (const value of [field.least - 1, field.most + 1]) {
          assert.throws(() => parseAttention(formatValues(kind, { ...rest, [field.name]: value })), new RegExp(field.name));
        }
      }
    }
  });

  it("says what is given up, and that StreamingLLM forgets", () => {
    for (const row of policyTable) assert.ok(row.does.length > 0 && row.givesUp.length > 0 && row.source.length > 0, row.kind);
    assert.match(policyRow("sinks").givesUp, /does not recall evicted text/);
    assert.deepEqual(
      policyTable.filter(({ exact }) => exact).map(({ kind }) => kind),
      ["flash", "dense", "ring", "stream"],
    );
  });
});
