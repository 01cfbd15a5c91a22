//! Machines without a guest system: an empty disk, or a boot sector of a few bytes. They never answer
//! ssh, and whatever they do must be seen at once.

#![cfg(test)]

mod save;

use std::fs;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{
    BaseDisk, BuildErrorKind, Builder, LocalDisk, Machine, MachineRequest, Purpose, Seed,
};
use imgbake_qemu::{Accel, QemuBuilder, QemuSpec};
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets, retry};
use imgbake_types::Arch;
use imgbake_types::record::Parent;
use imgbake_types::spec::Firmware;

/// Far more than any of these machines needs: a wait that lasts as long has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// A boot sector's code: prints what follows it on the first serial port, then halts.
///
/// `mov si, text; mov dx, 0x3f8; cld; next: lodsb; test al, al; jz halt; out dx, al; jmp next;
/// halt: hlt; jmp halt; text:`
const PRINT: &[u8] = &[
    0xbe, 0x13, 0x7c, 0xba, 0xf8, 0x03, 0xfc, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, 0xf4,
    0xeb, 0xfd, 0x90,
];
/// A boot sector's code: resets the machine through port 0xcf9. `mov dx, 0xcf9; mov al, 6; out dx, al`
const RESET: &[u8] = &[0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4, 0xeb, 0xfd];

/// The settings of the tests' machines.
fn small() -> QemuSpec {
    QemuSpec { accel: Accel::Tcg, cpus: Some(1), ..QemuSpec::default() }
}

struct World {
    _dir: tempfile::TempDir,
    job: Job,
    builder: QemuBuilder,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Deeper than a unix socket's address can be.
        let deep = "a-folder-with-a-long-name/".repeat(5);
        let home = Home::new(Utf8PathBuf::from_path_buf(dir.path().join(deep)).unwrap());
        let events = Events::channel("test", Secrets::default()).0;
        let job = Job::begin(&home, "test", Cancel::new(), events, Secrets::default()).unwrap();
        Self { _dir: dir, job, builder: QemuBuilder::new() }
    }

    fn request(&self, boot_sector: &[u8]) -> MachineRequest {
        let path = self.job.work().join("base.raw");
        let mut disk = vec![0; 1 << 20];
        if !boot_sector.is_empty() {
            disk[..boot_sector.len()].copy_from_slice(boot_sector);
            disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        }
        fs::write(&path, &disk).unwrap();
        MachineRequest {
            name: "build".into(),
            arch: Arch::X86_64,
            machine: small().machine(),
            firmware: Firmware::Bios,
            purpose: Purpose::Build,
            disk: BaseDisk {
                location: LocalDisk {
                    path,
                    format: imgbake_disk::DiskFormat::Raw,
                    virtual_size: 1 << 20,
                    kernel: None,
                    extra: Vec::new(),
                }
                .into(),
                parent: Parent {
                    reference: None,
                    native: None,
                    digest: imgbake_types::Digest::sha256(b""),
                    kind: "url".into(),
                },
                bytes: 0,
                cached: false,
            },
            seed: Seed::new("test", "build", "root", true),
            uuid: uuid::Uuid::new_v4(),
            saved: None,
        }
    }

    async fn boot(&self, boot_sector: &[u8]) -> Box<dyn Machine> {
        self.builder.boot(&self.job, self.request(boot_sector)).await.unwrap()
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("it was seen in time")
}

/// The process ids of this job's QEMUs.
fn qemus(work: &Utf8Path) -> Vec<i32> {
    let needle = work.join("build.qcow2");
    let pids = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(needle.as_str()))
    })
    .collect()
}

#[tokio::test]
async fn a_machine_that_never_answers_shows_its_console() {
    let world = World::new();
    let mut machine = world.boot(b"").await;
    let console = || async { machine.console().contains("No bootable device").then_some(()) };
    retry::poll(world.job.cancel(), LIMIT, "the firmware's message", console).await.unwrap();
    let error = machine.connect(Duration::from_secs(1)).await.err().unwrap();
    assert_eq!(error.kind(), BuildErrorKind::Machine, "{error}");
    let message = error.to_string();
    assert!(message.contains("waited up to 1 s for ssh on 127.0.0.1:"), "{message}");
    assert!(message.contains("No bootable device"), "{message}");
    let access = machine.access();
    assert!(access.port > 0 && access.key.is_file(), "{access:?}");
    machine.end().await;
    assert!(qemus(world.job.work()).is_empty());
    machine.end().await;
}

#[tokio::test]
async fn a_panic_is_seen_at_once() {
    let world = World::new();
    let text = b"boot\r\nKernel panic - not syncing: VFS: no root\r\n\0";
    let mut machine = world.boot(&[PRINT, text].concat()).await;
    let error = within(machine.connect(LIMIT * 2)).await.err().unwrap();
    assert!(
        error
            .to_string()
            .contains("Kernel panic - not syncing: VFS: no root, while waiting for ssh"),
        "{error}"
    );
    machine.end().await;
}

#[tokio::test]
async fn a_restart_counts_only_when_nobody_expects_it() {
    let world = World::new();
    let mut machine = world.boot(RESET).await;
    machine.expect_restart();
    // This machine restarts for ever: the first one is expected, the second is not.
    let error = match within(machine.restarted(LIMIT)).await {
        Ok(()) => within(machine.failure()).await,
        Err(error) => error,
    };
    assert!(error.to_string().contains("it restarted by itself"), "{error}");
    machine.end().await;
}

#[tokio::test]
async fn a_killed_qemu_is_seen_at_once() {
    let world = World::new();
    let mut machine = world.boot(b"").await;
    let pid = qemus(world.job.work())[0];
    let begun = Instant::now();
    let (error, ()) = tokio::join!(within(machine.failure()), async {
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    });
    assert!(error.to_string().contains("QEMU ended (signal: 9"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    machine.end().await;
}

#[tokio::test]
async fn a_dropped_machine_is_ended_and_a_kept_one_is_not() {
    let world = World::new();
    for kept in [true, false] {
        let mut machine = world.boot(b"").await;
        if kept {
            machine.keep();
        }
        let pid = qemus(world.job.work())[0];
        drop(machine);
        let gone = || async { (!qemus(world.job.work()).contains(&pid)).then_some(()) };
        let gone = retry::poll(
            world.job.cancel(),
            Duration::from_secs(if kept { 1 } else { 20 }),
            "its end",
            gone,
        );
        assert_eq!(gone.await.is_err(), kept);
        if kept {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    }
}

#[tokio::test]
async fn qemus_own_message_is_in_the_error() {
    let world = World::new();
    let mut request = world.request(b"");
    let args = vec!["-device".into(), "no-such-device".into()];
    request.machine = QemuSpec { args, ..small() }.machine();
    let error = world.builder.boot(&world.job, request).await.err().unwrap();
    assert!(error.to_string().contains("no-such-device"), "{error}");
}

#[tokio::test]
async fn uefi_machines_start_with_variables_of_their_own() {
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let world = World::new();
        let mut request = world.request(b"");
        (request.arch, request.firmware) = (arch, Firmware::Uefi);
        let mut machine = world.builder.boot(&world.job, request).await.unwrap();
        let console = || async { machine.console().contains("BdsDxe").then_some(()) };
        let shown = retry::poll(world.job.cancel(), LIMIT * 2, "UEFI's message", console).await;
        assert!(shown.is_ok(), "{arch}: {}", machine.console());
        machine.end().await;
        assert!(world.job.work().join("build-vars.fd").is_file());
    }
}

#[tokio::test]
async fn what_no_machine_can_be_is_refused_before_it_is_made() {
    let world = World::new();
    let extra_disks = vec![imgbake_types::Size::mib(1); 40];
    let spec = QemuSpec { extra_disks, ..QemuSpec::default() }.machine();
    let many =
        world.builder.check(&world.job, Arch::X86_64, &spec, Firmware::Bios).await.unwrap_err();
    assert_eq!(many.kind(), BuildErrorKind::Usage, "{many}");
    let spec = small().machine();
    let bios =
        world.builder.check(&world.job, Arch::Aarch64, &spec, Firmware::Bios).await.unwrap_err();
    assert_eq!(bios.help_text(), Some("use `firmware = \"uefi\"`"));
    world.builder.check(&world.job, Arch::X86_64, &spec, Firmware::Uefi).await.unwrap();
}
