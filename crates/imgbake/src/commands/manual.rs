//! `imgbake man`

use std::fs;

use camino::Utf8Path;
use clap::CommandFactory;
use imgbake_runtime::error::io_at;

use crate::app::App;
use crate::cli::Cli;
use crate::failure::Failure;

/// Writes a manual page for the program and for each command.
pub(super) fn pages(app: &App, dir: &Utf8Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(io_at("make the folder", dir))?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(io_at("write manual pages to", dir))?;
    app.print(&format!("manual pages are in {dir}: man -l {dir}/imgbake.1\n"))
}
