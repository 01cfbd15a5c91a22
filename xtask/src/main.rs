//! The project's chores: `cargo xtask floors`, `cargo xtask generate`, `cargo xtask bench NAME`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore's output is its terminal")]
#![expect(clippy::disallowed_methods, reason = "chores run cargo, imgbake and its peers")]

mod bench;
mod floors;
mod generate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a chore failed, in words.
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

#[derive(Parser)]
#[command(about = "The project's chores")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Checks that no crate uses a room above it or beside it
    Floors,
    /// Writes docs/reference/ from the types
    Generate {
        /// Compares instead of writing
        #[arg(long)]
        check: bool,
    },
    /// Times imgbake against a named peer on the same work
    Bench {
        /// Which
        #[command(subcommand)]
        bench: bench::Bench,
    },
    /// Publishes a disk, for a bench
    #[command(hide = true)]
    Store(bench::registry::worker::StoreArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Floors => floors::check(),
        Chore::Generate { check } => generate::run(check),
        Chore::Bench { bench } => bench::run(&bench),
        Chore::Store(args) => bench::registry::worker::store(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's folder.
fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
