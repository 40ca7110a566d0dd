/** What the RoPE lab does beside editing fields: previews, exact runs of the same question, and LongRoPE's search. */
import type { RopeChoice } from "../engine/api.ts";
import { plainError } from "../engine/errors.ts";
import { formatRope } from "../engine/position/ropeJson.ts";
import { isRotating } from "../engine/position/scaling.ts";
import type { EngineClient, Host } from "./engine.ts";
import { openSpec } from "./state/derived.ts";
import { searchedBest, suggestedForm } from "./state/lab.ts";
import type { SearchForm, SearchSettings } from "./state/lab.ts";
import { busyWith } from "./state/store.ts";
import type { Action, Store } from "./state/store.ts";

export interface RopeLab {
  /** Answers the question in the cache again under the setting in force, approximately. */
  preview: () => void;
  stopPreview: () => void;
  /** Asks the same question again, so that everything is computed under the setting in force. */
  runExactly: () => void;
  editSearch: (change: Partial<SearchForm>) => void;
  /** Begins anew, or goes on with the saved search. */
  search: (settings: SearchSettings, resume: boolean) => void;
  stopSearch: () => void;
  /** Makes the best factors the setting. */
  useSearched: () => void;
  exportSearched: () => void;
}

/** What the lab needs of the playground around it. */
export interface LabParts {
  store: Store;
  host: Host;
  engine: EngineClient;
  dispatch: (action: Action) => void;
  /** Runs an effect whose failure becomes a notice. */
  attempt: (work: Promise<unknown>) => void;
  /** Asks a question; false where that cannot be now. */
  ask: (question: string) => boolean;
  /** Ends a pooling and waits for the engine. */
  engineFree: () => Promise<void>;
  changeRope: (rope: RopeChoice) => void;
}

export function createRopeLab(parts: LabParts): RopeLab {
  const { store, host, engine, dispatch, attempt } = parts;
  let previewing: AbortController | undefined;
  let searching: AbortController | undefined;

  async function preview(runId: string, rope: RopeChoice): Promise<void> {
    const id = crypto.randomUUID();
    const controller = new AbortController();
    previewing = controller;
    dispatch({ type: "previewStarted", id, runId });
    try {
      await parts.engineFree();
      dispatch({ type: "previewReady", id, preview: await engine.previewRope({ runId: id, rope }, controller.signal) });
    } catch (error) {
      dispatch({ type: "previewFailed", id, error: plainError(error) });
    } finally {
      previewing = undefined;
    }
  }

  async function search(settings: SearchSettings, resume: boolean): Promise<void> {
    const id = crypto.randomUUID();
    const controller = new AbortController();
    const { signal } = controller;
    searching = controller;
    const { saved } = store.state.lab.search;
    dispatch({ type: "searchStarted", id });
    try {
      await parts.engineFree();
      const { files } = await host.call("workspace/files", {}, { signal });
      const request = {
        ...settings,
        files: files.map(({ path, hash, sizeBytes }) => ({ path, hash, sizeBytes })),
        ...(resume && saved ? { resume: saved } : {}),
      };
      const result = await engine.searchRope({ searchId: id, request }, signal);
      dispatch({ type: "searchEnded", id, result });
    } catch (error) {
      dispatch({ type: "searchFailed", id, error: plainError(error) });
    } finally {
      searching = undefined;
    }
  }

  function best() {
    const spec = openSpec(store.state);
    const { saved } = store.state.lab.search;
    return saved && spec && isRotating(spec) ? searchedBest(saved, spec) : undefined;
  }

  return {
    preview() {
      const { contextRun, settings } = store.state;
      if (contextRun !== undefined && settings && !busyWith(store.state)) attempt(preview(contextRun, settings.rope));
    },
    stopPreview() {
      previewing?.abort();
    },
    runExactly() {
      const { runs, contextRun, shownRun } = store.state;
      const run = runs.find(({ id }) => id === (contextRun ?? shownRun));
      if (!run || busyWith(store.state)) return;
      dispatch({ type: "rewound", runId: run.id });
      parts.ask(run.result.question);
    },
    editSearch(change) {
      const { engine: opened, lab } = store.state;
      if (opened.status !== "ready" || !isRotating(opened.info.spec)) return;
      // What is shown may be a frame old: the change is made to the state as it is.
      const form = lab.search.form ?? suggestedForm(opened.info.spec, opened.info.capacityTokens);
      dispatch({ type: "searchForm", form: { ...form, ...change } });
    },
    search(settings, resume) {
      if (!busyWith(store.state)) attempt(search(settings, resume));
    },
    stopSearch() {
      if (!searching) return;
      dispatch({ type: "searchStopping" });
      searching.abort();
    },
    useSearched() {
      const found = best();
      if (found) parts.changeRope(found.scaling);
    },
    exportSearched() {
      const found = best();
      if (!found) return;
      const text = `${JSON.stringify(formatRope(found.scaling), undefined, 2)}\n`;
      attempt(host.call("file/save", { name: "rope.json", text }));
    },
  };
}

/** States of a search are kept by the host as they come, so that a panel that is closed loses at most half a minute. */
export function keepSearch(host: Host, action: Action): Promise<unknown> | undefined {
  if (action.type === "searchEvent" && action.event.type === "state")
    return host.call("search/save", { state: action.event.state });
  if (action.type === "searchEnded") return host.call("search/save", { state: action.result.state });
  return undefined;
}

/** Reads the search that an earlier panel left. One that cannot be read is as good as none. */
export async function loadSearch(host: Host, dispatch: (action: Action) => void): Promise<void> {
  const { state } = await host.call("search/read", {});
  if (state !== undefined) dispatch({ type: "searchLoaded", saved: state });
}
