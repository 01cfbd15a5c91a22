//! The peer: QEMU started by hand, as a script would, and ended once ssh has run a command.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::Seed;
use imgbake_comm::{Communicator, Exec, Ssh};
use imgbake_disk::{DiskFormat, overlay, seed};
use imgbake_runtime::Cancel;
use imgbake_runtime::retry::Backoff;
use imgbake_types::Arch;
use imgbake_types::spec::Firmware;

use crate::Result;
use crate::bench::files;

/// How long a boot may take.
const LIMIT: Duration = Duration::from_secs(900);

/// What the template's machines have.
const MEMORY: &str = "1024M";
const PROCESSORS: &str = "2";

/// The disk's overlay: clusters of 4 KiB, as imgbake's have.
const CLUSTER_BITS: u32 = 12;

/// Machines of one disk.
pub(super) struct Plain {
    /// The raw disk.
    pub(super) disk: Utf8PathBuf,
    /// Where their files go.
    pub(super) dir: Utf8PathBuf,
    /// Whether they run under KVM.
    pub(super) kvm: bool,
}

/// Seconds of the boots.
pub(super) struct Boots {
    /// From BIOS.
    pub(super) bios: f64,
    /// The first one again, from the order to restart.
    pub(super) restart: f64,
    /// From UEFI.
    pub(super) uefi: f64,
}

impl Boots {
    /// All, one after the other.
    pub(super) fn total(&self) -> f64 {
        self.bios + self.restart + self.uefi
    }
}

impl Plain {
    /// Boots one machine after the other.
    pub(super) fn boots(&self) -> Result<Boots> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let first = self.start(Firmware::Bios)?;
            let (bios, ssh, booted) = first.up(None).await?;
            let asked = Instant::now();
            ssh.check(Exec::new("systemctl --no-block reboot")).await?;
            // Ends with the connection, which the old system cuts: no login is tried before.
            let _ = ssh.capture(Exec::new("sleep 600").timeout(LIMIT)).await;
            first.up(Some(&booted)).await?;
            let restart = asked.elapsed().as_secs_f64();
            drop(first);
            let second = self.start(Firmware::Uefi)?;
            let (uefi, ..) = second.up(None).await?;
            Ok(Boots { bios, restart, uefi })
        })
    }

    fn start(&self, firmware: Firmware) -> Result<Guest> {
        let name = named(firmware);
        let file = |suffix: &str| self.dir.join(format!("plain-{name}{suffix}"));
        let (root, volume) = (file(".qcow2"), file("-seed.img"));
        files::remove_file(root.as_std_path())?;
        files::remove_file(volume.as_std_path())?;
        let size = std::fs::metadata(&self.disk)?.len();
        overlay::create_overlay(&root, &self.disk, DiskFormat::Raw, size, CLUSTER_BITS)?;
        let keys = Seed::new("bench", name, "root", false);
        seed::nocloud(&volume, &keys.user_data(), &keys.meta_data(), None)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        qemu.args(["-machine", "q35,graphics=off,vmport=off"]);
        let engine: [&str; 4] = if self.kvm {
            ["-accel", "kvm", "-cpu", "host"]
        } else {
            ["-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max,la57=off,erms=off,fsrm=off"]
        };
        qemu.args(engine).args(["-smp", PROCESSORS, "-m", MEMORY]);
        if firmware == Firmware::Uefi {
            uefi(&mut qemu, &file("-vars.fd"))?;
        }
        let drive = |id: &str, path: &Utf8Path, more: &str| {
            format!("if=none,id={id},file={},{more}", path.as_str().replace(',', ",,"))
        };
        qemu.args(["-drive", &drive("root", &root, "format=qcow2,cache=unsafe,discard=unmap")]);
        qemu.args(["-device", "virtio-blk-pci,drive=root,bootindex=1"]);
        qemu.args(["-drive", &drive("seed", &volume, "format=raw,readonly=on")]);
        qemu.args(["-device", "virtio-blk-pci,drive=seed"]);
        qemu.arg("-netdev").arg(format!("user,id=net0,ipv6=off,hostfwd=tcp:127.0.0.1:{port}-:22"));
        qemu.args(["-device", "virtio-net-pci,netdev=net0,romfile="]);
        qemu.args(["-device", "virtio-rng-pci"]);
        qemu.arg("-serial").arg(format!("file:{}", file(".log")));
        let started = Instant::now();
        let process = qemu.stdin(Stdio::null()).spawn()?;
        Ok(Guest { process, port, keys, started })
    }
}

/// The firmware of a boot, as a machine's name has it.
fn named(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Bios => "bios",
        Firmware::Uefi => "uefi",
    }
}

/// The firmware, and a copy of its variables.
fn uefi(qemu: &mut Command, variables: &Utf8Path) -> Result<()> {
    let files = imgbake_qemu::firmware::uefi(Arch::X86_64)?;
    std::fs::copy(&files.vars, variables)?;
    for (path, more) in [(files.code.as_path(), ",readonly=on"), (variables, "")] {
        qemu.arg("-drive").arg(format!("if=pflash,format=raw,file={path}{more}"));
    }
    Ok(())
}

/// A machine that runs, until it is dropped.
struct Guest {
    process: Child,
    port: u16,
    keys: Seed,
    started: Instant,
}

impl Guest {
    /// Waits until ssh answers and runs a command, in another boot than `before`: gives the seconds since
    /// QEMU's start, the connection, and the boot's id.
    async fn up(&self, before: Option<&str>) -> Result<(f64, Box<dyn Communicator>, String)> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let (user, key, host) =
            (&self.keys.user, &self.keys.user_key, self.keys.host_key.public_openssh());
        let mut backoff = Backoff::default();
        loop {
            let ssh: Box<dyn Communicator> =
                Box::new(Ssh::connect(&Cancel::new(), address, user, key, &host, LIMIT).await?);
            let boot = ssh.check(Exec::new("cat /proc/sys/kernel/random/boot_id")).await;
            match boot {
                Ok(boot) if before != Some(boot.as_str()) => {
                    return Ok((self.started.elapsed().as_secs_f64(), ssh, boot));
                }
                // The old system has not quite gone.
                _ if before.is_some() && self.started.elapsed() < LIMIT => backoff.wait().await,
                Ok(_) => return Err("the machine did not restart".into()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
