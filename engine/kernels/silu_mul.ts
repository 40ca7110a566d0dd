import { kernel } from "../gpu/shader.ts";
import source from "./silu_mul.wgsl";

export const siluMul = kernel({
  name: "silu_mul",
  source,
  params: { columns4: "u32" },
  buffers: { gateUp: "read", y: "read_write" },
});
