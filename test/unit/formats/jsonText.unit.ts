import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EngineError } from "../../../engine/errors.ts";
import { parseHeaderJson, parsePythonJson } from "../../../engine/formats/jsonText.ts";

const header = (text: string, maxDepth = 3): unknown =>
  parseHeaderJson(text, "the header", "bad-weights", "download it again", maxDepth);
const config = (text: string): unknown => parsePythonJson(text, "config.json", "unsupported-model", "download it again");
const refuses = (read: () => unknown, message: RegExp) =>
  assert.throws(read, (error) => {
    assert.ok(error instanceof EngineError, String(error));
    assert.match(error.message, message);
    return true;
  });

describe("JSON of file headers", () => {
  it("is parsed as it is", () => {
    const text = '{"a\\"b" : {"shape": [1, 2], "dtype":"F32"}, "": 0}'.replace('"": 0', '"c:d": "a\\\\"');
    assert.deepEqual(header(text), JSON.parse(text));
  });

  it("has no key twice and none empty", () => {
    refuses(() => header('{"a": 1, "b": 2, "a": 3}'), /key a twice/);
    refuses(() => header('{"a": 1, "\\u0061" \n: 3}'), /key a twice/);
    refuses(() => header('{"x": {"a": 1, "a": 1}}'), /key a twice/);
    refuses(() => header('{"": 1}'), /empty key/);
    assert.deepEqual(header('{"x": {"a": "a"}, "y": {"a": ["a", "a"]}, "a": 1}'), { x: { a: "a" }, y: { a: ["a", "a"] }, a: 1 });
  });

  it("nests as deep as it may, found before anything is built", () => {
    assert.deepEqual(header("[[[]]]"), [[[]]]);
    refuses(() => header("[[[[]]]]"), /nests more than 3 deep/);
    refuses(() => header("[".repeat(5_000_000)), /nests more than 3 deep/);
    assert.deepEqual(header('{"a":"[[[[{{{{"}'), { a: "[[[[{{{{" });
  });

  it("is not JSON where a number is bare Infinity, a string does not end or an escape is wrong", () => {
    refuses(() => header('{"a": Infinity}'), /is not JSON/);
    refuses(() => header('{"a": NaN}'), /is not JSON/);
    refuses(() => header('{"a'), /is not JSON/);
    refuses(() => header('{"\\x": 1}'), /is not JSON/);
    refuses(() => header("]]]]"), /is not JSON/);
  });
});

describe("JSON that Python wrote", () => {
  it("may have bare Infinity, -Infinity and NaN, and the same as objects", () => {
    assert.deepEqual(config('{"limit": [0.0, Infinity], "low": -Infinity, "none": NaN}'), {
      limit: [0, Infinity],
      low: -Infinity,
      none: NaN,
    });
    assert.deepEqual(config('{"limit": [0.0, {"__float__": "Infinity"}]}'), { limit: [0, Infinity] });
  });

  it("keeps the words in strings and keys, and other objects", () => {
    const text =
      '{"Infinity": "NaN and \\"-Infinity\\"", "a\\\\": "\\\\", "b": {"__float__": "two"}, "c": {"__float__": "NaN", "d": 1}}';
    assert.deepEqual(config(text), JSON.parse(text));
    assert.deepEqual(config('{"__proto__": {"a": 1}}'), JSON.parse('{"__proto__": {"a": 1}}'));
  });

  it("is refused where it is no JSON even so", () => {
    refuses(() => config('{"a": Infinite}'), /config\.json is not JSON/);
    refuses(() => config('{"a": Infinity'), /config\.json is not JSON/);
    refuses(() => config('{"a": +Infinity}'), /config\.json is not JSON/);
    refuses(() => config('{"a": "Infinity'), /config\.json is not JSON/);
  });

  it("nests a hundred deep at most", () => {
    const nested = (depth: number): string => `${"[".repeat(depth)}1${"]".repeat(depth)}`;
    assert.deepEqual(config(nested(99)), JSON.parse(nested(99)));
    refuses(() => config(nested(200)), /nests more than 100 deep/);
    refuses(() => config(nested(100_000)), /nests more than 100 deep|not JSON/);
  });

  it("takes time that grows with its length only", () => {
    const long = `{"a": "${"\\\\".repeat(2_000_000)}", "b": [${"Infinity,".repeat(100_000)}0]}`;
    const value = config(long) as { a: string; b: number[] };
    assert.deepEqual([value.a.length, value.b.length, value.b[7]], [2_000_000, 100_001, Infinity]);
  });
});
