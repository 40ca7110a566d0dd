import { kernel } from "../gpu/shader.ts";
import source from "./tile8_open.wgsl";

export const tile8Open = kernel({
  name: "tile8_open",
  source,
  consts: ["BLOCK_TOKENS"],
  params: { row4: "u32", start4: "u32", width4: "u32", first: "u32", start: "u32" },
  buffers: { source: "read", open: "read_write" },
});
