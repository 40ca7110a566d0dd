import { kernel } from "../gpu/shader.ts";
import source from "./embed.wgsl";
import { matrixConsts, matrixLayouts, type MatrixFormat } from "./matrixFormats.ts";

export function embed(format: MatrixFormat) {
  return kernel({
    name: `embed_${format}`,
    source: matrixLayouts[format].source + source,
    consts: matrixConsts,
    params: { columns: "u32", blocks: "u32", rowStart: "u32", rows: "u32", scale: "f32" },
    buffers: { codes: "read", scales: "read", ids: "read", x: "read_write" },
  });
}
