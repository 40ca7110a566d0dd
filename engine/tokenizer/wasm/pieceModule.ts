import source from "./pieces.wasm";

/** What `pieces.as.ts` exports; addresses and lengths are bytes. */
export interface PieceModule {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  setCache(address: number, slotCount: number): void;
  setLevel(
    index: number,
    bytes: number,
    codes: number,
    table: number,
    starts: number,
    columns: number,
    looksBehind: boolean,
  ): void;
  begin(address: number): void;
  count(from: number, pause: number, limit: number): number;
  encode(from: number, pause: number, limit: number, out: number): number;
  keep(entry: number, tokens: number): number;
  at(): number;
  end(): number;
  tokens(): number;
  code(): number;
  level(): number;
}

/** What `count` and `encode` return. */
export const Outcome = { done: 0, unknownPiece: 1, unknownCharacter: 2, notUtf8: 3 } as const;

/** Part of a global that every host of the engine has and that not every type library describes. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
};

let compiled: object | undefined;

/** An instance with a memory of its own. */
export function pieceModule(): PieceModule {
  compiled ??= new WebAssembly.Module(source);
  const { exports } = new WebAssembly.Instance(compiled);
  if (!isPieceModule(exports)) throw new TypeError("pieces.wasm was compiled from something else");
  return exports;
}

const FUNCTIONS = "setCache setLevel begin count encode keep at end tokens code level".split(" ");

function isPieceModule(exports: unknown): exports is PieceModule {
  const named = new Map(Object.entries(Object(exports) as object));
  return named.has("memory") && FUNCTIONS.every((name) => typeof named.get(name) === "function");
}
