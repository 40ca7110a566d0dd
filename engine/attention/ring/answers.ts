/** One answer from each rank. */
import { EngineError } from "../../errors.ts";

export interface Answers<T> {
  /** Settles when every rank has answered: with their values by rank, or with the first error that is more than a stop. */
  readonly all: Promise<T[]>;
  value(rank: number, value: T): void;
  error(rank: number, error: Error): void;
  /** Something went wrong outside the ranks, which still answer. */
  blame(error: Error): void;
  /** Nobody needs to be waited for any more. */
  end(error: Error): void;
}

export function openAnswers<T>(ranks: number): Answers<T> {
  const values = new Map<number, T>();
  const answered = new Set<number>();
  let first: Error | undefined;
  let resolve: (values: T[]) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const all = new Promise<T[]>((settle, fail) => {
    resolve = settle;
    reject = fail;
  });
  // An error may come before anybody waits.
  all.catch(() => undefined);

  const blame = (error: Error): void => {
    if (first === undefined || EngineError.is(first, "aborted")) first = error;
  };
  const answer = (rank: number): void => {
    answered.add(rank);
    if (answered.size < ranks) return;
    if (first !== undefined) reject(first);
    else resolve([...values].sort(([a], [b]) => a - b).map(([, value]) => value));
  };
  return {
    all,
    value(rank, value) {
      values.set(rank, value);
      answer(rank);
    },
    error(rank, error) {
      blame(error);
      answer(rank);
    },
    blame,
    end: (error) => reject(error),
  };
}
