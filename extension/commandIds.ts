/** Ids of all commands; the manifest declares the same, a test compares them. */
export const commandIds = {
  openPlayground: "longContext.openPlayground",
  askQuestion: "longContext.askQuestion",
  chooseModel: "longContext.chooseModel",
  recount: "longContext.recount",
  fit: "longContext.fit",
  undoLevels: "longContext.undoLevels",
  include: "longContext.include",
  outlineOnly: "longContext.outlineOnly",
  nameOnly: "longContext.nameOnly",
  exclude: "longContext.exclude",
  toggleIncluded: "longContext.toggleIncluded",
  resetLevel: "longContext.resetLevel",
  why: "longContext.why",
  filterBudget: "longContext.filterBudget",
  clearFilter: "longContext.clearFilter",
  sortByTokens: "longContext.sortByTokens",
  sortByPath: "longContext.sortByPath",
  sortByChange: "longContext.sortByChange",
  copyPack: "longContext.copyPack",
  exportPack: "longContext.exportPack",
  saveContextSet: "longContext.saveContextSet",
  openContextSet: "longContext.openContextSet",
  speakBudget: "longContext.speakBudget",
  showLog: "longContext.showLog",
  loseDevice: "longContext.debug.loseDevice",
  showState: "longContext.debug.showState",
  showRow: "longContext.debug.showRow",
} as const;

/** Commands that only rows and quick fixes run, with arguments of their own; not in the palette. */
export const internalCommandIds = {
  showMore: "longContext.internal.showMore",
  applyFix: "longContext.internal.applyFix",
} as const;
