//! One module for each command.

mod build;
mod builds;
mod cache;
mod channels;
mod clean;
mod completions;
mod converge;
mod copy;
mod doctor;
mod export;
mod gc;
mod history;
mod hold;
mod images;
mod init;
mod junit;
mod keys;
mod logs;
mod manual;
mod plan;
mod promote;
mod pull;
mod push;
mod resolve;
mod rm;
mod rollback;
mod seal;
mod show;
mod steps;
mod test;
mod validate;
mod verify;

use std::process::ExitCode;

use crate::app::App;
use crate::cli::{CacheMode, Cli, Command};
use crate::components::Wiring;
use crate::config::Flags;
use crate::failure::Failure;

/// Runs a command and gives the program's exit code.
pub async fn run(cli: Cli, wiring: Wiring) -> ExitCode {
    // For an error before the settings are read.
    let color =
        std::io::IsTerminal::is_terminal(&std::io::stderr()) && crate::config::allows_color();
    let flags = match &cli.command {
        Command::Build(args) => Flags {
            on_error: args.on_error,
            cache: if args.no_cache { Some(CacheMode::Off) } else { args.cache },
        },
        Command::Converge(args) => Flags {
            on_error: None,
            cache: if args.no_cache { Some(CacheMode::Off) } else { args.cache },
        },
        _ => Flags::default(),
    };
    let app = match App::start(&cli.global, flags, wiring).await {
        Ok(app) => app,
        Err(failure) => return failure.report(color),
    };
    // These two list what is left themselves.
    if !app.left.is_empty() && !matches!(cli.command, Command::Doctor { .. } | Command::Clean) {
        app.note("resources of killed builds are left: `imgbake doctor` lists them");
    }
    match dispatch(&app, cli.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(app.config.color),
    }
}

async fn dispatch(app: &App, command: Command) -> Result<(), Failure> {
    match command {
        Command::Init { dir } => init::run(app, &dir),
        Command::Doctor { json } => doctor::run(app, json).await,
        Command::Validate { templates, variables } => validate::run(app, &templates, &variables),
        Command::Schema => app.print_json(&imgbake_template::json_schema(&app.wiring.schema())),
        Command::Seal { list: _, json } => seal::run(app, json),
        Command::Plan { templates, selection, variables, json } => {
            plan::run(app, &templates, &selection, &variables, json).await
        }
        Command::Build(args) => build::run(app, &args).await,
        Command::Converge(args) => Box::pin(converge::run(app, &args)).await,
        Command::Cache { command } => cache::run(app, &command),
        Command::Images { name, remote, json } => {
            images::run(app, name.as_deref(), &remote, json).await
        }
        Command::Show { reference, results, remote, json } => {
            let part = if results { show::Part::Results } else { show::Part::Version };
            show::run(app, &reference, part, &remote, json).await
        }
        Command::Builds { name, json } => builds::run(app, name.as_deref(), json),
        Command::Logs { build, step, console, json } => {
            let part = logs::Part { step: step.as_deref(), console };
            logs::run(app, &build, &part, json)
        }
        Command::History { reference, remote, json } => {
            history::run(app, &reference, &remote, json).await
        }
        Command::Pull { reference, outputs, force, format, seeds, sync, remote, events } => {
            let durable = if sync { export::Durable::Yes } else { export::Durable::No };
            let into =
                pull::PullOutput { outputs: &outputs, format, seeds: &seeds, durable, force };
            pull::run(app, &reference, &into, &remote, &events).await
        }
        Command::Push { reference, dest, remote, events } => {
            push::run(app, &reference, &dest, &remote, &events).await
        }
        Command::Copy { reference, dest, remote, events } => {
            copy::run(app, "copy", (&reference, &dest), &remote, &events).await
        }
        Command::Test { reference, vars, keep, events } => {
            test::run(app, &reference, &vars, keep, &events).await
        }
        Command::Channels { reference, remote, json } => {
            channels::run(app, reference.as_ref(), &remote, json).await
        }
        Command::Resolve { reference, remote, json } => {
            resolve::run(app, &reference, &remote, json).await
        }
        Command::Keys { command } => keys::run(app, &command),
        Command::Promote { reference, to, channel } => {
            promote::run(app, &reference, &to, &channel).await
        }
        Command::Rollback { reference, to, channel } => {
            rollback::run(app, &reference, to.as_ref(), &channel).await
        }
        Command::Verify(args) => verify::run(app, &args).await,
        Command::Hold { reference, reason, release: _ } => {
            hold::run(app, &reference, reason.as_deref()).await
        }
        Command::Rm { references } => rm::run(app, &references).await,
        Command::Gc { dry_run, grace, trust_clock, json } => {
            gc::run(app, dry_run, grace, trust_clock, json).await
        }
        Command::Clean => clean::run(app).await,
        Command::Completions { shell } => completions::run(app, shell),
        Command::Complete => completions::candidates(app).await,
        Command::Man { dir } => manual::pages(app, &dir),
    }
}
