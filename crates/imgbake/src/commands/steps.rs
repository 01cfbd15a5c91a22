//! Runs the steps of one build, and publishes nothing.

use std::time::Instant;

use imgbake_build::stage::{self, Build, Layers, Log};
use imgbake_build::{BuildErrorKind, Components, Slots};
use imgbake_runtime::{Job, Secrets};
use imgbake_types::{EventKind, Outcome};

use crate::app::{App, Listener};
use crate::failure::Failure;
use crate::load::{self, Unit};

/// What the builds of a command share.
#[derive(Clone, Copy)]
pub(super) struct Steps<'a> {
    /// The program.
    pub(super) app: &'a App,
    /// Who carries plans out.
    pub(super) components: &'a Components,
    /// The layers of earlier builds.
    pub(super) layers: Option<&'a Layers>,
    /// Hears what happens.
    pub(super) listener: &'a Listener,
}

impl Steps<'_> {
    /// Does `task` with a unit's plan, as a job of its own that is called `word`. Gives what its stages did where it
    /// failed in one of them.
    pub(super) async fn run<T>(
        self,
        word: &str,
        unit: &Unit,
        task: impl AsyncFnOnce(Build<'_>) -> Result<T, stage::Failure>,
    ) -> Result<T, (Log, Failure)> {
        let secrets = Secrets::default();
        for (name, value) in unit.secrets() {
            secrets.add(name, value);
        }
        let job = self.app.job(self.listener, word, self.app.cancel.child(), secrets);
        let job = job.map_err(|failure| (Log::new(), failure))?;
        let begun = Instant::now();
        let result = self.flow(unit, &job, task).await;
        let result = result.map_err(|(log, failure)| (log, failure.redacted(job.secrets())));
        let error = result.as_ref().err().map(|(_, failure)| failure.summary());
        job.events().emit(EventKind::BuildFinished {
            outcome: if error.is_none() { Outcome::Done } else { Outcome::Failed },
            reference: None,
            digest: None,
            channel: None,
            virtual_size: None,
            stored_bytes: None,
            seconds: begun.elapsed().as_secs_f64(),
            error,
        });
        let cleaned = job.end();
        let done = result?;
        cleaned.map_err(|error| (Log::new(), error.into()))?;
        Ok(done)
    }

    async fn flow<T>(
        self,
        unit: &Unit,
        job: &Job,
        task: impl AsyncFnOnce(Build<'_>) -> Result<T, stage::Failure>,
    ) -> Result<T, (Log, Failure)> {
        let plan = load::plan(&self.app.home, unit, self.components, job).await;
        let plan = plan.map_err(|failure| (Log::new(), failure))?;
        job.events().emit(EventKind::BuildStarted {
            template: unit.path().to_owned(),
            image: plan.image.name.clone(),
            plan: plan.digest.clone(),
            stages: plan.layers().len(),
        });
        let slots = Slots::new(1);
        let build = Build {
            job,
            plan: &plan,
            components: self.components,
            tool: crate::TOOL,
            origin: None,
            layers: self.layers,
            slots: &slots,
            rescue: None,
            keep_failed: false,
        };
        match task(build).await {
            Ok(done) => Ok(done),
            Err(stage::Failure { error, machines, stages, .. }) => {
                for mut machine in machines {
                    machine.end().await;
                }
                let cancelled = error.kind() == BuildErrorKind::Cancelled;
                Err((if cancelled { Log::new() } else { stages }, error.into()))
            }
        }
    }
}
