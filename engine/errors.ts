/** Facts that belong to one error: numbers carry their unit in the name, e.g. `needMiB`. */
export type ErrorFacts = Readonly<Record<string, string | number | boolean>>;

/** Every code the engine can raise; a wire or a test may match on it, so codes are never renamed. */
export type ErrorCode =
  | "aborted"
  | "bad-argument"
  | "bad-weights"
  | "busy"
  | "context-too-long"
  | "device-lost"
  | "download-damaged"
  | "empty-workspace"
  | "hub-offline"
  | "hub-refused"
  | "hub-unreachable"
  | "internal"
  | "kv-cache-too-large"
  | "limit-exceeded"
  | "no-adapter"
  | "no-such-folder"
  | "not-found"
  | "protocol-mismatch"
  | "rope-invalid"
  | "storage-failed"
  | "tokenizer-invalid"
  | "unsupported-model"
  | "unsupported-tokenizer"
  | "weights-missing";

/** An error as it crosses a wire. */
export interface PlainError {
  code: ErrorCode;
  message: string;
  remedy: string;
  facts: ErrorFacts;
}

/** What went wrong in one line, what to do about it, and the numbers; made once and shown as it is. */
export class EngineError extends Error {
  readonly code: ErrorCode;
  readonly remedy: string;
  readonly facts: ErrorFacts;

  constructor(code: ErrorCode, message: string, remedy: string, facts: ErrorFacts = {}) {
    super(message);
    this.name = "EngineError";
    this.code = code;
    this.remedy = remedy;
    this.facts = facts;
  }

  toPlain(): PlainError {
    return { code: this.code, message: this.message, remedy: this.remedy, facts: this.facts };
  }

  static fromPlain(plain: PlainError): EngineError {
    return new EngineError(plain.code, plain.message, plain.remedy, plain.facts);
  }

  static is(error: unknown, code?: ErrorCode): error is EngineError {
    return error instanceof EngineError && (code === undefined || error.code === code);
  }
}

/** Any thrown value as a PlainError; what is not ours is an internal error that keeps its message. */
export function plainError(error: unknown): PlainError {
  if (error instanceof EngineError) return error.toPlain();
  if (error instanceof Error && error.name === "AbortError") return abortedError().toPlain();
  const message = error instanceof Error ? error.message : String(error);
  return { code: "internal", message, remedy: "report it with the log of the Long Context output channel", facts: {} };
}

export function abortedError(): EngineError {
  return new EngineError("aborted", "stopped", "ask again to go on; what was prefilled is kept");
}

/** Throws the `aborted` error when the signal is aborted; called between bounded pieces of work. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError();
}
