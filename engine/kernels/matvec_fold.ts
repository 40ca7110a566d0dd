import { kernel } from "../gpu/shader.ts";
import source from "./matvec_fold.wgsl";

export const matvecFold = kernel({
  name: "matvec_fold",
  source,
  params: { rows: "u32", splits: "u32", hasBias: "u32", accumulate: "u32" },
  buffers: { parts: "read", bias: "read", y: "read_write" },
});
