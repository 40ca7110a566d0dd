import { kernel } from "../gpu/shader.ts";
import source from "./bound.wgsl";

/** Invocations of one dispatch; each takes every so-manieth number. */
export const BOUND_STRIDE = 64 * 256;

export const bound = kernel({
  name: "bound",
  source,
  consts: ["SOFT", "STRIDE"],
  params: { count: "u32", limit: "f32" },
  buffers: { x: "read_write" },
});
