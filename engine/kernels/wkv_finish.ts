import { kernel } from "../gpu/shader.ts";
import source from "./wkv_finish.wgsl";

export const wkvFinish = kernel({
  name: "wkv_finish",
  source,
  consts: ["HEAD_DIM4"],
  params: { rows: "u32", heads: "u32", eps: "f32" },
  buffers: { y: "read_write", receptance: "read", key: "read", value: "read", gate: "read", weights: "read" },
});
