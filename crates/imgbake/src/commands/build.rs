//! `imgbake build`

use std::io::{BufRead, IsTerminal, Write};
use std::time::Instant;

use imgbake_build::BuildErrorKind;
use imgbake_build::stage::{self, Build};
use imgbake_runtime::Job;
use imgbake_types::record::VersionView;
use imgbake_types::{EventKind, Outcome, Reference};

use super::export;
use crate::app::{App, conclude};
use crate::cli::{BuildArgs, OnError};
use crate::failure::Failure;
use crate::load::{self, Loaded};
use crate::rooms;

/// Runs the whole flow.
pub(super) async fn run(app: &App, args: &BuildArgs) -> Result<(), Failure> {
    let loaded = load::load(&app.config, &args.template, &args.variables)?;
    for output in &args.output {
        export::format_of(output)?;
    }
    let rooms = rooms::rooms(&app.home)?;
    let (job, listener) = app.begin("build", &args.events, loaded.secrets.clone())?;
    let started = Instant::now();
    job.events().tell(EventKind::BuildStarted {
        template: args.template.clone(),
        image: loaded.plan.image.name.clone(),
        plan: loaded.plan.digest.clone(),
        // Boot is a stage of its own, which no step of the plan names.
        stages: loaded.plan.steps.len() + 1,
    });
    for name in loaded.secrets.short() {
        job.events().warn(format!(
            "the sensitive value `{name}` is too short to be looked for in the image"
        ));
    }
    let ended = flow(app, args, &job, &loaded, &rooms).await;
    tell_end(&job, &ended, started);
    let Ended { result, kept, .. } = ended;
    if kept {
        let secrets = job.secrets().clone();
        drop(job);
        listener.end().await?;
        return result.map_err(|failure| failure.redacted(&secrets));
    }
    conclude(job, listener, result).await
}

/// How a build ended.
struct Ended {
    result: Result<(), Failure>,
    version: Option<Box<VersionView>>,
    channel: Option<String>,
    kept: bool,
}

async fn flow(
    app: &App,
    args: &BuildArgs,
    job: &Job,
    loaded: &Loaded,
    rooms: &imgbake_build::Rooms,
) -> Ended {
    let plan = &loaded.plan;
    let build = Build { job, plan, rooms, tool: crate::TOOL };
    match stage::run(build).await {
        Ok(verified) => {
            let version = verified.version;
            let channel = plan.publish().channel.filter(|_| plan.verify().0.enabled());
            let mut result = Ok(());
            if let Some(channel) = &channel {
                result = enter(app, job, rooms, &version, channel).await;
            }
            if result.is_ok() {
                let outputs = plan.publish().output.into_iter().chain(args.output.iter().cloned());
                for output in outputs {
                    result = export::export(job, &*rooms.registry, &version, &output, None).await;
                    if result.is_err() {
                        break;
                    }
                }
            }
            let channel = channel.filter(|_| result.is_ok());
            Ended { result, version: Some(version), channel, kept: false }
        }
        Err(failure) => {
            let stage::Failure { error, machine, version } = failure;
            let cancelled = error.kind() == BuildErrorKind::Cancelled;
            let mut kept = false;
            if let Some(mut machine) = machine {
                if !cancelled && wants_to_keep(app.config.on_error) && job.keep().is_ok() {
                    kept = true;
                    machine.keep();
                    app.note(&format!(
                        "the machine runs on; get in with\n  {}\nand end it with\n  imgbake clean",
                        machine.access()
                    ));
                } else {
                    machine.end().await;
                }
            } else if !cancelled && app.config.on_error == OnError::Keep {
                app.note("there is no machine to keep: a clone that is verified is always ended");
            }
            Ended { result: Err(error.into()), version, channel: None, kept }
        }
    }
}

/// Points the template's channel at the version.
async fn enter(
    app: &App,
    job: &Job,
    rooms: &imgbake_build::Rooms,
    version: &VersionView,
    channel: &str,
) -> Result<(), Failure> {
    let from = Reference::tag(&version.name, version.version.as_str());
    let gates = rooms::gates();
    let promotion = imgbake_bless::promote(
        &*rooms.registry,
        &gates,
        &from,
        channel,
        &app.config.who,
        "build",
        None,
    )
    .await?;
    super::promote::tell(job, &promotion);
    Ok(())
}

/// Whether a failed build's machine is left running.
fn wants_to_keep(on_error: OnError) -> bool {
    match on_error {
        OnError::Cleanup => false,
        OnError::Keep => true,
        OnError::Ask => ask(),
    }
}

/// Asks on the terminal; where there is none, the answer is no.
fn ask() -> bool {
    let (mut terminal, input) = (std::io::stderr(), std::io::stdin());
    if !input.is_terminal() {
        return false;
    }
    let _ = write!(terminal, "the build failed: [c]lean up, or [k]eep the machine running? ");
    let _ = terminal.flush();
    let mut answer = String::new();
    input.lock().read_line(&mut answer).is_ok() && answer.trim_start().starts_with(['k', 'K'])
}

fn tell_end(job: &Job, ended: &Ended, started: Instant) {
    let outcome = if ended.result.is_ok() { Outcome::Done } else { Outcome::Failed };
    let version = ended.version.as_ref();
    job.events().tell(EventKind::BuildFinished {
        outcome,
        reference: version.map(|v| Reference::tag(&v.name, v.version.as_str())),
        digest: version.map(|v| v.digest.clone()),
        channel: ended.channel.clone(),
        virtual_size: version.map(|v| v.disk.virtual_size),
        stored_bytes: version.map(|v| v.disk.stored_bytes),
        seconds: started.elapsed().as_secs_f64(),
        error: ended.result.as_ref().err().map(Failure::summary),
    });
}
