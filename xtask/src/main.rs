//! The project's chores: checks of the house's rules, generated pages, `cargo xtask bench NAME`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore's output is its terminal")]
#![expect(clippy::disallowed_methods, reason = "chores run cargo, imgbake and its peers")]

mod bench;
mod circles;
mod floors;
mod generate;
mod repository;
mod result;
mod toolchain;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use result::Result;

#[derive(Parser)]
#[command(about = "The project's chores")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Checks that no crate uses a crate above it or beside it
    Floors,
    /// Checks that the files of a crate use each other in one direction
    Circles,
    /// Checks that rust-version fits the pinned toolchain and the dependencies
    Toolchain,
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
    /// Makes a base disk, for a bench
    #[command(hide = true)]
    Bootstrap(bench::bootstrap::disk::BootstrapArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Floors => floors::check(),
        Chore::Circles => circles::check(),
        Chore::Toolchain => toolchain::check(),
        Chore::Generate { check } => generate::run(check),
        Chore::Bench { bench } => bench::run(&bench),
        Chore::Bootstrap(args) => bench::bootstrap::disk::bootstrap(&args),
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
