//! What is asked of a bench on the command line.

use std::path::PathBuf;

use clap::Args;

/// What every bench takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Prints JSON alone, and leaves docs/benchmarks.md
    #[arg(long)]
    pub(super) json: bool,
    /// Runs of each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    runs: u8,
    /// Where the base disk and all output go
    #[arg(long, default_value = "target/bench")]
    pub(super) dir: PathBuf,
    /// The imgbake to run [default: this tree's, built for release]
    #[arg(long, value_name = "FILE")]
    pub(super) binary: Option<PathBuf>,
}

impl Options {
    /// Prints how far the bench is, unless JSON alone is asked for.
    pub(super) fn say(&self, message: &str) {
        if !self.json {
            println!("{message}");
        }
    }

    /// Runs of each.
    pub(super) fn runs(&self) -> usize {
        usize::from(self.runs)
    }
}
