//! What every builder's machines must do, whatever they are made of.

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use imgbake_build::{
    BaseDisk, BuildErrorKind, Builder, Machine, MachineDisk, MachineRequest, NativeDisk, Purpose,
    SavedMachine, Seed,
};
use imgbake_comm::{Communicator, Exec};
use imgbake_disk::{DiskImage, DiskSource};
use imgbake_runtime::Job;
use imgbake_types::{Arch, MachineSpec};
use uuid::Uuid;

/// A builder, and a machine of it whose guest has a POSIX shell and accepts the seed.
pub struct Subject<'a> {
    /// The builder.
    pub builder: &'a dyn Builder,
    /// A running job.
    pub job: &'a Job,
    /// The machine.
    pub machine: MachineSpec,
    /// The disk that it boots from.
    pub disk: BaseDisk,
    /// How long a boot, a restart or a power-off may take.
    pub limit: Duration,
}

/// Runs the suite.
///
/// # Panics
/// The builder does not do what it must.
pub async fn builder(subject: &Subject<'_>) {
    let Subject { builder, job, machine, .. } = subject;
    let arch = Arch::X86_64;
    let firmware = machine.firmware(arch);
    assert_eq!(builder.kind().name, machine.builder);
    builder.check(job, arch, machine, firmware).await.unwrap();

    runs_restarts_and_powers_off(subject).await;
    what_nobody_asked_for_is_a_failure(subject).await;
    a_disk_of_another_builder_is_refused(subject).await;
    // A file of this host cannot be based on a native disk.
    if builder.saves(machine).is_ok() && subject.disk.local().is_some() {
        freezes(subject).await;
        saves_and_resumes(subject).await;
    }
    copies_its_disk(subject).await;
    two_machines_are_two(subject).await;
}

impl Subject<'_> {
    fn request(&self, name: &str, disk: BaseDisk) -> MachineRequest {
        let arch = Arch::X86_64;
        MachineRequest {
            name: name.to_owned(),
            arch,
            machine: self.machine.clone(),
            firmware: self.machine.firmware(arch),
            purpose: Purpose::Build,
            disk,
            seed: Seed::new(self.job.id(), name, "root", true),
            uuid: Uuid::new_v4(),
            saved: None,
        }
    }

    async fn boot(&self, request: MachineRequest) -> (Box<dyn Machine>, Arc<dyn Communicator>) {
        let name = request.name.clone();
        let mut machine = self.builder.boot(self.job, request).await.unwrap();
        assert_eq!(machine.name(), name);
        let comm = machine.connect(self.limit).await.unwrap();
        (machine, comm)
    }

    fn folder(&self, name: &str) -> Utf8PathBuf {
        let folder = self.job.work().join(format!("conformance-{name}"));
        std::fs::create_dir(&folder).unwrap();
        folder
    }
}

/// Shows one boot of a guest from another.
async fn boot_id(comm: &dyn Communicator) -> String {
    comm.check(Exec::new("cat /proc/sys/kernel/random/boot_id")).await.unwrap()
}

/// Whether nothing failed so far.
async fn is_well(machine: &dyn Machine) {
    let soon = tokio::time::timeout(Duration::from_millis(20), machine.failure()).await;
    assert!(soon.is_err(), "nothing failed: {}", soon.unwrap());
}

async fn ask(comm: &dyn Communicator, what: &str) {
    // The connection may be cut before the command shows how it ended.
    let _ = comm.capture(Exec::new(format!("({what}) >/dev/null 2>&1 </dev/null & exit 0"))).await;
}

async fn runs_restarts_and_powers_off(subject: &Subject<'_>) {
    let (mut machine, comm) = subject.boot(subject.request("runs", subject.disk.clone())).await;
    assert_eq!(comm.check(Exec::new("echo imgbake")).await.unwrap(), "imgbake\n");
    is_well(&*machine).await;
    assert!(!machine.crashed());
    let access = machine.access();
    assert!(access.port > 0 && access.user == "root" && access.key.is_file(), "{access:?}");
    assert!(access.host_key.starts_with("ssh-ed25519 "), "{access:?}");

    let before = boot_id(&*comm).await;
    machine.expect_restart();
    ask(&*comm, "reboot").await;
    machine.restarted(subject.limit).await.unwrap();
    let comm = machine.connect(subject.limit).await.unwrap();
    assert_ne!(boot_id(&*comm).await, before, "it restarted");
    is_well(&*machine).await;

    machine.expect_power_off();
    ask(&*comm, "poweroff").await;
    machine.powered_off(subject.limit).await.unwrap();
    is_well(&*machine).await;
    if let Some(disk) = machine.disk() {
        assert!(size(disk) >= subject.disk.virtual_size().unwrap_or_default());
    }
    machine.end().await;
    machine.end().await;
}

fn size(disk: MachineDisk) -> u64 {
    match disk {
        MachineDisk::File { path, format } => {
            DiskImage::open_as(&path, format).unwrap().virtual_size()
        }
        MachineDisk::Source(source) => {
            source.read_at(0, &mut [0; 512]).unwrap();
            source.virtual_size()
        }
    }
}

async fn what_nobody_asked_for_is_a_failure(subject: &Subject<'_>) {
    for what in ["poweroff", "reboot"] {
        let (mut machine, comm) = subject.boot(subject.request(what, subject.disk.clone())).await;
        ask(&*comm, what).await;
        let failure = tokio::time::timeout(subject.limit, machine.failure()).await.unwrap();
        assert_eq!(failure.kind(), BuildErrorKind::Machine, "{what}: {failure}");
        machine.end().await;
    }
}

async fn freezes(subject: &Subject<'_>) {
    let (mut machine, comm) = subject.boot(subject.request("frozen", subject.disk.clone())).await;
    let before = boot_id(&*comm).await;
    let path = subject.folder("frozen").join("disk.qcow2");
    machine.freeze().unwrap().freeze_to(&path).await.unwrap();
    assert_eq!(boot_id(&*comm).await, before, "it runs on");
    machine.end().await;
    let disk = subject.disk.frozen_to(path, 0).unwrap();
    let (mut machine, comm) = subject.boot(subject.request("from-frozen", disk)).await;
    assert_ne!(boot_id(&*comm).await, before, "it booted from the frozen disk");
    machine.end().await;
}

async fn saves_and_resumes(subject: &Subject<'_>) {
    let request = subject.request("saved", subject.disk.clone());
    let (mut machine, comm) = subject.boot(request.clone()).await;
    if machine.save().is_none() {
        machine.end().await;
        return;
    }
    let arch = request.arch;
    let sign = || subject.builder.signature(subject.job, arch, &request.machine, request.firmware);
    assert_eq!(sign().await.unwrap(), sign().await.unwrap());
    let before = boot_id(&*comm).await;
    let folder = subject.folder("saved");
    let (path, state) = (folder.join("disk.qcow2"), folder.join("state"));
    machine.save().unwrap().save_to(&path, &state).await.unwrap().unwrap();
    assert_eq!(boot_id(&*comm).await, before, "it runs on");
    machine.end().await;

    let frozen = subject.disk.frozen_to(path, 0).unwrap();
    let resumed = MachineRequest {
        name: "resumed".to_owned(),
        disk: frozen,
        saved: Some(SavedMachine { state: state.clone(), booted_from: request.disk.clone() }),
        ..request
    };
    for name in ["resumed", "again"] {
        let request = MachineRequest { name: name.to_owned(), ..resumed.clone() };
        let (mut machine, comm) = subject.boot(request).await;
        assert_eq!(boot_id(&*comm).await, before, "it was resumed, not booted");
        machine.end().await;
    }
    std::fs::write(&state, "no state").unwrap();
    let refused = subject.builder.boot(subject.job, resumed).await.err().unwrap();
    assert_eq!(refused.kind(), BuildErrorKind::Machine, "{refused}");
}

async fn a_disk_of_another_builder_is_refused(subject: &Subject<'_>) {
    let (builder, id) = ("another".to_owned(), "disk-1".to_owned());
    let foreign = NativeDisk { builder, id, virtual_size: None };
    let request = subject.request("foreign", BaseDisk::native(foreign));
    let refused = subject.builder.boot(subject.job, request).await.err().unwrap();
    assert_eq!(refused.kind(), BuildErrorKind::Usage, "{refused}");
    assert!(refused.to_string().contains("`disk-1`"), "{refused}");
}

async fn copies_its_disk(subject: &Subject<'_>) {
    let (mut machine, comm) = subject.boot(subject.request("copied", subject.disk.clone())).await;
    let before = boot_id(&*comm).await;
    let native = match machine.snapshot() {
        Some(machine) => machine.snapshot_disk().await.unwrap(),
        None => return machine.end().await,
    };
    assert_eq!(boot_id(&*comm).await, before, "it runs on");
    assert_eq!(native.builder, subject.builder.kind().name);
    let journal = subject.job.home().journal().join(format!("{}.jsonl", subject.job.id()));
    let journal = std::fs::read_to_string(journal).unwrap();
    assert!(journal.contains(&native.id), "a copy is in the journal: {journal}");
    machine.end().await;
    let (mut machine, comm) = subject.boot(subject.request("copy", BaseDisk::native(native))).await;
    assert_ne!(boot_id(&*comm).await, before, "it booted from the copy");
    machine.end().await;
}

async fn two_machines_are_two(subject: &Subject<'_>) {
    let one = subject.request("one", subject.disk.clone());
    let two = subject.request("two", subject.disk.clone());
    let ((mut one, first), (mut two, second)) = tokio::join!(subject.boot(one), subject.boot(two));
    assert_ne!(boot_id(&*first).await, boot_id(&*second).await);
    one.end().await;
    assert_eq!(second.check(Exec::new("echo alive")).await.unwrap(), "alive\n");
    is_well(&*two).await;
    two.end().await;
}
