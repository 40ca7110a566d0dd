import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PackedFile } from "../../../engine/api.ts";
import { LOG_FLOOR, luminance, rampColor, rampPosition } from "../../../webview/heatmap/colormap.ts";
import {
  cellEdges,
  cellSpans,
  fileBoundaries,
  fileBands,
  hitTest,
  largestMass,
  placeOf,
  placeText,
  snapEdges,
  strongestCells,
  windowOf,
  zoomIn,
} from "../../../webview/heatmap/model.ts";
import type { HeatPicture } from "../../../webview/heatmap/model.ts";
import { rasterize } from "../../../webview/heatmap/raster.ts";

/** A file of `lines` lines of ten tokens each, behind a header of five tokens. */
function packed(path: string, tokenStart: number, lines: number): PackedFile {
  const bodyStart = tokenStart + 5;
  return {
    path,
    hash: path,
    tokenStart,
    bodyStart,
    tokenEnd: bodyStart + lines * 10,
    lineTokens: Uint32Array.from({ length: lines }, (_, line) => bodyStart + line * 10),
  };
}

const files = [packed("src/a.ts", 10, 3), packed("src/b.ts", 45, 2)];

it("gives no cell to two files, and none to a file and the question, where cells can move", () => {
  const edges = snapEdges(cellEdges({ start: 0, end: 100 }, 25), fileBoundaries(files));
  for (const boundary of fileBoundaries(files)) assert.ok(edges.includes(boundary), `an edge at ${boundary}: ${edges.join(" ")}`);
  assert.deepEqual([edges[0], edges.at(-1), edges.length], [0, 100, 26]);
  assert.ok(edges.every((edge, i) => i === 0 || edge > edges[i - 1]));
  assert.deepEqual(snapEdges(cellEdges({ start: 0, end: 100 }, 1), [50]), Uint32Array.of(0, 100), "one bin has no edge to move");
  const crowded = snapEdges(cellEdges({ start: 0, end: 9 }, 3), [1, 2, 4, 5, 7, 8]);
  assert.ok(
    crowded.every((edge, i) => i === 0 || edge > crowded[i - 1]),
    crowded.join(" "),
  );
});

function picture(rows: number, columns: number, cells: number[], start = 0): HeatPicture {
  return {
    queryEdges: cellEdges({ start, end: start + rows * 10 }, rows),
    keyEdges: cellEdges({ start, end: start + columns * 10 }, columns),
    pooled: { rows, columns, cells: Float32Array.from(cells) },
  };
}

describe("heatmap model", () => {
  it("covers every token exactly once, in at most 512 bins", () => {
    for (const span of [
      { start: 0, end: 1 },
      { start: 7, end: 300 },
      { start: 0, end: 512 },
      { start: 100, end: 131_172 },
    ]) {
      const edges = cellEdges(span);
      assert.ok(edges.length - 1 <= 512);
      assert.equal(edges[0], span.start);
      assert.equal(edges.at(-1), span.end);
      for (let i = 1; i < edges.length; i++) assert.ok((edges[i] ?? 0) > (edges[i - 1] ?? 0), `bin ${i} is empty`);
    }
  });

  it("finds the cell under a point and nothing outside", () => {
    const map = picture(2, 4, [0, 0, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual(hitTest(map, 0.74, 0.49), { row: 0, column: 2 });
    assert.deepEqual(hitTest(map, 0.99, 0.99), { row: 1, column: 3 });
    assert.equal(hitTest(map, 1, 0.5), undefined);
    assert.equal(hitTest(map, -0.01, 0.5), undefined);
    assert.deepEqual(cellSpans(map, { row: 1, column: 3 }), { query: { start: 10, end: 20 }, key: { start: 30, end: 40 } });
  });

  it("places files along the axis, cut to the window", () => {
    assert.deepEqual(fileBands(files, { start: 0, end: 100 }), [
      { path: "src/a.ts", from: 0.1, to: 0.45 },
      { path: "src/b.ts", from: 0.45, to: 0.7 },
    ]);
    assert.deepEqual(fileBands(files, { start: 20, end: 30 }), [{ path: "src/a.ts", from: 0, to: 1 }]);
  });

  it("names the lines that a range of tokens touches", () => {
    const text = (start: number, end: number): string => placeText(placeOf(files, { start, end }));
    assert.equal(text(15, 25), "src/a.ts:1");
    assert.equal(text(24, 26), "src/a.ts:1-2");
    assert.equal(text(10, 12), "src/a.ts:1");
    assert.equal(text(40, 60), "src/a.ts:3 and 1 more");
    assert.equal(text(69, 70), "src/b.ts:2");
    assert.equal(text(0, 5), "question and instructions");
  });

  it("ranks cells by mass over an even spread, away from the sink and the diagonal", () => {
    const cells = new Array<number>(100).fill(0);
    const put = (row: number, column: number, value: number): void => {
      cells[row * 10 + column] = value;
    };
    put(9, 0, 0.9); // the sink
    put(9, 9, 0.9); // the diagonal
    put(9, 8, 0.9); // its neighbour
    put(3, 1, 0.4); // sees 35 keys
    put(8, 3, 0.3); // sees 85 keys: rarer
    assert.deepEqual(strongestCells(picture(10, 10, cells), 5), [
      { row: 8, column: 3 },
      { row: 3, column: 1 },
    ]);
    assert.deepEqual(strongestCells(picture(10, 10, cells), 1), [{ row: 8, column: 3 }]);
  });

  it("takes the color scale from the largest mass off the sink", () => {
    const cells = [0.9, 0.2, 0.3, 0.8, 0.5, 0];
    assert.equal(largestMass(picture(2, 3, cells)), Math.fround(0.5));
    // A window that does not begin at token 0 has no sink: its first column counts.
    assert.equal(largestMass(picture(2, 3, cells, 30)), Math.fround(0.9));
  });

  it("zooms around a cell without leaving what is shown", () => {
    const map = picture(10, 10, new Array<number>(100).fill(0.1));
    const shown = { query: { start: 0, end: 100 }, key: { start: 0, end: 100 } };
    const closer = zoomIn(map, { row: 9, column: 0 }, shown);
    assert.deepEqual(closer, { query: { start: 75, end: 100 }, key: { start: 0, end: 25 } });
    const one = { query: { start: 5, end: 6 }, key: { start: 5, end: 6 } };
    assert.deepEqual(
      zoomIn({ ...map, queryEdges: Uint32Array.of(5, 6), keyEdges: Uint32Array.of(5, 6) }, { row: 0, column: 0 }, one),
      one,
    );
  });

  it("turns two corners in any order into a window", () => {
    const map = picture(10, 10, new Array<number>(100).fill(0.1));
    const want = { query: { start: 20, end: 50 }, key: { start: 10, end: 70 } };
    assert.deepEqual(windowOf(map, { row: 2, column: 6 }, { row: 4, column: 1 }), want);
    assert.deepEqual(windowOf(map, { row: 4, column: 1 }, { row: 2, column: 6 }), want);
  });
});

describe("colormap", () => {
  it("gets lighter at every step", () => {
    const steps = Array.from({ length: 65 }, (_, i) => luminance(rampColor(i / 64)));
    for (let i = 1; i < steps.length; i++) assert.ok((steps[i] ?? 0) > (steps[i - 1] ?? 0), `step ${i} is not lighter`);
  });

  it("maps mass to the ramp: nothing to its foot, the largest to its top", () => {
    for (const scale of ["linear", "log"] as const) {
      assert.equal(rampPosition(0, 1, scale), 0);
      assert.equal(rampPosition(2, 2, scale), 1);
      assert.equal(rampPosition(9, 2, scale), 1);
    }
    assert.equal(rampPosition(0.5, 1, "linear"), 0.5);
    assert.equal(rampPosition(LOG_FLOOR, 1, "log"), 0);
    // The middle of the log scale is the geometric middle; both logarithms round in float64.
    assert.ok(Math.abs(rampPosition(Math.sqrt(LOG_FLOOR), 1, "log") - 0.5) < 1e-12);
  });

  it("paints one opaque pixel per cell", () => {
    const map = picture(1, 2, [0, 0.4]);
    const pixels = rasterize(map.pooled, 0.4, "linear");
    assert.deepEqual([...pixels], [...rampColor(0), 255, ...rampColor(1), 255]);
  });
});
