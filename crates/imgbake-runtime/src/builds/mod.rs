//! Records of builds: `IMGBAKE_HOME/builds/ID/`, written while the build runs, so that a kill leaves
//! what was there.
//!
//! | file | holds |
//! | --- | --- |
//! | `build.json` | what was begun |
//! | `plan.json` | the plan, sensitive values as markers |
//! | `events.jsonl` | its events, without output and progress |
//! | `output/NN-NAME.jsonl` | the output of a step or test, or a machine's console; the lines before the last ones in `.old.jsonl` |
//! | `result.json` | how it ended |
//!
//! All of it is redacted, and bounded: of a long output the end is kept. A record that cannot be
//! written ends with one warning; the build goes on.

mod files;
mod output;
mod read;
mod record;
mod sweep;
mod writer;

pub use read::{BuildState, LoggedOutput, LoggedStage, StoredBuild, list};
pub use record::BuildRecord;
pub use sweep::{BuildRetention, sweep};
