//! A guest booted by plain QEMU, with a seed made by other tools: what a user does with a pulled disk.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use crate::{Run, TestHome, run_tool};

/// A running guest; it is ended when this is dropped.
pub struct PlainGuest {
    child: Child,
    key: Utf8PathBuf,
    port: u16,
}

/// What must be different in each clone.
#[derive(Debug)]
pub struct Identity {
    /// `/etc/machine-id`
    pub machine_id: String,
    /// The ssh host keys' public parts.
    pub host_keys: Vec<String>,
}

impl PlainGuest {
    /// Boots a disk image, which is not written to, from a firmware (`bios` or `uefi`).
    pub fn boot(home: &TestHome, disk: &Utf8Path, firmware: &str) -> Self {
        let dir = home.dir().join(format!("plain-{firmware}"));
        fs::create_dir_all(dir.join("seed")).unwrap();
        let key = dir.join("key");
        run_tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key.as_str()]).exits(0);
        let public = fs::read_to_string(dir.join("key.pub")).unwrap();
        let user = format!(
            "#cloud-config\nusers:\n  - name: admin\n    sudo: ALL=(ALL) NOPASSWD:ALL\n    ssh_authorized_keys: ['{}']\n",
            public.trim()
        );
        fs::write(dir.join("seed/user-data"), user).unwrap();
        fs::write(dir.join("seed/meta-data"), format!("instance-id: plain-{firmware}\n")).unwrap();
        let seed = dir.join("seed.iso");
        let made = dir.join("seed");
        run_tool(
            "genisoimage",
            &["-quiet", "-o", seed.as_str(), "-V", "cidata", "-J", "-r", made.as_str()],
        )
        .exits(0);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // The cloud kernel of Debian knows IDE's CD-ROM drives, and not AHCI's.
        let machine = if firmware == "bios" { "pc" } else { "q35" };
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args([
                "-machine",
                machine,
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                "1024",
            ])
            .args(["-display", "none", "-snapshot", "-serial"])
            .arg(format!("file:{dir}/serial.log"))
            .arg("-drive")
            .arg(format!("if=virtio,format=qcow2,file={disk}"))
            .arg("-drive")
            .arg(seed_drive(firmware, &seed))
            .args(["-device", "virtio-net-pci,netdev=n", "-netdev"])
            .arg(format!("user,id=n,hostfwd=tcp:127.0.0.1:{port}-:22"))
            .stdin(Stdio::null());
        if firmware == "uefi" {
            let vars = dir.join("vars.fd");
            fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &vars).unwrap();
            command
                .args([
                    "-drive",
                    "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
                    "-drive",
                ])
                .arg(format!("if=pflash,format=raw,file={vars}"));
        }
        Self { child: command.spawn().unwrap(), key, port }
    }

    fn ssh(&self, command: &str) -> Run {
        let port = self.port.to_string();
        run_tool(
            "ssh",
            &[
                "-q",
                "-i",
                self.key.as_str(),
                "-p",
                &port,
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "BatchMode=yes",
                "-o",
                "ConnectTimeout=5",
                "admin@127.0.0.1",
                command,
            ],
        )
    }

    /// Waits until the seed's key is let in, and reads the guest's identity.
    pub fn identity(&self) -> Identity {
        let limit = Instant::now() + Duration::from_secs(600);
        while self.ssh("true").code != 0 {
            assert!(Instant::now() < limit, "the guest does not let the seed's key in");
        }
        let machine_id = self.ssh("cat /etc/machine-id").exits(0).stdout.trim().to_owned();
        let keys = self.ssh("cut -d' ' -f2 /etc/ssh/ssh_host_*_key.pub").exits(0).stdout;
        Identity { machine_id, host_keys: keys.lines().map(str::to_owned).collect() }
    }
}

/// Seeds come on CD-ROMs (most hypervisors, OpenStack) and on plain disks: one of each.
fn seed_drive(firmware: &str, seed: &Utf8Path) -> String {
    match firmware {
        "bios" => format!("media=cdrom,file={seed}"),
        _ => format!("if=virtio,format=raw,readonly=on,file={seed}"),
    }
}

impl Drop for PlainGuest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
