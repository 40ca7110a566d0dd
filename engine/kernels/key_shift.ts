import { kernel } from "../gpu/shader.ts";
import source from "./key_shift.wgsl";

export const keyShift = kernel({
  name: "key_shift",
  source,
  consts: ["CUT_TOKENS"],
  params: { tokens: "u32", start: "u32", row4: "u32", keyOffset4: "u32", kvWidth4: "u32" },
  buffers: { qkv: "read_write", gate: "read", tails: "read_write" },
});
