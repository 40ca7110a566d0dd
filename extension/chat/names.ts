/** Names that the manifest declares too; a test compares them. */

/** Id of the chat participant; people write `@longcontext`. */
export const participantId = "long-context-playground.longcontext";
export const participantName = "longcontext";

/** What the participant does beside answering, as `/where …`. */
export const chatCommands = ["where", "plan"] as const;
export type ChatCommandName = (typeof chatCommands)[number];

/** Under which VS Code lists our models. */
export const modelVendor = "long-context";
