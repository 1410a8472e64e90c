/** Where the package writes its log. */
export const resolvePreferredOpenClawTmpDir = () => process.env.OPENCLAW_STATE_DIR;

/** One process has the files to itself here. */
export const withFileLock = (_path, _options, work) => work();
