/** Declared in the manifest as well; a test compares them. */
export const walkthroughId = "firstTwoMinutes";

/** Context keys of the walkthrough; each but `started` completes a step. */
export const walkthroughKeys = {
  /** The extension runs. Until then the walkthrough is hidden, so that VS Code does not open it by itself after installing. */
  started: "longContext.started",
  /** An answer with a verified quote was saved. */
  answered: "longContext.answered",
  /** The lines of a citation were opened. */
  cited: "longContext.citationOpened",
  /** The Inspect tab was looked at. */
  inspected: "longContext.inspected",
} as const;
