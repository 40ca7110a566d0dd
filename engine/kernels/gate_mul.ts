import { kernel } from "../gpu/shader.ts";
import source from "./gate_mul.wgsl";

export const gateMul = kernel({
  name: "gate_mul",
  source,
  consts: ["ACTIVATION", "GATED"],
  params: { columns4: "u32" },
  buffers: { gateUp: "read", y: "read_write" },
});
