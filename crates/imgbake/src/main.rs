//! The `imgbake` program.

use std::process::ExitCode;

use clap::Parser;
use imgbake::components::Wiring;

fn main() -> ExitCode {
    let cli = match imgbake::cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return imgbake::failure::usage(&error, imgbake::config::allows_color()),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return imgbake::failure::Failure::internal(format!("cannot start: {error}"))
                .report(false);
        }
    };
    let code = runtime.block_on(imgbake::commands::run(cli, Wiring::standard()));
    // A blocking read of an interrupted job must not hold the program.
    runtime.shutdown_background();
    code
}
