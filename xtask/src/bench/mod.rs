//! Benches: imgbake against a named peer on the same work, in turn, in one run.

pub(crate) mod bootstrap;
mod build;
mod commands;
mod converge;
mod curve;
mod docs;
mod files;
mod ground;
mod imgbake;
mod layers;
mod mirror;
mod options;
mod packer;
pub(crate) mod registry;
mod report;
mod timeline;
mod verify;

use clap::Subcommand;

use crate::Result;
use options::Options;

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
    /// A verify of the shipped Debian, against the same boots by plain QEMU
    Verify(Options),
    /// A base disk from packages, against mmdebstrap, mke2fs and zstd, and against mkosi and vmdb2
    Bootstrap(Options),
    /// What layers cost: by the number of steps, and by the guest's memory
    LayersCurve(Options),
    /// The proof that a step converges, against the tool's own second run
    Converge(Options),
}

/// Runs a bench.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Build(options) => build::run(options),
        Bench::Layers(options) => layers::run(options),
        Bench::Registry(options) => registry::run(options),
        Bench::RegistryCurve(options) => registry::curve::run(options),
        Bench::Bootstrap(options) => bootstrap::run(options),
        Bench::Verify(options) => verify::run(options),
        Bench::LayersCurve(options) => curve::run(options),
        Bench::Converge(options) => converge::run(options),
    }
}
