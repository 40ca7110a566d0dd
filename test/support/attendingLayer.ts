/** One layer's attention by itself: projections go in chunk by chunk, and what was attended comes out. */
import type { DecoderSpec } from "../../engine/api.ts";
import type { AttentionChoice } from "../../engine/attention/api.ts";
import { attend, cacheChunk } from "../../engine/attention/attend.ts";
import { openChunkPositions } from "../../engine/attention/chunkPositions.ts";
import { massBytes } from "../../engine/attention/decodedMass.ts";
import { patternOf } from "../../engine/attention/patterns/patternOf.ts";
import { openVariants } from "../../engine/attention/variants.ts";
import { F32_CACHE } from "../../engine/attention/wholeOnly.ts";
import { storageBuffer } from "../../engine/gpu/buffers.ts";
import type { EngineDevice } from "../../engine/gpu/device.ts";
import type { Recorder } from "../../engine/gpu/dispatch.ts";
import type { ShaderCache } from "../../engine/gpu/shader.ts";
import { openLinear } from "../../engine/kernels/linear.ts";
import { openOperations } from "../../engine/kernels/ops.ts";
import { plainVariants } from "../../engine/kernels/variants.ts";
import { openPagedCache } from "../../engine/kv-cache/pages.ts";
import { openAttentionActivations } from "../../engine/models/decoder.ts";
import { positionPlan } from "../../engine/position/bands.ts";
import { download, upload } from "./gpuArrays.ts";

const CHUNK_TOKENS = 1024;

export interface AttendingLayer {
  /** Attends with rows [tokens, H + 2G, D] behind `start` tokens; one token alone is decoded. Returns [tokens, H, D]. */
  attend(rows: Float32Array<ArrayBuffer>, start: number, tokens: number): Promise<Float32Array>;
}

export async function openLayer(
  gpu: EngineDevice,
  shaders: ShaderCache,
  recorder: Recorder,
  spec: DecoderSpec,
  choice: AttentionChoice,
): Promise<AttendingLayer> {
  const placeholder = storageBuffer(gpu, "placeholder", 16);
  const slopes = storageBuffer(gpu, "slopes", spec.headCount * 4);
  const linear = await openLinear([], { gpu, shaders, recorder, placeholder, variants: plainVariants, maxTokens: 1 });
  const op = await openOperations(spec, linear, shaders, recorder, { placeholder, slopes, formats: F32_CACHE });
  const cache = openPagedCache({
    ...{ spec, gpu, formats: F32_CACHE, choice, slabPages: 1 },
    ...{ capacityTokens: 2 ** 16, chunkTokens: CHUNK_TOKENS, maxBindingBytes: gpu.maxBufferBytes },
  });
  const positions = openChunkPositions(spec, gpu, cache, CHUNK_TOKENS);
  const plan = positionPlan({ kind: "none" }, spec, 1);
  positions.setPlan(plan);
  const { rotated, lse, parts } = openAttentionActivations(spec, gpu, plan.bands.length, CHUNK_TOKENS);
  const out = storageBuffer(gpu, "attended", CHUNK_TOKENS * spec.headCount * spec.headDim * 4);
  const variants = openVariants({
    ...{ spec, gpu, recorder, shaders, op, cache, positions, slopes, report: storageBuffer(gpu, "report", massBytes(spec)) },
    ...{ choice: () => choice, chunkTokens: CHUNK_TOKENS, maxBytes: undefined },
  });
  return {
    async attend(rows, start, tokens) {
      const isDecoded = tokens === 1;
      const pattern = isDecoded && choice.topPages !== undefined ? undefined : patternOf(choice.policy);
      await cache.reserve(tokens);
      await variants.prepare(plan, tokens);
      positions.write(start, tokens, pattern);
      variants.begin({ start, tokens, isDecoded });
      recorder.forget();
      const span = { start, tokens };
      const chunk = { qkv: upload(gpu, rows), rotated };
      const into = { out, lse, parts };
      cacheChunk(op, chunk, cache.layer(0), positions.layer(0), span);
      const attended = variants.attend(0, chunk, positions.layer(0), into, span);
      if (attended === undefined) attend(op, chunk, cache.layer(0), positions.layer(0), into, span);
      await recorder.finish();
      cache.advance(tokens);
      variants.advance(cache.length);
      return download(gpu, out, tokens * spec.headCount * spec.headDim);
    },
  };
}
