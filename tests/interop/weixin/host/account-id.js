/** An id that is good as a file name. */
export const normalizeAccountId = (id) => id.trim().toLowerCase().replace(/[^a-z0-9_-]+/g, "-");
