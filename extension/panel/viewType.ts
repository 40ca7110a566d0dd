/** Named in the manifest as well: the window restores panels of this type. */
export const playgroundViewType = "longContext.playground";
