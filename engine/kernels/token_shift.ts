import { kernel } from "../gpu/shader.ts";
import source from "./token_shift.wgsl";

export const tokenShift = kernel({
  name: "token_shift",
  source,
  params: { columns4: "u32" },
  buffers: { x: "read", previous: "read", share: "read", y: "read_write" },
});
