declare module "*.wgsl" {
  const source: string;
  export default source;
}

/** A module that the build compiles from the AssemblyScript file of the same name. */
declare module "*.wasm" {
  const module: Uint8Array<ArrayBuffer>;
  export default module;
}
