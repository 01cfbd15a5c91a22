//! `cargo xtask bench build`: a cold build of three shell steps, imgbake against Packer's QEMU builder.
//!
//! Both start from the same qcow2 base disk (made by imgbake's bootstrap), under the same emulation
//! (TCG), with the same memory and processors, and run the same three steps. Packer does neither seal
//! nor verify an image; imgbake's run here seals, searches for residues, digests and publishes, and
//! leaves verify out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::report::{Report, machine, median, round};
use crate::Result;

const STEPS: [&str; 3] = [
    "echo step1 | sudo tee /etc/step1",
    "sudo sh -c 'for i in 1 2 3 4 5; do head -c 20000000 /dev/urandom > /var/tmp/blob$i; done'; sync",
    "echo step3 | sudo tee /etc/step3",
];

/// What one run of imgbake took, by its own events.
struct Run {
    wall: f64,
    boot: f64,
    steps: f64,
    seal: f64,
    capture: f64,
    publish: f64,
}

impl Run {
    /// What is imgbake's own: all but the guest's boot, the steps, and its sealing and shutdown.
    fn overhead(&self) -> f64 {
        self.wall - self.boot - self.steps - self.seal
    }
}

pub(super) fn run(dir: &Path, runs: usize, json: bool) -> Result<()> {
    fs::create_dir_all(dir)?;
    let dir = dir.canonicalize()?;
    let imgbake = release_binary()?;
    let base = base_disk(&dir, &imgbake)?;
    let packer = packer_files(&dir, &base)?;
    let template = imgbake_template(&dir, &base)?;
    // Read once before the clock runs: both find the base disk in the page cache.
    fs::read(&base)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=runs {
        theirs.push(run_packer(&dir, &packer)?);
        let run = run_imgbake(&dir, &imgbake, &template)?;
        if !json {
            println!("run {round}: packer {:.1} s, imgbake {:.1} s", theirs[round - 1], run.wall);
        }
        ours.push(run);
    }
    let report = report(&ours, &theirs);
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        write_docs(&report, runs, &imgbake)?;
    }
    Ok(())
}

fn report(ours: &[Run], theirs: &[f64]) -> Report {
    let of = |pick: fn(&Run) -> f64| median(&ours.iter().map(pick).collect::<Vec<_>>());
    let packer = median(theirs);
    let figures = BTreeMap::from([
        ("packer_seconds", round(packer)),
        ("imgbake_seconds", round(of(|run| run.wall))),
        ("boot_seconds", round(of(|run| run.boot))),
        ("steps_seconds", round(of(|run| run.steps))),
        ("seal_seconds", round(of(|run| run.seal))),
        ("capture_seconds", round(of(|run| run.capture))),
        ("publish_seconds", round(of(|run| run.publish))),
        ("overhead_seconds", round(of(Run::overhead))),
    ]);
    let ratios = BTreeMap::from([("cold_vs_packer", round(of(|run| run.wall) / packer))]);
    Report { bench: "build", machine: machine(), figures, ratios }
}

fn release_binary() -> Result<PathBuf> {
    checked(
        Command::new("cargo")
            .args(["build", "--release", "--locked", "--bin", "imgbake"])
            .current_dir(crate::root()),
    )?;
    Ok(crate::root().join("target/release/imgbake").canonicalize()?)
}

/// The base disk: imgbake's bootstrap of Debian 12, exported once as qcow2.
fn base_disk(dir: &Path, imgbake: &Path) -> Result<PathBuf> {
    let base = dir.join("base.qcow2");
    if base.exists() {
        return Ok(base);
    }
    let template = dir.join("base.toml");
    fs::write(
        &template,
        "[image]\nname = \"bench-base\"\n[source]\nbootstrap = { distribution = \"debian\", suite = \"bookworm\" }\n\
         [builder.qemu]\naccel = \"tcg\"\ndisk = \"2GiB\"\n[verify]\nenabled = false\n",
    )?;
    checked(at_home(dir, imgbake).arg("build").arg(&template).arg("--output").arg(&base))?;
    Ok(base)
}

fn at_home(dir: &Path, imgbake: &Path) -> Command {
    let mut command = Command::new(imgbake);
    command.arg("--home").arg(dir.join("home")).args(["--progress", "plain"]);
    command
}

fn imgbake_template(dir: &Path, base: &Path) -> Result<PathBuf> {
    let steps: Vec<String> = STEPS
        .iter()
        .map(|step| format!("[[provision]]\ntype = \"shell\"\ninline = ['''{step}''']\n"))
        .collect();
    let steps = steps.concat();
    let template = dir.join("bench.toml");
    fs::write(
        &template,
        format!(
            "[image]\nname = \"bench\"\n[source]\nurl = \"{}\"\nchecksum = \"none\"\nallow_unverified = true\n\
             [builder.qemu]\naccel = \"tcg\"\nmemory = \"1GiB\"\ncpus = 2\n{steps}[verify]\nenabled = false\n",
            base.display()
        ),
    )?;
    Ok(template)
}

fn run_imgbake(dir: &Path, imgbake: &Path, template: &Path) -> Result<Run> {
    let events = dir.join("events.jsonl");
    let started = Instant::now();
    checked(at_home(dir, imgbake).arg("build").arg(template).arg("--events").arg(&events))?;
    let wall = started.elapsed().as_secs_f64();
    let mut took: BTreeMap<String, f64> = BTreeMap::new();
    for line in fs::read_to_string(&events)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["type"] == "stage_finished" {
            let stage = event["stage"].as_str().unwrap_or_default().to_owned();
            *took.entry(stage).or_default() += event["seconds"].as_f64().unwrap_or_default();
        }
    }
    let of = |stage: &str| took.get(stage).copied().unwrap_or_default();
    Ok(Run {
        wall,
        boot: of("boot"),
        steps: of("provision"),
        seal: of("seal"),
        capture: of("capture"),
        publish: of("publish"),
    })
}

/// Packer's template, its key and its seed.
fn packer_files(dir: &Path, base: &Path) -> Result<PathBuf> {
    let (key, seed) = (dir.join("key"), dir.join("seed"));
    if !key.exists() {
        checked(
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key),
        )?;
    }
    let public = fs::read_to_string(dir.join("key.pub"))?;
    fs::create_dir_all(&seed)?;
    fs::write(
        seed.join("user-data"),
        format!(
            "#cloud-config\nusers:\n  - name: packer\n    sudo: ALL=(ALL) NOPASSWD:ALL\n    shell: /bin/bash\n    \
             ssh_authorized_keys: [ \"{}\" ]\n",
            public.trim()
        ),
    )?;
    fs::write(seed.join("meta-data"), "instance-id: bench-1\n")?;
    let provisioners: Vec<Value> =
        STEPS.iter().map(|step| serde_json::json!({"type": "shell", "inline": [step]})).collect();
    let template = serde_json::json!({
        "builders": [{
            "type": "qemu", "disk_image": true, "iso_url": base, "iso_checksum": "none",
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
    let path = dir.join("packer.json");
    fs::write(&path, serde_json::to_string_pretty(&template)?)?;
    Ok(path)
}

fn run_packer(dir: &Path, template: &Path) -> Result<f64> {
    let started = Instant::now();
    checked(Command::new("packer").args(["build", "-force"]).arg(template).current_dir(dir))?;
    Ok(started.elapsed().as_secs_f64())
}

/// Runs a command whose output matters only if it fails.
fn checked(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        format!("{}: {error} (`./dev bench build` installs it)", command.get_program().display())
    })?;
    if output.status.success() {
        return Ok(());
    }
    let words = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Err(format!("{} failed ({}):\n{words}", command.get_program().display(), output.status).into())
}

/// Writes docs/benchmarks.md and prints it.
fn write_docs(report: &Report, runs: usize, imgbake: &Path) -> Result<()> {
    let version = |program: &Path, argument: &str| -> Result<String> {
        let output = Command::new(program).arg(argument).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
    };
    let figures: String = report
        .figures
        .iter()
        .map(|(name, value)| format!("| `{name}` | {value:.2} |\n"))
        .chain(
            report
                .ratios
                .iter()
                .map(|(name, value)| format!("| `{name}` (ratio) | {value:.2} |\n")),
        )
        .collect();
    let text = format!(
        "# Benchmarks\n\nMade by `./dev bench build`; anyone can run it. Times on a shared machine move: the \
         ratio within one run is what counts.\n\n\
         ## A cold build of three shell steps, against Packer\n\n\
         Both start from the same Debian 12 base disk (qcow2, 2 GiB), under the same emulation (TCG), with 1 GiB \
         and 2 processors, and run the same three shell steps. Packer neither seals nor verifies; imgbake's run \
         seals, checks for residues, digests, compresses and publishes, and leaves verify out. Overhead is wall \
         time less what runs in the guest: its boot, the steps, and seal, which ends with its shutdown. imgbake \
         starts the building machine's kernel directly, Packer through SeaBIOS and GRUB.\n\n\
         Machine: {}.\nPeers: Packer {} (QEMU builder), {}, {}. Medians of {runs} alternating runs.\n\n\
         | figure | value |\n| --- | --- |\n{figures}",
        report.machine,
        version(Path::new("packer"), "version")?.trim_start_matches("Packer "),
        version(Path::new("qemu-system-x86_64"), "--version")?,
        version(imgbake, "--version")?,
    );
    fs::write(crate::root().join("docs/benchmarks.md"), &text)?;
    println!("{text}");
    Ok(())
}
