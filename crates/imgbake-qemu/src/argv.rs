//! QEMU's command line, made from what a machine shall be. Pure.
//!
//! Devices have fixed PCI addresses and node names: a machine's saved state can be loaded only into a
//! machine that is made the same. Options are those of QEMU 7.2 and later
//! (<https://www.qemu.org/docs/master/system/invocation.html>).

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{KernelFiles, LOGIN_PORT};
use imgbake_types::Arch;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::firmware::UefiFiles;

/// PCI slots on the root bus. The root disk comes first, so that it is `vda`; the seed comes last, so
/// that extra disks are `vdb` and on.
const SLOT_NET: u8 = 0x3;
const SLOT_ROOT: u8 = 0x4;
const SLOT_PORTS: u8 = 0x5;
const SLOT_RNG: u8 = 0x6;
const SLOT_PVPANIC: u8 = 0x7;
const SLOT_EXTRA: u8 = 0x8;
const SLOT_SEED: u8 = 0x1e;

/// The node name of the image that a machine starts with.
pub(crate) const ROOT_NODE: &str = "root";

/// Extra disks that there are slots for.
pub const MOST_EXTRA_DISKS: usize = (SLOT_SEED - SLOT_EXTRA) as usize;

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The host's virtualization.
    Kvm,
    /// QEMU's own emulation.
    Tcg,
}

/// All that decides the command line.
#[derive(Debug, Clone)]
pub struct Argv<'a> {
    /// The machine's name.
    pub name: &'a str,
    /// Its identity in SMBIOS, from which its MAC address derives as well.
    pub uuid: Uuid,
    /// Its architecture.
    pub arch: Arch,
    /// What runs it.
    pub engine: Engine,
    /// The processor model that the template names.
    pub cpu: Option<&'a str>,
    /// Processors.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// UEFI firmware; without it SeaBIOS, or on aarch64 the kernel itself.
    pub uefi: Option<&'a UefiFiles>,
    /// A kernel to load directly.
    pub kernel: Option<&'a KernelFiles>,
    /// The root disk's overlay, a qcow2 whose header names its backing file.
    pub root: &'a Utf8Path,
    /// The extra disks, each a qcow2.
    pub extra_disks: &'a [Utf8PathBuf],
    /// The seed volume, where the machine has one.
    pub seed: Option<&'a Utf8Path>,
    /// Files of one SMBIOS string each.
    pub strings: &'a [Utf8PathBuf],
    /// The socket of the control connection. QEMU is run in its folder: the address of a unix socket
    /// has 108 bytes, and a deep folder's path has more.
    pub qmp: &'a str,
    /// The socket of the serial console, in the same folder.
    pub console: &'a str,
    /// The socket of the port for a login that no network leads to, in the same folder.
    pub login: &'a str,
    /// Whether this QEMU has the device `pvpanic-pci`.
    pub pvpanic: bool,
    /// Whether this QEMU has the device `vmgenid`.
    pub vmgenid: bool,
    /// Whether it waits for a saved machine's state.
    pub incoming: bool,
    /// Appended as they are.
    pub extra: &'a [String],
}

/// The processor model for a machine.
pub fn cpu_model(arch: Arch, engine: Engine, named: Option<&str>) -> String {
    let default = match (engine, arch) {
        (Engine::Kvm, _) => "host",
        // Five-level page tables make each of TCG's page walks longer. Processor time of Debian 12 to
        // ssh, three runs each on a busy host: 23.2, 25.8 and 36.2 s without, 25.9, 26.6 and 27.8 s
        // with them: little, if anything. No AVX (23.0 to 28.2 s) and Nehalem (32.7 s, one run) gain nothing.
        // ERMS and FSRM say that `rep stosb` and `rep movsb` are fast, and TCG does them byte by byte: with
        // them a guest reads 300 MB of its page cache in 1.2 s, without in 0.15 s, and gives it back in 1.9
        // and 0.8 s (one run each, Debian 12, `init_on_free`).
        (Engine::Tcg, Arch::X86_64) => "max,la57=off,erms=off,fsrm=off",
        // `max` signs pointers (PAuth), which is costly to emulate; not measured here.
        (Engine::Tcg, Arch::Aarch64) => "cortex-a57",
    };
    named.unwrap_or(default).to_owned()
}

/// What `-accel` takes. With 1 GiB of translated code, a booting distribution is not translated twice.
pub fn accel_option(engine: Engine) -> &'static str {
    match engine {
        Engine::Kvm => "kvm",
        Engine::Tcg => "tcg,thread=multi,tb-size=1024",
    }
}

/// The machine type by its short name, which means the newest that a QEMU knows.
pub(crate) const fn machine_type(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "q35",
        Arch::Aarch64 => "virt",
    }
}

/// What `-machine` takes for aarch64. KVM can only give the host's interrupt controller.
pub(crate) const fn virt_machine(engine: Engine) -> &'static str {
    match engine {
        Engine::Kvm => "virt,gic-version=host",
        Engine::Tcg => "virt,gic-version=3",
    }
}

impl Argv<'_> {
    /// The arguments, without the program.
    pub fn build(&self) -> Vec<String> {
        let mut args = Args::default();
        self.machine(&mut args);
        self.firmware(&mut args);
        self.disks(&mut args);
        self.devices(&mut args);
        self.control(&mut args);
        args.0.extend(self.extra.iter().cloned());
        args.0
    }

    fn machine(&self, args: &mut Args) {
        let mut machine = match self.arch {
            // Without graphics SeaBIOS talks to the serial console.
            Arch::X86_64 => "q35,graphics=off,vmport=off".to_owned(),
            Arch::Aarch64 => virt_machine(self.engine).to_owned(),
        };
        if self.uefi.is_some() {
            machine.push_str(",pflash0=firmware,pflash1=variables");
        }
        args.add("-name", format!("guest=imgbake-{},debug-threads=on", escape(self.name)));
        args.add("-uuid", self.uuid.to_string());
        args.flag("-nodefaults");
        args.flag("-no-user-config");
        args.add("-display", "none");
        args.add("-machine", machine);
        args.add("-accel", accel_option(self.engine));
        args.add("-cpu", cpu_model(self.arch, self.engine, self.cpu));
        args.add("-smp", self.cpus.to_string());
        args.add("-m", format!("{}M", self.memory.div_ceil(1 << 20)));
        args.add("-rtc", "base=utc");
        for path in self.strings {
            args.add("-smbios", format!("type=11,path={}", escape(path.as_str())));
        }
        // Stopped until somebody listens: no word of the console is missed.
        args.flag("-S");
    }

    fn firmware(&self, args: &mut Args) {
        if let Some(uefi) = self.uefi {
            for (node, path, read_only) in
                [("firmware", &uefi.code, true), ("variables", &uefi.vars, false)]
            {
                args.json(
                    "-blockdev",
                    &json!({"driver": "raw", "node-name": node, "read-only": read_only,
                        "file": {"driver": "file", "filename": path, "read-only": read_only}}),
                );
            }
        }
        if let Some(kernel) = self.kernel {
            args.add("-kernel", kernel.kernel.as_str());
            if let Some(initrd) = &kernel.initrd {
                args.add("-initrd", initrd.as_str());
            }
            args.add("-append", kernel.cmdline.clone());
        }
    }

    fn disks(&self, args: &mut Args) {
        args.json("-blockdev", &overlay_node(ROOT_NODE, self.root));
        args.block(ROOT_NODE, SLOT_ROOT, Some("bootindex=1"));
        for (slot, (path, number)) in (SLOT_EXTRA..SLOT_SEED).zip(self.extra_disks.iter().zip(1..))
        {
            let node = extra_node(number);
            args.json("-blockdev", &overlay_node(&node, path));
            args.block(&node, slot, None);
        }
        let Some(seed) = self.seed else { return };
        args.json(
            "-blockdev",
            &json!({"driver": "raw", "node-name": "seed", "read-only": true,
                "file": {"driver": "file", "node-name": "seed-file", "filename": seed, "read-only": true}}),
        );
        args.block("seed", SLOT_SEED, None);
    }

    fn devices(&self, args: &mut Args) {
        // No IPv6: a host without a route for it would make a guest's downloads wait for it in vain.
        args.add("-netdev", "user,id=net0,ipv6=off,hostfwd=tcp:127.0.0.1:0-:22");
        let mac = mac(self.uuid);
        args.device(&format!("virtio-net-pci,id=nic,netdev=net0,mac={mac},romfile="), SLOT_NET);
        args.add("-object", "rng-random,id=entropy,filename=/dev/urandom");
        args.device("virtio-rng-pci,id=rng,rng=entropy", SLOT_RNG);
        args.device("virtio-serial-pci,id=ports,max_ports=2", SLOT_PORTS);
        args.add(
            "-device",
            format!(
                "virtserialport,id=login-port,bus=ports.0,nr=1,chardev=login,name={LOGIN_PORT}"
            ),
        );
        if self.pvpanic {
            args.device("pvpanic-pci,id=pvpanic", SLOT_PVPANIC);
        }
        if self.vmgenid && self.arch == Arch::X86_64 {
            args.add("-device", "vmgenid,id=vmgenid,guid=auto");
        }
    }

    fn control(&self, args: &mut Args) {
        for (id, path) in [("console", self.console), ("qmp", self.qmp), ("login", self.login)] {
            args.add(
                "-chardev",
                format!("socket,id={id},path={},server=on,wait=off", escape(path)),
            );
        }
        args.add("-serial", "chardev:console");
        args.add("-mon", "chardev=qmp,mode=control");
        if self.incoming {
            // The state's file is named over the control connection, where a failure has a message.
            args.add("-incoming", "defer");
        }
    }
}

/// A disk's file that the machine writes to. No flush reaches the host while the machine runs: an
/// overlay is thrown away, kept as a layer or captured once QEMU has written all of it; it need not
/// survive a power cut.
fn file_node(node: &str, path: &Utf8Path) -> Value {
    json!({"driver": "file", "node-name": node, "filename": path, "discard": "unmap",
        "cache": {"direct": false, "no-flush": true}})
}

/// The node of an extra disk's first image; `number` counts from 1.
pub(crate) fn extra_node(number: usize) -> String {
    format!("extra-{number}")
}

/// A disk's topmost image. What is below it is opened as the images' headers say.
pub(crate) fn overlay_node(node: &str, path: &Utf8Path) -> Value {
    json!({"driver": "qcow2", "node-name": node, "discard": "unmap", "detect-zeroes": "unmap",
        "cache": {"direct": false, "no-flush": true},
        "file": file_node(&format!("{node}-file"), path)})
}

/// A MAC address of QEMU's own range, so that no two machines have the same.
fn mac(uuid: Uuid) -> String {
    let [a, b, c, ..] = *uuid.as_bytes();
    format!("52:54:00:{a:02x}:{b:02x}:{c:02x}")
}

/// A value for an option list: a comma is written twice.
fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.extend([name.to_owned(), value.into()]);
    }

    fn json(&mut self, name: &str, value: &Value) {
        self.add(name, value.to_string());
    }

    fn device(&mut self, device: &str, slot: u8) {
        self.add("-device", format!("{device},bus=pcie.0,addr={slot:#x}"));
    }

    /// A virtio disk that stops the machine when the host cannot write it.
    fn block(&mut self, node: &str, slot: u8, more: Option<&str>) {
        let more = more.map_or_else(String::new, |more| format!(",{more}"));
        let device = format!("virtio-blk-pci,id=disk-{node},drive={node},serial={node}");
        self.device(&format!("{device},werror=stop,rerror=stop{more}"), slot);
    }
}

#[cfg(test)]
mod tests;
