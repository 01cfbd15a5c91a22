//! One clone: booted from its firmware, checked, tested, ended.

use std::time::{Duration, Instant};

use imgbake_comm::Communicator;
use imgbake_runtime::StageGuard;
use imgbake_types::record::TestOutcome;
use imgbake_types::spec::Datasource;

use super::identity::Identity;
use super::outcome::Results;
use super::request::{Aftercare, VerifyRequest};
use super::schedule::Schedule;
use super::{checks, identity, script};
use crate::{
    BaseDisk, BuildError, BuildErrorKind, Disposable, DisposableRequest, Machine, Purpose, Snapshot,
};

/// A throw-away machine booted from a published version.
pub(super) struct ClonedMachine<'a> {
    request: VerifyRequest<'a>,
    schedule: &'a Schedule,
    index: usize,
    name: String,
    disk: BaseDisk,
}

/// What a clone showed.
pub(super) struct CloneRun {
    /// Its checks and tests.
    pub(super) results: Vec<TestOutcome>,
    /// Who it was, where a pair is compared.
    pub(super) identity: Option<Identity>,
    /// It, where it runs on.
    pub(super) kept: Option<Box<dyn Machine>>,
}

impl<'a> ClonedMachine<'a> {
    /// The `index`th clone of the request's version.
    pub(super) fn new(
        request: VerifyRequest<'a>,
        schedule: &'a Schedule,
        index: usize,
        disk: BaseDisk,
    ) -> Self {
        Self { request, schedule, index, name: format!("verify-{}", index + 1), disk }
    }

    /// Boots it, checks it, tests it, and ends it unless it is to be kept.
    pub(super) async fn run(&self, stage: &StageGuard) -> Result<CloneRun, BuildError> {
        let job = self.request.job;
        let proof = &self.request.version.proof;
        let arch = self.request.version.arch;
        let firmware = match proof.verify.firmware.as_slice() {
            [] => proof.machine.firmware(arch),
            list => list[self.index % list.len()],
        };
        let request = DisposableRequest {
            job,
            builder: self.request.builder,
            name: &self.name,
            arch,
            machine: &proof.machine,
            firmware,
            purpose: match proof.verify.datasource(self.index) {
                Datasource::Nocloud => Purpose::Clone,
                Datasource::None => Purpose::Bare,
            },
            user: "root",
        };
        let snapshot = Snapshot::of_disk(self.disk.clone());
        let turn = job.cancel().run(self.schedule.turn()).await?;
        stage.status(format!("booting {} from {firmware:?}", self.name).to_lowercase());
        let mut results = Results::new(job, &self.name);
        let started = Instant::now();
        let started_as = request.purpose;
        let Disposable { mut machine, connected, .. } = match Disposable::start(request, &snapshot)
            .await
        {
            // An image that needs a datasource is a failed one where the template says that it does not.
            Err(error) if started_as == Purpose::Bare && error.kind() == BuildErrorKind::Failed => {
                results.add("boots", Err(error.to_string()));
                let results = results.into_vec();
                return Ok(CloneRun { results, identity: None, kept: None });
            }
            started => started?,
        };
        drop(turn);
        let comm = match connected {
            Ok(comm) => comm,
            Err(error)
                if error.kind() == BuildErrorKind::Machine
                    || error.kind() == BuildErrorKind::Failed =>
            {
                // A version that does not come up is a failed version, not a failed command.
                results.add("boots", Err(error.to_string()));
                return Ok(self.over(machine, results, None).await);
            }
            Err(error) => {
                machine.end().await;
                return Err(error);
            }
        };
        let how = match started_as {
            Purpose::Bare => " without a datasource",
            Purpose::Build | Purpose::Clone => "",
        };
        let seconds = started.elapsed().as_secs_f64();
        results.add("boots", Ok(format!("ssh answered after {seconds:.1}s{how}")));
        let proving = self.prove(&mut *machine, &*comm, stage, &mut results);
        match job.cancel().run(proving).await {
            Ok(identity) => Ok(self.over(machine, results, identity).await),
            Err(interrupted) => {
                machine.end().await;
                Err(interrupted.into())
            }
        }
    }

    /// Ends a clone that was checked, unless the user wants to look at it.
    async fn over(
        &self,
        mut machine: Box<dyn Machine>,
        results: Results<'_>,
        identity: Option<Identity>,
    ) -> CloneRun {
        let results = results.into_vec();
        let failed: Vec<&TestOutcome> = results.iter().filter(|result| !result.passed).collect();
        let keep = match self.request.aftercare {
            Aftercare::End => false,
            Aftercare::KeepFailed => !failed.is_empty(),
            Aftercare::Keep => !failed.is_empty() || self.index == 0,
            Aftercare::Enter(rescue) => {
                if let Some(first) = failed.first() {
                    let error = BuildError::failed(first.detail.clone());
                    rescue.look(&first.name, &error, &machine.access()).await;
                }
                false
            }
        };
        if !keep {
            machine.end().await;
            return CloneRun { results, identity, kept: None };
        }
        CloneRun { results, identity, kept: Some(machine) }
    }

    /// All checks of a clone that answers.
    async fn prove(
        &self,
        machine: &mut dyn Machine,
        comm: &dyn Communicator,
        stage: &StageGuard,
        results: &mut Results<'_>,
    ) -> Option<Identity> {
        let proof = &self.request.version.proof;
        stage.status(format!("checking {}", self.name));
        self.check_boot(machine, comm, results).await;
        for test in &proof.tests {
            let run = script::run(self.request.job, comm, test);
            results.add(script::name(test), unless_it_falls(machine, run).await);
        }
        if proof.verify.clones() < 2 {
            return None;
        }
        let before = match identity::collect(comm).await {
            Ok(identity) => identity,
            Err(error) => {
                results.add("identity can be read", Err(error.to_string()));
                return None;
            }
        };
        if self.index == 0 {
            let _turn = self.schedule.turn().await;
            results.restart_clock();
            stage.status(format!("restarting {}", self.name));
            let limit = proof.machine.boot_timeout().duration();
            let same = match restart(machine, comm, limit).await {
                Ok(after) => identity::same_after_restart(&before, &after),
                Err(error) => Err(error.to_string()),
            };
            results.add("a restart is no second first boot", same);
        }
        Some(before)
    }

    /// What every clone must show, whatever its template tests.
    async fn check_boot(
        &self,
        machine: &mut dyn Machine,
        comm: &dyn Communicator,
        results: &mut Results<'_>,
    ) {
        let proof = &self.request.version.proof;
        let limit = proof.machine.boot_timeout().duration();
        match unless_it_falls(machine, checks::settle(comm, limit)).await {
            Ok(settled) => {
                results.add("first boot finishes", settled.first_boot());
                let units = checks::units(comm, &settled, &proof.verify.allow_failed_units);
                results.add("no failed units", unless_it_falls(machine, units).await);
            }
            Err(error) => results.add("first boot finishes", Err(error)),
        }
        results.add("nothing asks at the console", checks::console(&machine.console()));
    }
}

/// A check's result, or what the machine did meanwhile.
async fn unless_it_falls<T>(
    machine: &dyn Machine,
    check: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    tokio::select! {
        biased;
        failure = machine.failure() => Err(failure.to_string()),
        checked = check => checked,
    }
}

/// Restarts a clone and reads its identity again.
async fn restart(
    machine: &mut dyn Machine,
    comm: &dyn Communicator,
    limit: Duration,
) -> Result<Identity, BuildError> {
    machine.expect_restart();
    checks::restart(comm).await?;
    machine.restarted(limit).await?;
    let comm = machine.connect(limit).await?;
    identity::collect(&*comm).await
}
