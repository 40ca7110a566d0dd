/** Names that the manifest declares too; a test compares them. */

export const budgetViewId = "longContext.budget";

/** Type of the task in tasks.json: `{ "type": "longcontext", "budget": 120000 }`. */
export const checkTaskType = "longcontext";

/** Folder of the context sets in the workspace. */
export const contextSetFolder = ".longcontext";
