import { kernel } from "../gpu/shader.ts";
import source from "./causal_conv.wgsl";

/** Tokens that one invocation walks. */
export const CONV_TOKENS = 32;

export const causalConv = kernel({
  name: "causal_conv",
  source,
  consts: ["TAPS", "CONV_TOKENS"],
  params: { tokens: "u32", channels: "u32", xRow: "u32", xColumn: "u32", firstBlock: "u32", keepTail: "u32", hasBias: "u32" },
  buffers: { x: "read", weight: "read", bias: "read", tail: "read_write", y: "read_write" },
});
