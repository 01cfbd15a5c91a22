//! What the builds of one command share, and how each of them is announced.

use imgbake_build::stage::Layers;
use imgbake_build::{Components, Slots};
use imgbake_runtime::builds::BuildRecord;
use imgbake_runtime::{Cancel, Job, Secrets};
use imgbake_types::EventKind;
use imgbake_types::record::build::BuildStart;
use jiff::Timestamp;

use crate::app::{App, Listener};
use crate::cli::BuildArgs;
use crate::components;
use crate::failure::Failure;
use crate::layers;
use crate::load::Unit;

use super::report::Report;

/// All that the builds of one command share.
pub(super) struct Batch<'a> {
    pub(super) app: &'a App,
    pub(super) args: &'a BuildArgs,
    pub(super) components: &'a Components,
    pub(super) listener: &'a Listener,
    pub(super) layers: Option<Layers>,
    pub(super) slots: Slots,
    /// Ends all of them.
    pub(super) cancel: Cancel,
    pub(super) terminal: tokio::sync::Mutex<()>,
    /// How each ended.
    pub(super) report: Report,
}

impl<'a> Batch<'a> {
    /// No build yet; so many may run at once.
    pub(super) fn new(
        app: &'a App,
        args: &'a BuildArgs,
        components: &'a Components,
        listener: &'a Listener,
        parallel: usize,
    ) -> Result<Self, Failure> {
        Ok(Self {
            app,
            args,
            components,
            listener,
            layers: layers::open(app, components::shares(&app.config, args)?)?,
            slots: Slots::new(parallel),
            cancel: app.cancel.child(),
            terminal: tokio::sync::Mutex::new(()),
            report: Report::default(),
        })
    }

    /// Begins a unit's job, and announces it, unless it is the only one.
    pub(super) fn announce(
        &self,
        unit: &Unit,
        waits: bool,
        announce: bool,
    ) -> Result<Job, Failure> {
        let secrets = Secrets::default();
        for (name, value) in unit.secrets() {
            secrets.add(name, value);
        }
        let job = self.app.job(self.listener, "build", self.cancel.child(), secrets)?;
        self.record(unit, &job);
        if announce {
            job.events().emit(EventKind::BuildQueued {
                template: unit.path().to_owned(),
                image: unit.image().name.clone(),
                after: unit.parent_image().filter(|_| waits).into_iter().collect(),
            });
        }
        Ok(job)
    }

    /// Begins the build's record. Without one, it builds all the same.
    fn record(&self, unit: &Unit, job: &Job) {
        let start = BuildStart {
            format: imgbake_types::record::build::FORMAT,
            id: job.id().to_owned(),
            image: unit.image().name.clone(),
            template: unit.path().to_owned(),
            started: Timestamp::now(),
            imgbake: crate::TOOL.to_owned(),
        };
        match BuildRecord::begin(&self.app.home, &start) {
            Ok(record) => job.events().record_in(record),
            Err(error) => job.events().warn(format!("this build is not recorded: {error}")),
        }
    }
}
