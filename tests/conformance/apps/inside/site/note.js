export const note = "as it was";
