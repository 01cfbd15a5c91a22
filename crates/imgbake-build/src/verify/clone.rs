//! One clone: booted from its firmware, checked, tested, ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use imgbake_comm::{Communicator, Exec};
use imgbake_runtime::StageGuard;
use imgbake_types::event::Stream;
use imgbake_types::record::TestOutcome;
use imgbake_types::spec::{Boot, TestSpec};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::identity::Identity;
use super::{VerifyRequest, checks, identity, tell};
use crate::{BaseDisk, BuildError, BuildErrorKind, Machine, MachineRequest, Seed};

/// A throw-away machine booted from a published version.
pub(super) struct Clone<'a> {
    request: VerifyRequest<'a>,
    index: usize,
    name: String,
    disk: BaseDisk,
}

/// A check's result before it has a name: what it saw, or why it failed.
pub(super) type Checked = Result<String, String>;

impl<'a> Clone<'a> {
    /// The `index`th clone of the request's version.
    pub(super) fn new(request: VerifyRequest<'a>, index: usize, disk: BaseDisk) -> Self {
        Self { request, index, name: format!("verify-{}", index + 1), disk }
    }

    /// Boots it, checks it, tests it and ends it. Its identity is given where a pair is compared.
    pub(super) async fn run(
        &self,
        stage: &StageGuard,
    ) -> Result<(Vec<TestOutcome>, Option<Identity>), BuildError> {
        let job = self.request.job;
        let proof = &self.request.version.proof;
        let arch = self.request.version.arch;
        let firmware = match proof.verify.firmware.as_slice() {
            [] => proof.machine.firmware(arch),
            list => list[self.index % list.len()],
        };
        let mut spec = proof.machine.clone();
        spec.extra_disks.clear();
        let limit = spec.boot_timeout().duration();
        let seed = Seed::new(job.id(), &self.name, "root", false);
        job.secrets().add("a clone's ssh key", seed.user_key.private_openssh().trim());
        let request = MachineRequest {
            name: self.name.clone(),
            arch,
            spec,
            firmware,
            boot: Boot::Firmware,
            disk: self.disk.clone(),
            seed,
            uuid: Uuid::new_v4(),
            saved: None,
        };
        stage.status(format!("booting {} from {firmware:?}", self.name).to_lowercase());
        let started = Instant::now();
        let (mut machine, connected) =
            crate::machine::start(self.request.builder, job, request, limit).await?;
        let comm = match connected {
            Ok(comm) => comm,
            Err(error)
                if error.kind() == BuildErrorKind::Machine
                    || error.kind() == BuildErrorKind::Failed =>
            {
                machine.end().await;
                // A version that does not come up is a failed version, not a failed command.
                return Ok((vec![self.told("boots", started, Err(error.to_string()))], None));
            }
            Err(error) => {
                machine.end().await;
                return Err(error);
            }
        };
        let words = format!("ssh answered after {:.1}s", started.elapsed().as_secs_f64());
        let mut results = vec![self.told("boots", started, Ok(words))];
        let checked = job.cancel().run(self.prove(&mut *machine, comm, stage, &mut results)).await;
        machine.end().await;
        Ok((results, checked??))
    }

    /// All checks of a clone that answers.
    async fn prove(
        &self,
        machine: &mut dyn Machine,
        comm: Arc<dyn Communicator>,
        stage: &StageGuard,
        results: &mut Vec<TestOutcome>,
    ) -> Result<Option<Identity>, BuildError> {
        let proof = &self.request.version.proof;
        stage.status(format!("checking {}", self.name));
        let limit = proof.machine.boot_timeout().duration();
        let mut took = Instant::now();
        let mut note = |name: &str, checked: Checked, results: &mut Vec<TestOutcome>| {
            results.push(self.told(name, took, checked));
            took = Instant::now();
        };
        let first_boot = unless_it_falls(machine, checks::first_boot(&*comm, limit)).await;
        note("first boot finishes", first_boot, results);
        let allowed = &proof.verify.allow_failed_units;
        let units = unless_it_falls(machine, checks::units(&*comm, allowed, limit)).await;
        note("no failed units", units, results);
        note("nothing asks at the console", checks::console(&machine.console()), results);
        for test in &proof.tests {
            let checked = unless_it_falls(machine, self.test(&*comm, test)).await;
            note(test.name.as_deref().unwrap_or("test"), checked, results);
        }
        if proof.verify.clones() < 2 {
            return Ok(None);
        }
        let before = match identity::collect(&*comm).await {
            Ok(identity) => identity,
            Err(error) => {
                note("identity can be read", Err(error.to_string()), results);
                return Ok(None);
            }
        };
        if self.index == 0 {
            stage.status(format!("restarting {}", self.name));
            let same = match restart(machine, &*comm, limit).await {
                Ok(after) => identity::same_after_restart(&before, &after),
                Err(error) => Err(error.to_string()),
            };
            note("a restart is no second first boot", same, results);
        }
        Ok(Some(before))
    }

    /// Runs one test of the template.
    async fn test(&self, comm: &dyn Communicator, test: &TestSpec) -> Checked {
        let job = self.request.job;
        let name = test.name.as_deref().unwrap_or("test");
        let missing = imgbake_types::secret::names(job.secrets().reveal(&test.run).expose_secret())
            .join(", ");
        if !missing.is_empty() {
            return Err(format!(
                "the test needs the sensitive variable {missing}: give it with --var"
            ));
        }
        // The command goes through standard input: it may hold a sensitive value.
        let script = job.secrets().reveal(&test.run).expose_secret().to_owned();
        let exec = Exec::new(comm.as_user(test.user(), "cd / && exec /bin/sh -s"))
            .timeout(test.timeout().duration())
            .stdin_bytes(script);
        let redactor = || imgbake_runtime::LineRedactor::new(job.secrets().clone());
        let (mut out, mut err) = (redactor(), redactor());
        let mut tail = imgbake_runtime::process::Tail::default();
        let ran = comm
            .run(exec, &mut |stream, bytes| {
                let lines = if stream == Stream::Stdout { &mut out } else { &mut err };
                for line in lines.push(bytes) {
                    tail.push(line.clone());
                    job.events().output(name, stream, line);
                }
            })
            .await;
        for (stream, line) in [(Stream::Stdout, out.finish()), (Stream::Stderr, err.finish())] {
            if let Some(line) = line {
                tail.push(line.clone());
                job.events().output(name, stream, line);
            }
        }
        match ran {
            Ok(exit) if exit.ok() => Ok(String::new()),
            Ok(exit) => Err(format!("{exit}\n{}", tail.text()).trim_end().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Names a result, tells it and gives it.
    fn told(&self, name: &str, since: Instant, checked: Checked) -> TestOutcome {
        let (passed, detail) = match checked {
            Ok(detail) => (true, detail),
            Err(detail) => (false, detail),
        };
        let result = TestOutcome {
            name: name.to_owned(),
            machine: self.name.clone(),
            passed,
            seconds: since.elapsed().as_secs_f64(),
            detail: self.request.job.secrets().redact(&detail),
        };
        tell(self.request.job, &result);
        result
    }
}

/// A check's result, or what the machine did meanwhile.
async fn unless_it_falls(machine: &dyn Machine, check: impl Future<Output = Checked>) -> Checked {
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
