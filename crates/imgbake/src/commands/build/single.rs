//! One build: the whole flow, and how it ended.

use std::time::Instant;

use imgbake_bless::MoveRequest;
use imgbake_build::stage::{self, Build, Rescue};
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_runtime::Job;
use imgbake_types::record::VersionView;
use imgbake_types::{Action, ChannelName, EventKind, Outcome, Plan, Reference};

use super::batch::Batch;
use super::report::Built;
use super::rescue;
use crate::access::keep_running;
use crate::cli::OnError;
use crate::failure::Failure;
use crate::load::{self, Unit};
use crate::origin;

use super::super::export::{self, Durable, Output};
use super::super::{plan, promote};

/// How a build ended.
pub(super) struct Ended {
    pub(super) result: Result<(), Failure>,
    outcome: Outcome,
    version: Option<Box<VersionView>>,
    channel: Option<String>,
    kept: bool,
}

impl Ended {
    pub(super) fn failed(failure: Failure) -> Self {
        Self {
            result: Err(failure),
            outcome: Outcome::Failed,
            version: None,
            channel: None,
            kept: false,
        }
    }

    /// A build that was not begun: what it is based on failed.
    pub(super) fn skipped(unit: &Unit) -> Self {
        let base = unit.parent_image().unwrap_or_default();
        let words = format!("not built: its parent `{base}` failed");
        Self { outcome: Outcome::Skipped, ..Self::failed(Failure::internal(words)) }
    }
}

impl Batch<'_> {
    /// Runs the whole flow.
    pub(super) async fn build(&self, unit: &Unit, job: Job) -> Result<(), Failure> {
        let started = Instant::now();
        let ended = match load::plan(&self.app.home, unit, self.components, &job).await {
            Ok(plan) => self.flow(unit, &job, &plan).await,
            Err(failure) => Ended::failed(failure),
        };
        self.tell_end(unit, &job, &ended, started);
        let result =
            ended.result.map_err(|failure| failure.redacted(job.secrets()).logged_by(job.id()));
        if ended.kept {
            return result;
        }
        let cleaned = job.end();
        result?;
        Ok(cleaned?)
    }

    /// Emits how a build ended, and keeps it for the reports.
    pub(super) fn tell_end(&self, unit: &Unit, job: &Job, ended: &Ended, started: Instant) {
        let version = ended.version.as_ref();
        let reference = version.map(|v| Reference::tag(&v.name, v.version.as_str()));
        let digest = version.map(|v| v.digest.clone());
        let seconds = started.elapsed().as_secs_f64();
        let error = ended.result.as_ref().err().map(Failure::summary);
        self.report.add(Built {
            build: job.id().to_owned(),
            image: unit.image().name.clone(),
            template: unit.path().to_owned(),
            outcome: ended.outcome,
            reference: reference.as_ref().map(Reference::to_string),
            digest: digest.clone(),
            channel: ended.channel.clone(),
            seconds,
            error: error.as_ref().map(|error| job.secrets().redact(error)),
        });
        job.events().emit(EventKind::BuildFinished {
            outcome: ended.outcome,
            reference,
            digest,
            channel: ended.channel.clone(),
            virtual_size: version.map(|v| v.disk.virtual_size),
            stored_bytes: version.map(|v| v.disk.stored_bytes),
            seconds,
            error,
        });
    }

    async fn flow(&self, unit: &Unit, job: &Job, plan: &Plan) -> Ended {
        job.events().emit(EventKind::BuildStarted {
            template: unit.path().to_owned(),
            image: plan.image.name.clone(),
            plan: plan.digest.clone(),
            stages: plan.steps.len(),
        });
        for name in job.secrets().short() {
            if plan.seal().allow_sensitive.contains(&name) {
                continue;
            }
            job.events().warn(format!(
                "the sensitive value `{name}` is too short to be looked for in the image"
            ));
        }
        for document in job.secrets().documents() {
            job.events().info(document.to_string());
        }
        job.events().record_plan(plan);
        plan::remember(&self.app.home, plan);
        match self.unchanged(plan).await {
            Ok(Some(version)) => {
                return self.conclude(job, plan, version, Outcome::Cached).await;
            }
            Ok(None) => {}
            Err(failure) => return Ended::failed(failure),
        }
        let session = rescue::Session { job, listener: self.listener, terminal: &self.terminal };
        let origin = origin::of(unit.path(), &self.app.config.ci);
        let build = Build {
            job,
            plan,
            components: self.components,
            tool: crate::TOOL,
            origin: origin.as_ref(),
            layers: self.layers.as_ref(),
            slots: &self.slots,
            rescue: (self.app.config.on_error == OnError::Shell).then_some(&session as &dyn Rescue),
            keep_failed: matches!(self.app.config.on_error, OnError::Keep | OnError::Ask),
        };
        match stage::run(build).await {
            Ok(verified) => self.conclude(job, plan, verified.version, Outcome::Done).await,
            Err(failure) => self.broken(job, failure).await,
        }
    }

    /// The version that was made of this plan, if it may stand for a new one.
    async fn unchanged(&self, plan: &Plan) -> Result<Option<Box<VersionView>>, Failure> {
        if self.layers.is_none() {
            return Ok(None);
        }
        Ok(stage::unchanged(&*self.components.registry, plan).await?.map(Box::new))
    }

    /// Points the channel at the version and writes the outputs.
    async fn conclude(
        &self,
        job: &Job,
        plan: &Plan,
        version: Box<VersionView>,
        outcome: Outcome,
    ) -> Ended {
        let channel = plan.publish().channel.filter(|_| plan.verify().0.enabled());
        let mut result = Ok(());
        if let Some(channel) = &channel
            && !version.channels.contains(channel)
        {
            result = self.enter(job, &version, channel).await;
        }
        let outputs = plan.publish().output.into_iter().chain(self.args.output.iter().cloned());
        for output in outputs {
            if result.is_ok() {
                let registry = &*self.components.registry;
                result = match Output::of(&output, Durable::No, false) {
                    Ok(output) => export::export(job, registry, &version, output, None).await,
                    Err(failure) => Err(failure),
                };
            }
        }
        let channel = channel.filter(|_| result.is_ok());
        let outcome = if result.is_ok() { outcome } else { Outcome::Failed };
        Ended { result, outcome, version: Some(version), channel, kept: false }
    }

    /// Ends, or keeps, what a failed build leaves.
    async fn broken(&self, job: &Job, failure: stage::Failure) -> Ended {
        let stage::Failure { error, mut machines, version, .. } = failure;
        let cancelled = error.kind() == BuildErrorKind::Cancelled;
        let kept = !cancelled
            && !machines.is_empty()
            && self.wants_to_keep(job).await
            && keep_running(self.app, job, &mut machines);
        if !kept {
            for machine in &mut machines {
                machine.end().await;
            }
        }
        Ended { version, kept, ..Ended::failed(error.into()) }
    }

    /// Points the template's channel at the version.
    async fn enter(&self, job: &Job, version: &VersionView, channel: &str) -> Result<(), Failure> {
        let channel: ChannelName = channel.parse().map_err(BuildError::from)?;
        let source = Reference::tag(&version.name, version.version.as_str());
        let signer = self.app.config.signing.load()?;
        let request = MoveRequest {
            channel: &channel,
            who: &self.app.config.who,
            action: Action::Build,
            source: Some(source.to_string()),
            reason: None,
            dry_run: false,
            trust: promote::trust(self.app, job, signer.as_deref(), &channel),
        };
        let image = self.components.registry.image(&version.name);
        let gates = self.app.config.channels.channel(&channel).gates(&request.action);
        let moved = imgbake_bless::promote(&*image, &gates, version.clone(), &request).await;
        promote::emit(job, moved.map_err(Failure::from)).map(|_| ())
    }

    /// Whether a failed build's machine is left running.
    async fn wants_to_keep(&self, job: &Job) -> bool {
        match self.app.config.on_error {
            OnError::Cleanup | OnError::Shell => false,
            OnError::Keep => true,
            OnError::Ask => {
                let _turn = self.terminal.lock().await;
                let _paused = self.listener.pause().await;
                let question = "the build failed: [c]lean up, or [k]eep the machine running? ";
                let answer = rescue::ask(job.cancel(), question).await;
                answer.is_some_and(|answer| answer.starts_with(['k', 'K']))
            }
        }
    }
}
