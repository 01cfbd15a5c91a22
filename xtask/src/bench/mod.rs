//! Benches: imgbake against a named peer on the same work, in turn, in one run.

mod build;
mod report;

use clap::Subcommand;

use crate::Result;

/// The benches there are.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// A cold build of three shell steps, against Packer's QEMU builder
    Build {
        /// Prints JSON alone
        #[arg(long)]
        json: bool,
        /// Runs of each
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// Where the base disk and all output go
        #[arg(long, default_value = "target/bench")]
        dir: std::path::PathBuf,
    },
}

/// Runs a bench.
pub(crate) fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::Build { json, runs, dir } => build::run(&dir, runs.max(1), json),
    }
}
