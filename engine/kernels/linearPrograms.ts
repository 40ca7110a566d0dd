/** The kernels that products with a set of matrices need, compiled. Compiling is slow on software adapters, so nothing else is. */
import type { ShaderCache } from "../gpu/shader.ts";
import { embed } from "./embed.ts";
import type { MatrixUse } from "./linear.ts";
import { integerTile, matmul, matmulIntegers, matmulTiles } from "./matmul.ts";
import { constsOf, hasWholeBlocks, matrixLayouts, type MatrixFormat } from "./matrixFormats.ts";
import { activationCodes, matvec, matvecIntegers, matvecSums, type MatvecActivation } from "./matvec.ts";
import { quantizeRows } from "./quantize_rows.ts";
import type { MatmulVariants } from "./variants.ts";

export async function openLinearPrograms(uses: readonly MatrixUse[], shaders: ShaderCache, variants: MatmulVariants) {
  const consts = (format: MatrixFormat) => constsOf(format, variants.halvesByIntegers);
  const tokenConsts = (format: MatrixFormat, norm: boolean, gate: MatvecActivation) => ({
    ...consts(format),
    LANES: matvecSums[variants.matvec].lanes,
    NORM: norm ? 1 : 0,
    GATED: gate === "none" ? 0 : 1,
    ACTIVATION: activationCodes[gate],
  });
  const embeds = wanted((format: MatrixFormat) => shaders.program(embed(format), consts(format)));
  const matmuls = wanted((format: MatrixFormat, whole: boolean, TOKENS: number) =>
    shaders.program(matmul(format, variants.matmul, whole), { ...consts(format), TOKENS }),
  );
  const matvecs = wanted((format: MatrixFormat, whole: boolean, norm: boolean, gate: MatvecActivation) =>
    shaders.program(matvec(format, variants.matvec, whole), tokenConsts(format, norm, gate)),
  );
  const quantizes = wanted((norm: boolean) => shaders.program(quantizeRows, { NORM: norm ? 1 : 0 }));
  const integerMatmuls = wanted((format: MatrixFormat, TOKENS: number) =>
    shaders.program(matmulIntegers(format), { ...consts(format), TOKENS }),
  );
  const integerMatvecs = wanted((format: MatrixFormat, gate: MatvecActivation) =>
    shaders.program(matvecIntegers(format, variants.matvec), tokenConsts(format, false, gate)),
  );

  for (const { matrix, table = false, norm = false, gate = "none" } of uses) {
    const whole = hasWholeBlocks(matrix);
    for (const { format } of matrix.slices) {
      if (table) embeds.want(format);
      if (variants.integers && matrixLayouts[format].integers) {
        for (const isNormed of [false, norm]) quantizes.want(isNormed);
        for (const size of integerTile.sizes) integerMatmuls.want(format, size);
        for (const activation of ["none", gate] as const) integerMatvecs.want(format, activation);
      } else {
        for (const size of matmulTiles[variants.matmul].sizes) matmuls.want(format, whole, size);
        matvecs.want(format, whole, false, "none");
        matvecs.want(format, whole, norm, gate);
      }
    }
  }
  const [embedOf, matmulOf, matvecOf, quantize, matmulIntegersOf, matvecIntegersOf] = await Promise.all([
    embeds.made(),
    matmuls.made(),
    matvecs.made(),
    quantizes.made(),
    integerMatmuls.made(),
    integerMatvecs.made(),
  ]);
  return {
    embed: embedOf,
    matmul: matmulOf,
    matvec: matvecOf,
    quantize,
    matmulIntegers: matmulIntegersOf,
    matvecIntegers: matvecIntegersOf,
  };
}

/** Things that are made once per set of arguments, all at the same time, and looked up afterwards. */
function wanted<A extends readonly (string | boolean | number)[], T>(make: (...args: A) => Promise<T>) {
  const making = new Map<string, Promise<T>>();
  return {
    want(...args: A): void {
      const key = args.join();
      if (!making.has(key)) making.set(key, make(...args));
    },
    async made(): Promise<(...args: A) => T> {
      const made = new Map(await Promise.all([...making].map(async ([key, value]) => [key, await value] as const)));
      return (...args) => {
        const found = made.get(args.join());
        if (found === undefined) throw new RangeError(`no kernel was compiled for ${args.join()}`);
        return found;
      };
    },
  };
}
