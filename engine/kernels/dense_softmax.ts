import { kernel } from "../gpu/shader.ts";
import source from "./dense_softmax.wgsl";

export const denseSoftmax = kernel({
  name: "dense_softmax",
  source,
  params: { heads: "u32", keyCount: "u32", rangesAt: "u32", tokens: "u32" },
  buffers: { scores: "read_write", lists: "read", lse: "read_write" },
});
