/** What the panel does: every effect behind a button, and the wires to the host and to the engine. State is in state/store.ts. */
import type { PoolRequest, SnapshotFile } from "../engine/api.ts";
import type { AskResult, Citation } from "../engine/generate/api.ts";
import { EngineError, plainError } from "../engine/errors.ts";
import { adapterOffer } from "./adapter.ts";
import { createAnswers } from "./answers.ts";
import type { Answers } from "./answers.ts";
import { createChatRequests } from "./chatRequests.ts";
import type { ChosenRun } from "./chatRequests.ts";
import { createEngine } from "./engine.ts";
import type { Host, PageAddresses } from "./engine.ts";
import { cellEdges, fileBoundaries, snapEdges } from "./heatmap/model.ts";
import type { HeatPicture, HeatWindow, Span } from "./heatmap/model.ts";
import { openChannel } from "./protocol/channel.ts";
import type { Port } from "./protocol/channel.ts";
import type { AttachedFiles, EngineReport, HostCalls, HostTopics, PanelCalls } from "./protocol/panel.ts";
import type { PanelSettings, PanelTopics, RunSettings, SavedRun } from "./protocol/panel.ts";
import { createAnswerChecks } from "./answerCheck.ts";
import type { AnswerChecks } from "./answerCheck.ts";
import { createAttentionLab } from "./attentionLab.ts";
import type { AttentionLab } from "./attentionLab.ts";
import { afterPause, followPrompt } from "./promptPlan.ts";
import { createPreSend } from "./preSend.ts";
import { createRopeLab, keepSearch, loadSearch } from "./ropeLab.ts";
import type { RopeLab } from "./ropeLab.ts";
import { openSpec } from "./state/derived.ts";
import { askOptions } from "./state/promptPlan.ts";
import { readRopeDraft } from "./state/ropeDraft.ts";
import type { RopeDraft } from "./state/ropeDraft.ts";
import type { SheetChoice } from "./state/sheet.ts";
import { snapshotOf } from "./state/snapshot.ts";
import { busyWith, panelState, threadHistory } from "./state/store.ts";
import type { Action, Chip, EngineState, HeatState, Store, Tab } from "./state/store.ts";

/** Everything a control of the panel can do. */
export interface Playground {
  selectTab: (tab: Tab) => void;
  toggleChip: (chip: Chip | undefined) => void;
  typeQuestion: (text: string) => void;
  ask: () => void;
  /** On the sheet that is shown before a question is computed. */
  chooseOnSheet: (choice: SheetChoice) => void;
  stop: () => void;
  newQuestion: () => void;
  showRun: (id: string) => void;
  reveal: (lines: Pick<Citation, "path" | "startLine" | "endLine">) => void;
  answers: Answers;
  /** Shows a RoPE draft; one that can be read is saved and applies to the next run. */
  editRope: (draft: RopeDraft) => void;
  lab: RopeLab;
  attention: AttentionLab;
  checks: AnswerChecks;
  changeSettings: (change: Partial<PanelSettings>) => void;
  chooseModel: () => void;
  restartEngine: () => void;
  inspectAttention: () => void;
  changeHeat: (change: Partial<Pick<HeatState, "layer" | "head" | "scale" | "cursor" | "shade">>) => void;
  zoom: (window: HeatWindow) => void;
  zoomOut: () => void;
  pool: () => void;
  stopPooling: () => void;
  dismissNotice: () => void;
}

/** Connects to the host, opens the engine and returns the controls' actions. */
export function createPlayground(store: Store, port: Port, addresses: PageAddresses): Playground {
  const dispatch = (action: Action): void => {
    const before = store.state.engine;
    store.dispatch(action);
    if (isNewStatus(action, before)) attempt(host.call("engine/report", engineReport(store.state.engine)));
    const entry = logEntry(action);
    if (entry) attempt(host.call("log/write", entry));
    const kept = keepSearch(host, action);
    if (kept) attempt(kept);
    chat.follow(action);
  };
  const host: Host = openChannel<HostCalls, PanelCalls, PanelTopics, HostTopics>(
    port,
    {
      "panel/ask": async ({ question }) => {
        // A page that was only just opened knows no settings yet.
        await settingsRead;
        return { accepted: begin(question) };
      },
      "panel/answer": (params, context) => chat.handlers["panel/answer"](params, context),
      "panel/plan": (params, context) => chat.handlers["panel/plan"](params, context),
      "panel/reply": (params, context) => chat.handlers["panel/reply"](params, context),
      "panel/select": ({ tab }) => {
        selectTab(tab);
        return {};
      },
      "panel/state": () => panelState(store.state),
      "panel/citation": ({ step }) => answers.step(step),
      "panel/adapter": async () => ({ offer: await adapterOffer(navigator.gpu) }),
      "panel/loseDevice": () => engine.loseDevice(),
    },
    { name: "panel" },
  );
  const engine = createEngine(host, addresses, dispatch);
  let asking: AbortController | undefined;
  let pooling: { controller: AbortController; done: Promise<void> } | undefined;

  /** Runs an effect whose failure belongs to no run: it becomes a notice. */
  const attempt = (work: Promise<unknown>): void => {
    work.catch((error: unknown) => {
      const plain = plainError(error);
      if (plain.code !== "aborted") dispatch({ type: "notice", notice: plain });
    });
  };

  const openEngine = (): void => {
    const { settings } = store.state;
    if (settings) engine.open(settings);
  };

  /** False when a run is going on or there is nothing to ask; where something is off it is computed only once the user says so. */
  function begin(question: string): boolean {
    const { settings, engine: state } = store.state;
    if (busyWith(store.state) || !settings || question.trim() === "" || state.status === "failed") return false;
    dispatch({ type: "question", text: question });
    dispatch({ type: "tab", tab: "ask" });
    preSend.ask(question.trim());
    return true;
  }

  function start(question: string, without: readonly string[]): void {
    const { settings } = store.state;
    if (busyWith(store.state) || !settings) return;
    const history = threadHistory(store.state);
    // A failure is shown as the run that failed.
    void run({ id: crypto.randomUUID(), question, without, settings, history }).catch(() => undefined);
  }

  /** The question of a run that was limited to what was attached, from these files as they are now. */
  async function askAttached(question: string, { files, first }: AttachedFiles): Promise<void> {
    const { files: counted } = await host.call("workspace/files", {});
    const { settings, engine: state } = store.state;
    if (busyWith(store.state) || !settings || state.status === "failed") return;
    const now = new Map(counted.map((file) => [file.path, file]));
    // One that is not listed is read as it was then, and refused with its name where it changed.
    const current = files.map((file) => {
      const { hash, sizeBytes } = now.get(file.path) ?? file;
      return { ...file, hash, sizeBytes };
    });
    const chosen = { question, files: current, first, history: threadHistory(store.state), limited: true };
    void run({ ...chosen, id: crypto.randomUUID(), settings, signal: undefined }).catch(() => undefined);
  }

  /** One question from the files, which are those of the workspace where none are given, to the saved run. Throws why it failed, too. */
  async function run(asked: OwnRun | ChosenRun): Promise<AskResult> {
    const { id, question, settings, history } = asked;
    const chosen = "files" in asked ? asked : undefined;
    const controller = new AbortController();
    const signal = chosen?.signal ? AbortSignal.any([controller.signal, chosen.signal]) : controller.signal;
    asking = controller;
    dispatch({ type: "runStarted", id, question });
    const earlier = [...store.state.thread];
    try {
      await engineFree();
      const files = "files" in asked ? asked.files : await filesWithout(asked.without, signal);
      if (files.length === 0) {
        throw new EngineError(
          "empty-workspace",
          "there is no text file to read here",
          "open a folder with source files, or check what .gitignore leaves out",
        );
      }
      const first = chosen ? { first: chosen.first } : {};
      const params = { runId: id, question, files, ...first, history, options: askOptions(settings) };
      const result = await engine.ask(params, signal);
      const saved: SavedRun = {
        id,
        askedAt: new Date().toISOString(),
        result,
        settings: runSettings(settings, store.state.engine),
        earlier,
        ...(chosen?.limited ? { attached: { files: chosen.files, first: chosen.first } } : {}),
      };
      // Sent before anything is drawn: a panel closed right now must not lose the run.
      attempt(host.call("runs/save", saved));
      dispatch({ type: "runFinished", run: saved });
      return result;
    } catch (error) {
      dispatch({ type: "runFailed", runId: id, error: plainError(error) });
      throw error;
    } finally {
      asking = undefined;
      if (store.state.tab === "inspect") pool();
    }
  }

  /** The files of the workspace, but for some. */
  async function filesWithout(without: readonly string[], signal: AbortSignal): Promise<SnapshotFile[]> {
    const { files } = await host.call("workspace/files", {}, { signal });
    return snapshotOf(files).filter(({ path }) => !without.includes(path));
  }

  const preSend = createPreSend({
    ...{ store, host, engine, dispatch, attempt, engineFree, start },
    changeRope: (rope) => {
      changeSettings({ rope });
    },
  });
  const chat = createChatRequests({ store, host, engine, dispatch, run, engineFree, openEngine });

  /** Ends a pooling and waits until the engine is free of it: it does one thing at a time. */
  async function stopPool(): Promise<void> {
    pooling?.controller.abort();
    await pooling?.done;
  }

  /** What gives way to whatever a person asks for. */
  async function engineFree(): Promise<void> {
    await attention.engineFree();
    await stopPool();
  }

  function pool(): void {
    const before = stopPool();
    const controller = new AbortController();
    const current = { controller, done: before.then(() => poolOnce(controller.signal)) };
    pooling = current;
    attempt(
      current.done.then(() => {
        if (pooling === current) pooling = undefined;
      }),
    );
  }

  async function poolOnce(signal: AbortSignal): Promise<void> {
    const { state } = store;
    const cached = state.runs.find((candidate) => candidate.id === state.cachedRun);
    if (!cached || busyWith(state) || signal.aborted) return;
    const { layer, head, window } = state.heat;
    const { answerStart, answerTokens } = cached.result;
    const boundaries = fileBoundaries(cached.result.packed);
    dispatch({ type: "heatPooling" });
    const picture = async (query: Span, rows?: number): Promise<HeatPicture> => {
      const queryEdges = snapEdges(cellEdges(query, rows), boundaries);
      const keyEdges = snapEdges(cellEdges(window.key), boundaries);
      const request: PoolRequest = { layer, head, queryEdges, keyEdges };
      return { queryEdges, keyEdges, pooled: await engine.pool(request, signal) };
    };
    try {
      const map = await picture(window.query);
      // The last token of the answer was sampled but never fed back, so it asked nothing.
      const asked = { start: answerStart - 1, end: answerStart - 1 + answerTokens };
      const answerRow = answerTokens > 0 ? await picture(asked, 1) : undefined;
      if (!signal.aborted) dispatch({ type: "heatPooled", picture: map, answerRow });
      if (store.state.heat.heads === undefined) {
        const heads = await engine.headFacts(HEAD_QUERIES, signal);
        if (!signal.aborted) dispatch({ type: "headsMeasured", heads });
      }
    } catch (error) {
      dispatch(signal.aborted ? { type: "heatStopped" } : { type: "heatFailed", error: plainError(error) });
    }
    if (signal.aborted) dispatch({ type: "heatStopped" });
  }

  const settingsRead = (async (): Promise<void> => {
    const [settings, runs] = await Promise.all([host.call("settings/read", {}), host.call("runs/list", {})]);
    dispatch({ type: "settings", settings });
    dispatch({ type: "runsListed", runs });
    openEngine();
  })();
  attempt(settingsRead.then(() => loadSearch(host, dispatch)));
  host.ready.catch((error: unknown) => {
    dispatch({ type: "engineFailed", error: plainError(error) });
  });
  host.subscribe("budget", (budget) => {
    dispatch({ type: "budget", budget });
  });
  host.subscribe("model", () => {
    asking?.abort();
    openEngine();
  });

  followPrompt({ store, host, engine, dispatch, later: afterPause });

  const selectTab = (tab: Tab): void => {
    dispatch({ type: "tab", tab });
    attempt(host.call("tab/shown", { tab }));
    const { heat, cachedRun } = store.state;
    if (tab === "inspect" && cachedRun !== undefined && !heat.picture && heat.status.kind === "idle") pool();
  };
  /** Another engine, where these settings need one. */
  const applySettings = (settings: PanelSettings): void => {
    const before = store.state.settings;
    dispatch({ type: "settings", settings });
    if (!before || openedWith(settings) === openedWith(before)) return;
    asking?.abort();
    openEngine();
  };
  const changeSettings = (change: Partial<PanelSettings>): void => {
    const before = store.state.settings;
    if (!before) return;
    const settings = { ...before, ...change };
    attempt(host.call("settings/write", settings));
    applySettings(settings);
  };
  host.subscribe("settings", ({ settings }) => {
    applySettings(settings);
  });

  const answers = createAnswers({
    store,
    host,
    dispatch,
    attempt,
    ask: begin,
    askAttached,
    writeClipboard: (text) => navigator.clipboard.writeText(text),
  });
  const attention = createAttentionLab({ store, engine, dispatch, changeSettings });
  const checks = createAnswerChecks({ store, engine, dispatch, engineFree });
  const lab = createRopeLab({
    store,
    host,
    engine,
    dispatch,
    attempt,
    ask: begin,
    engineFree,
    changeRope: (rope) => {
      changeSettings({ rope });
    },
  });

  return {
    selectTab,
    changeSettings,
    lab,
    attention,
    checks,
    toggleChip(chip) {
      dispatch({ type: "chip", chip });
    },
    typeQuestion(text) {
      dispatch({ type: "question", text });
    },
    ask() {
      begin(store.state.question);
    },
    chooseOnSheet: preSend.choose,
    stop() {
      preSend.stop();
      if (!asking) return;
      dispatch({ type: "runStopping" });
      asking.abort();
    },
    newQuestion() {
      dispatch({ type: "newQuestion" });
    },
    answers,
    reveal({ path, startLine, endLine }) {
      attempt(host.call("citation/reveal", { path, startLine, endLine }));
    },
    showRun(id) {
      dispatch({ type: "runShown", id });
      dispatch({ type: "tab", tab: "ask" });
    },
    editRope(draft) {
      dispatch({ type: "ropeDraft", draft });
      const spec = openSpec(store.state);
      const reading = spec ? readRopeDraft(draft, spec) : undefined;
      if (reading && "choice" in reading) changeSettings({ rope: reading.choice });
    },
    chooseModel() {
      attempt(host.call("model/choose", {}));
    },
    restartEngine() {
      openEngine();
    },
    inspectAttention() {
      selectTab("inspect");
    },
    changeHeat(change) {
      dispatch({ type: "heat", change });
      if (change.layer !== undefined || change.head !== undefined) pool();
    },
    zoom(window) {
      dispatch({ type: "heatZoomed", window });
      pool();
    },
    zoomOut() {
      if (store.state.heat.outer.length === 0) return;
      dispatch({ type: "heatZoomedOut" });
      pool();
    },
    pool,
    stopPooling() {
      pooling?.controller.abort();
    },
    dismissNotice() {
      dispatch({ type: "notice", notice: undefined });
    },
  };
}

/** A question that was asked in the panel. */
interface OwnRun {
  id: string;
  question: string;
  /** Paths that are left out of this question. */
  without: readonly string[];
  settings: PanelSettings;
  history: { question: string; answer: string }[];
}

/** What a run keeps of how it was asked; the model is the one that answered, which is open. */
function runSettings(
  { sampling, quote, maxAnswerTokens, products }: PanelSettings,
  engine: EngineState,
): RunSettings | undefined {
  if (engine.status !== "ready") return undefined;
  const { model, weightFormat } = engine.info;
  return { model, weightFormat, products, sampling, quote, maxAnswerTokens };
}

/** Tokens that each head is measured on. */
const HEAD_QUERIES = 64;

/** Whether the host should hear of it: not of every piece of the weights. */
function isNewStatus(action: Action, before: EngineState): boolean {
  if (action.type === "engineStarting") return before.status !== "starting";
  return action.type === "engineReady" || action.type === "engineFailed";
}

function engineReport(engine: EngineState): EngineReport {
  const nothing = { device: "", weightFormat: "", message: "" };
  switch (engine.status) {
    case "starting":
      return { ...nothing, status: "starting" };
    case "ready":
      return { ...nothing, status: "ready", device: engine.info.device, weightFormat: engine.info.weightFormat };
    case "failed":
      return { ...nothing, status: "failed", message: engine.error.message };
  }
}

/** What belongs in the output channel, where a bug report takes it from: how the engine opened, and every failure that is no stop. */
function logEntry(action: Action): HostCalls["log/write"]["params"] | undefined {
  switch (action.type) {
    case "engineReady": {
      const { model, backend, device, backendBecause } = action.info;
      return { level: "info", message: `${model} is open on ${backend} (${device}): ${backendBecause}` };
    }
    case "engineFailed":
    case "runFailed":
    case "previewFailed":
    case "searchFailed":
    case "checkFailed":
    case "heatFailed": {
      const { code, message, facts } = action.error;
      return code === "aborted"
        ? undefined
        : { level: "error", message: `${action.type}: ${code}: ${message} ${JSON.stringify(facts)}` };
    }
    default:
      return undefined;
  }
}

/** Equal iff the same engine can go on. */
function openedWith({ backend, weightFormat, products, kv }: PanelSettings): string {
  return [backend, weightFormat, products, kv.keys, kv.values].join(" ");
}
