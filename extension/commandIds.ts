/** Ids of all commands; the manifest declares the same, a test compares them. */
export const commandIds = {
  openPlayground: "longContext.openPlayground",
  askQuestion: "longContext.askQuestion",
  chooseModel: "longContext.chooseModel",
  recount: "longContext.recount",
  showLog: "longContext.showLog",
  loseDevice: "longContext.debug.loseDevice",
  showState: "longContext.debug.showState",
} as const;
