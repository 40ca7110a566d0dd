import { kernel } from "../gpu/shader.ts";
import source from "./key_mix.wgsl";

export const keyMix = kernel({
  name: "key_mix",
  source,
  consts: [],
  params: { row4: "u32", keyOffset4: "u32", kvWidth4: "u32" },
  buffers: { qkv: "read_write", gate: "read", before: "read" },
});
