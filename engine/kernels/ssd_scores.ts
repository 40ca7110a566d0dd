import { kernel } from "../gpu/shader.ts";
import source from "./ssd_scores.wgsl";

export const ssdScores = kernel({
  name: "ssd_scores",
  source,
  params: { tokens: "u32", groups: "u32", states4: "u32", row4: "u32", b4: "u32", c4: "u32", block: "u32" },
  buffers: { mixed: "read", scores: "read_write" },
});
