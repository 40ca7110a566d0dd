/** What each head does, measured on the device from the sampled queries of the tap. */
import { throwIfAborted } from "../errors.ts";
import { storageBuffer, uploadedBuffer } from "../gpu/buffers.ts";
import type { ShaderCache } from "../gpu/shader.ts";
import { attnFacts } from "../kernels/attn_facts.ts";
import { chosenPages } from "../kernels/chosenPages.ts";
import { rowConstsOf } from "../kernels/cachedRows.ts";
import { alibiSlopes } from "../position/alibi.ts";
import { spread } from "../reference/headFacts.ts";
import { BLOCK_TOKENS, DISTANCE_BUCKETS, PAGE_TOKENS, SINK_KEYS, type AttentionFacts, type HeadFacts } from "./api.ts";
import { noneChosen } from "./pageChoices.ts";
import { addSampleList, Words } from "./pageLists.ts";
import { addPagesOfSlabs, slabBuffers, type PoolSource } from "./pool.ts";
import { sampleGroups } from "./sparse/seen.ts";

/** Query-key pairs, over all heads, of one submission. */
const PIECE_PAIRS = 2 ** 20;
const WIDTH = 2 + DISTANCE_BUCKETS;

/** On at most `most` of the queries that the tap keeps, in the layers it keeps. Throws `aborted`. */
export async function headFactsOnDevice(
  source: PoolSource,
  shaders: ShaderCache,
  most: number,
  signal: AbortSignal | undefined,
): Promise<AttentionFacts> {
  const { spec, gpu, recorder, readback, cache, tap, positions } = source;
  const { headCount, kvHeadCount, headDim, attentionScale: scale } = spec;
  const { formats } = cache;
  const program = await shaders.program(attnFacts(formats.keys), {
    ...{ HEAD_DIM4: headDim / 4, BLOCK_TOKENS, PAGE_TOKENS, SINK_KEYS, BUCKETS: DISTANCE_BUCKETS },
    KEY_ROW: rowConstsOf(formats, headDim).KEY_ROW,
    ...chosenPages.consts,
  });
  const kept = spread(tap.samples(0, cache.length), most);
  if (kept.length === 0) return { queries: 0, heads: [] };
  const slopes = spec.alibi === undefined ? new Float32Array(headCount) : alibiSlopes(headCount, spec.alibi.maxBias);
  const shared = {
    samples: uploadedBuffer(gpu, "samples", Uint32Array.from(kept.flatMap(({ slot, position }) => [slot, position]))),
    slopes: uploadedBuffer(gpu, "slopes", Float32Array.from(slopes)),
  };
  const heads: HeadFacts[] = [];
  try {
    for (const layer of tap.layers) {
      const from = tap.at(layer);
      if (from === undefined) throw new RangeError(`layer ${layer} is listed as kept and is not`);
      const seen = source.seen(layer);
      // What its queries saw was too much to remember.
      if (seen.length === 0) continue;
      const sums = storageBuffer(gpu, "head sums", kept.length * headCount * WIDTH * 4);
      const made: GPUBuffer[] = [sums];
      try {
        for (const [index, band] of positions.layer(layer).bands.entries()) {
          for (const { first, end, shown, pattern } of sampleGroups(kept, seen)) {
            const words = new Words();
            const list = addSampleList(words, band, kept, pattern, spec, shown);
            const pagesAt = addPagesOfSlabs(words, cache, layer);
            const chosen = source.chosenRoom(words, layer, kept.slice(first, end));
            const lists = uploadedBuffer(gpu, "sample lists", words.view());
            made.push(lists);
            await chosen?.write(lists, from.queries);
            // Ranges of all samples lie in front, so that going back by the samples of other groups stays inside.
            const { chosenAt, chosenCount } =
              chosen === undefined ? noneChosen : { ...chosen, chosenAt: chosen.chosenAt - first };
            for (const [slab, pages] of pagesAt.entries()) {
              const { keys } = slabBuffers(source, cache.layer(layer).slabs[slab], band.copy);
              const buffers = { queries: from.queries[index], keys, lse: from.lse, lists, ...shared, sums };
              const piece = Math.max(1, Math.floor(PIECE_PAIRS / (headCount * cache.length)));
              for (let firstSample = first; firstSample < end; firstSample += piece) {
                const params = {
                  ...{ ...list, start: shown.start, firstSample, heads: headCount, kvHeads: kvHeadCount, scale },
                  ...{ pagesAt: pages, chosenAt, chosenCount, softcap: spec.attentionSoftcap ?? 0 },
                };
                recorder.run(program, params, buffers, [Math.min(piece, end - firstSample), headCount]);
                await recorder.finish();
                throwIfAborted(signal);
              }
            }
          }
        }
        heads.push(...factsOf(layer, new Float32Array(await readback.read(sums, 0, sums.size)), kept.length, headCount));
      } finally {
        for (const buffer of made) buffer.destroy();
      }
    }
  } finally {
    for (const buffer of Object.values(shared)) buffer.destroy();
    recorder.forget();
  }
  return { queries: kept.length, heads };
}

/** Means over samples of sums [samples, H, WIDTH]. */
function factsOf(layer: number, sums: Float32Array, samples: number, headCount: number): HeadFacts[] {
  return Array.from({ length: headCount }, (_, head) => {
    const means = Array.from({ length: WIDTH }, (__, part) => {
      let sum = 0;
      for (let sample = 0; sample < samples; sample++) sum += sums[(sample * headCount + head) * WIDTH + part];
      return sum / samples;
    });
    return { layer, head, sinkMass: means[0], entropy: means[1], distances: means.slice(2) };
  });
}
