import { kernel } from "../gpu/shader.ts";
import source from "./activate.wgsl";

/** Numbers side by side in one row of invocations: a grid has no more than 65,535 workgroups on a side. */
export const ACTIVATE_STRIDE = 2 ** 20;
export const TANH = 0;
export const SIGMOID = 1;
export const SQUARED_RELU = 2;

export const activate = kernel({
  name: "activate",
  source,
  consts: ["STRIDE"],
  params: { count: "u32", kind: "u32" },
  buffers: { x: "read_write" },
});
