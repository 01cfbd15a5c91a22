//! `imgbake completions` and `imgbake man`

use std::fs;

use camino::Utf8Path;
use clap::CommandFactory;
use imgbake_runtime::error::io_at;

use crate::app::App;
use crate::cli::Cli;
use crate::failure::Failure;

/// Prints a completion script.
pub(super) fn completions(app: &App, shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "imgbake", &mut script);
    app.print(&String::from_utf8_lossy(&script))
}

/// Writes a manual page for the program and for each command.
pub(super) fn pages(app: &App, dir: &Utf8Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(io_at("make the folder", dir))?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(io_at("write manual pages to", dir))?;
    app.print(&format!("manual pages are in {dir}: man -l {dir}/imgbake.1\n"))
}
