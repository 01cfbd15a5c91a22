//! Benches: imgbake against a named peer on the same work, in turn, in one run.

mod build;
mod commands;
mod curve;
mod docs;
mod ground;
mod imgbake;
mod layers;
mod mirror;
mod packer;
pub(crate) mod registry;
mod report;
mod timeline;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::Result;

/// The benches there are.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// A cold build of three shell steps, against Packer's QEMU builder
    Build(Options),
    /// A change to one of five steps, against Packer's QEMU builder
    Layers(Options),
    /// Storing and fetching images, against zstd, qemu-img, casync and skopeo
    Registry(Options),
    /// Storing and fetching, by the image's size and by the number of versions
    RegistryCurve(Options),
    /// What layers cost: by the number of steps, and by the guest's memory
    LayersCurve(Options),
}

/// What every bench takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Prints JSON alone, and leaves docs/benchmarks.md
    #[arg(long)]
    json: bool,
    /// Runs of each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    runs: u8,
    /// Where the base disk and all output go
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// The imgbake to run [default: this tree's, built for release]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Runs a bench.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Build(options) => build::run(options),
        Bench::Layers(options) => layers::run(options),
        Bench::Registry(options) => registry::run(options),
        Bench::RegistryCurve(options) => registry::curve::run(options),
        Bench::LayersCurve(options) => curve::run(options),
    }
}

impl Options {
    /// Tells people how far the bench is.
    fn say(&self, words: &str) {
        if !self.json {
            println!("{words}");
        }
    }

    /// Runs of each.
    fn runs(&self) -> usize {
        usize::from(self.runs)
    }
}
