import { kernel } from "../gpu/shader.ts";
import source from "./value_mix.wgsl";

export const valueMix = kernel({
  name: "value_mix",
  source,
  params: { columns4: "u32" },
  buffers: { value: "read_write", first: "read", share: "read" },
});
