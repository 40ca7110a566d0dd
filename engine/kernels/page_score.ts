import { kernel } from "../gpu/shader.ts";
import source from "./page_score.wgsl";

export const pageScore = kernel({
  name: "page_score",
  source,
  consts: ["HEAD_DIM4", "GROUP", "UNIT"],
  params: {
    queryAt: "u32",
    pages: "u32",
    firstPage: "u32",
    firstKey: "u32",
    keyEnd: "u32",
    position: "u32",
    stride: "u32",
    scoreStride: "u32",
    merge: "u32",
    scale: "f32",
  },
  buffers: { rotated: "read", bounds: "read", slopes: "read", scores: "read_write" },
});
