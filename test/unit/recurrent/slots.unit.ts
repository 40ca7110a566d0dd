import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openSlots, slotCount } from "../../../engine/recurrent/slots.ts";

describe("the places for copies of a state", () => {
  it("are as many as the memory holds, at least two and at most sixteen", () => {
    assert.equal(slotCount(100, 1000), 10);
    assert.equal(slotCount(2000, 1000), 2);
    assert.equal(slotCount(1, 1000), 16);
  });

  it("give the nearest length, and forget what is cut", () => {
    const slots = openSlots(4);
    for (const length of [10, 20, 30]) assert.notEqual(slots.place(length), undefined);
    assert.equal(slots.place(30), undefined, "kept already");
    assert.equal(slots.newest(9), undefined);
    assert.equal(slots.newest(29)?.length, 20);
    assert.equal(slots.newest(1000)?.length, 30);
    slots.cut(20);
    assert.deepEqual(slots.lengths, [10, 20]);
    const again = [slots.place(21), slots.place(22)];
    assert.equal(new Set([...again, slots.newest(10)?.slot, slots.newest(20)?.slot]).size, 4, "no place is given twice");
  });

  it("keep the newest close together and the older ones ever sparser, in as many places as there are", () => {
    const slots = openSlots(8);
    for (let length = 256; length <= 256 * 200; length += 256) slots.place(length);
    const { lengths } = slots;
    assert.equal(lengths.length, 8);
    assert.equal(lengths.at(-1), 256 * 200);
    assert.equal(lengths.at(-2), 256 * 199);
    const distances = lengths.map((length, i) => length - (lengths[i - 1] ?? 0));
    assert.ok((distances[1] ?? 0) > 4 * (distances[7] ?? Infinity), `old ones are sparse: ${lengths.join()}`);
    assert.ok((lengths[0] ?? Infinity) < 256 * 200 * 0.75, "and some old one is there");
  });

  it("keep the end of a prompt while single tokens follow", () => {
    const slots = openSlots(2);
    for (const length of [5999, 6000]) slots.place(length);
    slots.place(6256);
    assert.ok(slots.newest(6000) !== undefined);
  });
});
