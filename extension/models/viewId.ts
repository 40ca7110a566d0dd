/** Id of the Models view; the manifest declares the same, a test compares them. */
export const modelsViewId = "longContext.models";
