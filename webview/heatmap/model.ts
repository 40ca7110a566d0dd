/**
 * The layout of the attention map as data: which tokens a cell covers, which files lie along an axis, and what is under
 * the pointer. Pure, so that the painter, the hover text and the table cannot disagree.
 */
import { MAX_POOL_CELLS } from "../../engine/api.ts";
import type { PackedFile, PooledAttention } from "../../engine/api.ts";

/** Half-open range of prompt positions. */
export interface Span {
  start: number;
  end: number;
}

/** The part of the map that is shown. */
export interface HeatWindow {
  query: Span;
  key: Span;
}

/** A pooled map together with the tokens its cells stand for. */
export interface HeatPicture {
  queryEdges: Uint32Array<ArrayBuffer>;
  keyEdges: Uint32Array<ArrayBuffer>;
  pooled: PooledAttention;
}

export interface Cell {
  row: number;
  column: number;
}

/** A file along an axis; `from` and `to` are parts of the axis, [0, 1]. */
export interface Band {
  path: string;
  from: number;
  to: number;
}

/** Lines of a file that a range of tokens touches; `path` is undefined for the text around the files. */
export interface Place {
  path: string | undefined;
  startLine: number;
  endLine: number;
  /** Files the range touches beside the first. */
  moreFiles: number;
}

/** Edges of at most `maxCells` bins over `span`, as even as whole tokens allow: edges[0] = start, last = end, rising strictly. */
export function cellEdges(span: Span, maxCells = MAX_POOL_CELLS): Uint32Array<ArrayBuffer> {
  const length = Math.max(1, span.end - span.start);
  const cells = Math.min(length, maxCells);
  const edges = new Uint32Array(cells + 1);
  for (let i = 0; i <= cells; i++) edges[i] = span.start + Math.floor((i * length) / cells);
  return edges;
}

/**
 * The same bins with the nearest edge moved onto each boundary where there is room, so that a cell belongs to one file and not
 * also to its neighbour or the question. Edges stay strictly rising, and the first and last stay where they are.
 */
export function snapEdges(edges: Uint32Array<ArrayBuffer>, boundaries: readonly number[]): Uint32Array<ArrayBuffer> {
  const snapped = edges.slice();
  let firstFree = 1;
  for (const boundary of [...boundaries].sort((a, b) => a - b)) {
    const upper = snapped.findIndex((edge) => edge >= boundary);
    if (upper < 1) continue;
    if (snapped[upper] === boundary) {
      firstFree = upper + 1;
      continue;
    }
    const lowerIsNearer = boundary - snapped[upper - 1] < snapped[upper] - boundary;
    const nearest = lowerIsNearer ? [upper - 1, upper] : [upper, upper - 1];
    const moved = nearest.find((edge) => edge >= firstFree && edge < snapped.length - 1);
    if (moved === undefined) continue;
    snapped[moved] = boundary;
    firstFree = moved + 1;
  }
  return snapped;
}

/** Where files begin and end. */
export function fileBoundaries(files: readonly PackedFile[]): number[] {
  return files.flatMap((file) => [file.tokenStart, file.tokenEnd]);
}

/** The whole map of a prompt of `length` tokens. */
export function wholeWindow(length: number): HeatWindow {
  return { query: { start: 0, end: length }, key: { start: 0, end: length } };
}

/** Tokens under a cell. */
export function cellSpans(picture: HeatPicture, cell: Cell): { query: Span; key: Span } {
  return { query: binSpan(picture.queryEdges, cell.row), key: binSpan(picture.keyEdges, cell.column) };
}

/** Mass of a cell, 0 outside the map. */
export function cellMass({ pooled }: HeatPicture, { row, column }: Cell): number {
  return pooled.cells[row * pooled.columns + column] ?? 0;
}

/** Cell under a point given as parts of the canvas, [0, 1); undefined outside. */
export function hitTest(picture: HeatPicture, x: number, y: number): Cell | undefined {
  const { rows, columns } = picture.pooled;
  const cell = { row: Math.floor(y * rows), column: Math.floor(x * columns) };
  const inside = x >= 0 && y >= 0 && cell.row < rows && cell.column < columns;
  return inside ? cell : undefined;
}

/** Files along an axis that shows `span`; the question and the frame around the files have no band. */
export function fileBands(files: readonly PackedFile[], span: Span): Band[] {
  const length = Math.max(1, span.end - span.start);
  return files
    .filter((file) => file.tokenEnd > span.start && file.tokenStart < span.end)
    .map((file) => ({
      path: file.path,
      from: Math.max(0, (file.tokenStart - span.start) / length),
      to: Math.min(1, (file.tokenEnd - span.start) / length),
    }));
}

/** File and lines of a range of tokens. */
export function placeOf(files: readonly PackedFile[], span: Span): Place {
  const touched = files.filter((file) => file.tokenEnd > span.start && file.tokenStart < span.end);
  const first = touched[0];
  if (!first) return { path: undefined, startLine: 0, endLine: 0, moreFiles: 0 };
  const last = Math.min(span.end, first.tokenEnd) - 1;
  return {
    path: first.path,
    startLine: lineOf(first, Math.max(span.start, first.tokenStart)),
    endLine: lineOf(first, last),
    moreFiles: touched.length - 1,
  };
}

/** A place in words: "src/a.ts:4-9", or what the prompt holds there. */
export function placeText(place: Place): string {
  if (place.path === undefined) return "question and instructions";
  const lines = place.startLine === place.endLine ? `${place.startLine}` : `${place.startLine}-${place.endLine}`;
  return `${place.path}:${lines}${place.moreFiles > 0 ? ` and ${place.moreFiles} more` : ""}`;
}

/**
 * Cells by how much more they got than an even spread over the keys that their queries see (mass x visible keys / own keys):
 * by mass alone the first rows, which see few keys, would fill every list. The sink column and the diagonal with its
 * neighbour are left out: every model looks there, whatever the text.
 */
export function strongestCells(picture: HeatPicture, count: number): Cell[] {
  const { rows, columns } = picture.pooled;
  const best: { cell: Cell; lift: number }[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = sinkColumns(picture); column < columns; column++) {
      const lift = cellLift(picture, { row, column });
      if (lift <= 0 || (best.length === count && lift <= (best[count - 1]?.lift ?? 0))) continue;
      let at = best.length;
      while (at > 0 && lift > (best[at - 1]?.lift ?? 0)) at--;
      best.splice(at, 0, { cell: { row, column }, lift });
      if (best.length > count) best.pop();
    }
  }
  return best.map(({ cell }) => cell);
}

/** Mass of a cell over what an even spread would give it; 0 on the diagonal and just before it. */
export function cellLift(picture: HeatPicture, cell: Cell): number {
  const { query, key } = cellSpans(picture, cell);
  const ownKeys = key.end - key.start;
  if (key.end > query.start - ownKeys) return 0;
  return (cellMass(picture, cell) * (query.start + query.end + 1)) / (2 * ownKeys);
}

/** Largest mass off the sink: the top of the color scale, because the sink would leave everything else dark. */
export function largestMass(picture: HeatPicture): number {
  const { rows, columns, cells } = picture.pooled;
  let largest = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = sinkColumns(picture); column < columns; column++)
      largest = Math.max(largest, cells[row * columns + column] ?? 0);
  }
  return largest;
}

/** Columns at the left that hold token 0, on which softmax parks what it does not need (the attention sink). */
function sinkColumns({ keyEdges, pooled }: HeatPicture): number {
  return keyEdges[0] === 0 && pooled.columns > 1 ? 1 : 0;
}

/** Window one step closer around a cell: a quarter of each side, at least one token, inside `bounds`. */
export function zoomIn(picture: HeatPicture, cell: Cell, shown: HeatWindow): HeatWindow {
  const { query, key } = cellSpans(picture, cell);
  return { query: narrow(shown.query, middle(query)), key: narrow(shown.key, middle(key)) };
}

/** Window over the cells between two corners, in any order. */
export function windowOf(picture: HeatPicture, from: Cell, to: Cell): HeatWindow {
  const a = cellSpans(picture, { row: Math.min(from.row, to.row), column: Math.min(from.column, to.column) });
  const b = cellSpans(picture, { row: Math.max(from.row, to.row), column: Math.max(from.column, to.column) });
  return { query: { start: a.query.start, end: b.query.end }, key: { start: a.key.start, end: b.key.end } };
}

function binSpan(edges: Uint32Array, bin: number): Span {
  const start = edges[bin] ?? 0;
  return { start, end: edges[bin + 1] ?? start };
}

function middle(span: Span): number {
  return Math.floor((span.start + span.end) / 2);
}

function narrow(shown: Span, centre: number): Span {
  const length = Math.max(1, Math.ceil((shown.end - shown.start) / 4));
  const start = Math.min(Math.max(shown.start, centre - Math.floor(length / 2)), shown.end - length);
  return { start, end: start + length };
}

/** 1-based line of a token by binary search over the first tokens of the lines; header tokens belong to line 1. */
function lineOf(file: PackedFile, token: number): number {
  let low = 0;
  let high = file.lineTokens.length;
  while (low < high) {
    const mid = (low + high) >> 1;
    if ((file.lineTokens[mid] ?? Infinity) <= token) low = mid + 1;
    else high = mid;
  }
  return Math.max(1, low);
}
