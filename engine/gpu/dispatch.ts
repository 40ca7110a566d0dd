/**
 * Records dispatches and submits them together. Parameters of all dispatches of a submission lie in one uniform buffer, bound with dynamic
 * offsets, and bind groups are kept, so that a decoded token allocates nothing.
 */
import { EngineError } from "../errors.ts";
import { usage } from "./buffers.ts";
import type { EngineDevice } from "./device.ts";
import type { Program } from "./shader.ts";

/** Dynamic offsets are multiples of this (WebGPU's default alignment). */
const SLOT_BYTES = 256;
const SLOTS = 1024;
/** Room for the parameters of one submission. */
export const UNIFORM_BYTES = SLOTS * SLOT_BYTES;
const MAX_WORKGROUPS = 65535;

export type Workgroups = readonly [x: number, y?: number, z?: number];

export interface Recorder {
  /** Adds one dispatch; order is execution order, and each sees what the ones before wrote. */
  run<P extends string, B extends string>(
    program: Program<P, B>,
    params: Record<P, number>,
    buffers: Record<B, GPUBuffer>,
    workgroups: Workgroups,
  ): void;
  copy(source: GPUBuffer, target: GPUBuffer, bytes: number, targetOffset?: number): void;
  /** Hands everything recorded to the queue. */
  submit(): void;
  /** Submits and waits until the device has done it. */
  finish(): Promise<void>;
  /** Forgets kept bind groups; called after buffers were replaced. */
  forget(): void;
  destroy(): void;
}

export function openRecorder(gpu: EngineDevice): Recorder {
  const { device } = gpu;
  const uniforms = device.createBuffer({ label: "params", size: UNIFORM_BYTES, usage: usage.uniform | usage.copyTarget });
  const staged = new DataView(new ArrayBuffer(UNIFORM_BYTES));
  const groups = new Map<string, GPUBindGroup>();
  const bufferIds = new WeakMap<GPUBuffer, number>();
  let nextBufferId = 0;
  let slots = 0;
  let encoder: GPUCommandEncoder | undefined;
  let pass: GPUComputePassEncoder | undefined;

  const idOf = (buffer: GPUBuffer): number => {
    const known = bufferIds.get(buffer);
    if (known !== undefined) return known;
    bufferIds.set(buffer, nextBufferId);
    return nextBufferId++;
  };
  const bindGroup = <P extends string, B extends string>(program: Program<P, B>, buffers: Record<B, GPUBuffer>): GPUBindGroup => {
    let key = `${program.id}`;
    for (const name in program.kernel.buffers) key += `:${idOf(buffers[name])}`;
    let group = groups.get(key);
    if (group === undefined) {
      const names = Object.keys(program.kernel.buffers) as B[];
      group = device.createBindGroup({
        label: program.kernel.name,
        layout: program.layout,
        entries: [
          { binding: 0, resource: { buffer: uniforms, size: SLOT_BYTES } },
          ...names.map((name, index) => ({ binding: index + 1, resource: { buffer: buffers[name] } })),
        ],
      });
      groups.set(key, group);
    }
    return group;
  };
  const stage = <P extends string>(program: Program<P>, params: Record<P, number>): number => {
    const offset = slots++ * SLOT_BYTES;
    let byte = offset;
    for (const name in program.kernel.params) {
      if (program.kernel.params[name] === "f32") staged.setFloat32(byte, params[name], true);
      else staged.setUint32(byte, params[name], true);
      byte += 4;
    }
    return offset;
  };
  const submit = (): void => {
    pass?.end();
    pass = undefined;
    if (slots > 0) device.queue.writeBuffer(uniforms, 0, staged.buffer, 0, slots * SLOT_BYTES);
    slots = 0;
    if (encoder !== undefined) device.queue.submit([encoder.finish()]);
    encoder = undefined;
  };

  return {
    run(program, params, buffers, [x, y = 1, z = 1]) {
      if (x === 0 || y === 0 || z === 0) return;
      if (Math.max(x, y, z) > MAX_WORKGROUPS) {
        throw new EngineError(
          "limit-exceeded",
          `${program.kernel.name} needs ${Math.max(x, y, z)} workgroups`,
          "lower the context length",
        );
      }
      if (slots === SLOTS) submit();
      encoder ??= device.createCommandEncoder();
      pass ??= encoder.beginComputePass();
      const offset = stage(program, params);
      pass.setPipeline(program.pipeline);
      pass.setBindGroup(0, bindGroup(program, buffers), [offset]);
      pass.dispatchWorkgroups(x, y, z);
    },
    copy(source, target, bytes, targetOffset = 0) {
      pass?.end();
      pass = undefined;
      encoder ??= device.createCommandEncoder();
      encoder.copyBufferToBuffer(source, 0, target, targetOffset, bytes);
    },
    submit,
    async finish() {
      submit();
      await gpu.settle(device.queue.onSubmittedWorkDone());
    },
    forget: () => groups.clear(),
    destroy: () => uniforms.destroy(),
  };
}
