/** Node has it; neither the language's library nor @types/node says so without the DOM. */
declare namespace WebAssembly {
  type Module = object;
  type Imports = object;
  const Module: new (bytes: Uint8Array) => Module;
  const Instance: new (module: Module, imports: Imports) => { exports: object };
}
