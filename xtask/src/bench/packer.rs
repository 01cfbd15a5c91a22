//! The peer: Packer's QEMU builder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::commands;
use super::ground::Ground;
use crate::Result;

/// A template of Packer's with its key and seed.
pub(super) struct Packer {
    dir: PathBuf,
    template: PathBuf,
}

impl Packer {
    /// Writes a template that runs provisioners on the base disk.
    pub(super) fn new(ground: &Ground, name: &str, provisioners: &[Value]) -> Result<Self> {
        let dir = &ground.dir;
        let (key, seed) = (dir.join("key"), dir.join("seed"));
        if !key.exists() {
            commands::output(
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key),
            )?;
        }
        write_seed(&seed, &fs::read_to_string(dir.join("key.pub"))?)?;
        let template = serde_json::json!({
            "builders": [{
                "type": "qemu", "disk_image": true, "iso_url": ground.base.path,
                "iso_checksum": ground.base.checksum,
                "accelerator": "tcg", "headless": true, "format": "qcow2", "disk_interface": "virtio",
                "net_device": "virtio-net", "memory": 1024, "cpus": 2, "use_backing_file": false,
                "cd_files": [seed.join("user-data"), seed.join("meta-data")], "cd_label": "cidata",
                "output_directory": dir.join("packer-out"), "disk_size": "2048M",
                "qemuargs": [["-machine", "type=pc,accel=tcg"], ["-cpu", "max"]],
                "ssh_username": "packer", "ssh_private_key_file": key, "ssh_timeout": "10m",
                "shutdown_command": "sudo poweroff"
            }],
            "provisioners": provisioners
        });
        let path = dir.join(format!("packer-{name}.json"));
        fs::write(&path, serde_json::to_string_pretty(&template)?)?;
        Ok(Self { dir: dir.clone(), template: path })
    }

    /// Builds; gives the seconds.
    pub(super) fn build(&self) -> Result<f64> {
        let mut packer = Command::new("packer");
        packer.args(["build", "-force"]).arg(&self.template).current_dir(&self.dir);
        commands::seconds(&mut packer)
    }
}

/// A `NoCloud` seed that lets Packer in.
fn write_seed(seed: &Path, public: &str) -> Result<()> {
    fs::create_dir_all(seed)?;
    fs::write(
        seed.join("user-data"),
        format!(
            "#cloud-config\nusers:\n  - name: packer\n    sudo: ALL=(ALL) NOPASSWD:ALL\n    shell: /bin/bash\n    \
             ssh_authorized_keys: [ \"{}\" ]\n",
            public.trim()
        ),
    )?;
    fs::write(seed.join("meta-data"), "instance-id: bench-1\n")?;
    Ok(())
}

/// Packer and its version.
pub(super) fn version() -> Result<String> {
    let words = commands::version(Path::new("packer"), "version")?;
    Ok(format!("Packer {} (QEMU builder)", words.trim_start_matches("Packer ")))
}
