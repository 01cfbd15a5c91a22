//! `cargo xtask bench layers`: what a change costs in a template of five steps, imgbake against
//! Packer's QEMU builder.
//!
//! Both run the same five scripts on the same base disk, under the same emulation, with the same memory
//! and processors. Packer has no cache: a change of any step is a whole build.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imgbake_types::event::{Outcome, Stage};
use serde_json::{Value, json};

use super::docs::Section;
use super::ground::Ground;
use super::imgbake::{Imgbake, Layer, Run};
use super::options::Options;
use super::packer::Packer;
use super::report::{Report, median, mib};
use super::{docs, mirror, packer};
use crate::Result;

/// The steps, as a platform team writes them: file name and text. `@REVISION@` stands for what a change
/// changes.
const STEPS: [(&str, &str); 5] = [
    ("1-packages", include_str!("steps/1-packages.sh")),
    ("2-users", include_str!("steps/2-users.sh")),
    ("3-config", include_str!("steps/3-config.sh")),
    ("4-application", include_str!("steps/4-application.sh")),
    ("5-harden", include_str!("steps/5-harden.sh")),
];
const MIDDLE: usize = 2;
const LAST: usize = 4;

const ABOUT: &str = "Five shell steps on Debian 12: packages from the network, users and folders, \
    configuration, an application of 50 MB, hardening. Both run the same scripts on the same base disk \
    (qcow2, 2 GiB), under the same emulation (TCG), with 1 GiB and 2 processors. Packer has no cache, so a \
    change of any step is a whole build: it changes the last step and the middle one in turn. imgbake builds \
    in an empty home, where it saves every layer (cold), then with the last step changed, then with the \
    middle (third) one changed, which runs three steps, then with nothing changed; each is the whole process, \
    with seal, capture and publish, and without verify, which Packer has not. The figures `cold_…_seconds` are \
    where a cold build's time goes: its stages, the steps by name, and `cold_saves_seconds`, in which the machine \
    is held up while its layers are saved; `cold_rest_seconds` is in none of them. `save_seconds` is how long one \
    layer holds the machine up, `restore_seconds` how long a saved machine takes until it answers.";

/// A round of imgbake's: four builds, in this order.
struct Round {
    cold: Run,
    last: Run,
    middle: Run,
    /// Seconds of a build that had nothing to do.
    unchanged: f64,
}

pub(super) fn run(options: &Options) -> Result<()> {
    let ground = Ground::new(options)?;
    let mut scripts = Scripts::new(ground.dir.join("layers"))?;
    let environment = mirror::environment();
    let packer = Packer::new(&ground, "layers", &scripts.provisioners(&environment))?;
    let template = scripts.template(&ground, &environment)?;
    let (mut ours, mut theirs, mut layers) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=options.runs() {
        scripts.change(if number % 2 == 1 { LAST } else { MIDDLE })?;
        let peer = packer.build()?;
        options.say(&format!("run {number}: packer {peer:.1} s"));
        let imgbake = ground.imgbake("layers/home", true)?;
        let cold = cold(&imgbake, &template)?;
        layers = imgbake.layers()?;
        let round = round(&imgbake, &template, &mut scripts, cold)?;
        options.say(&format!(
            "run {number}: imgbake cold {:.1} s, last step {:.1} s, middle step {:.1} s, no change {:.2} s",
            round.cold.wall, round.last.wall, round.middle.wall, round.unchanged
        ));
        theirs.push(peer);
        ours.push(round);
    }
    let report = report(&ours, &theirs, &layers);
    let section = Section {
        heading: "A change in a template of five steps, against Packer",
        about: ABOUT,
        how_often: &format!("Medians of {} alternating runs", options.runs()),
        with: &[packer::version()?],
        tables: &format!("{}\n{}", report.table(), table(&layers)),
    };
    docs::publish(options, &ground.binary, &report, &section)
}

/// A build in an empty home.
fn cold(imgbake: &Imgbake, template: &Path) -> Result<Run> {
    let cold = imgbake.build(template, "cold", &[])?;
    if cold.reported.ran.len() != STEPS.len() {
        return Err(format!("a cold build ran {} steps", cold.reported.ran.len()).into());
    }
    Ok(cold)
}

/// What follows a cold build: two changes and none. Each must be what it is taken for.
fn round(imgbake: &Imgbake, template: &Path, scripts: &mut Scripts, cold: Run) -> Result<Round> {
    scripts.change(LAST)?;
    let last = imgbake.build(template, "last", &[])?;
    last.reported.expect_warm(STEPS.len() - LAST)?;
    scripts.change(MIDDLE)?;
    let middle = imgbake.build(template, "middle", &[])?;
    middle.reported.expect_warm(STEPS.len() - MIDDLE)?;
    let unchanged = imgbake.build(template, "unchanged", &[])?;
    if unchanged.reported.outcome != Some(Outcome::Cached) {
        return Err("a build with nothing to do did something".into());
    }
    Ok(Round { cold, last, middle, unchanged: unchanged.wall })
}

fn report(ours: &[Round], theirs: &[f64], layers: &[Layer]) -> Report {
    let of = |pick: fn(&Round) -> f64| median(ours.iter().map(pick));
    let mut report = Report::new("layers");
    let packer = report.figure("packer_seconds", median(theirs.iter().copied()));
    let cold = report.figure("cold_seconds", of(|round| round.cold.wall));
    let last = report.figure("last_step_seconds", of(|round| round.last.wall));
    let middle = report.figure("middle_step_seconds", of(|round| round.middle.wall));
    report.figure("no_change_seconds", of(|round| round.unchanged));
    report.figure("restore_seconds", of(|round| round.last.reported.of(Stage::Restore)));
    let saves = ours.iter().flat_map(|round| round.cold.reported.saves());
    report.figure("save_seconds", median(saves));
    breakdown(&mut report, ours);
    for stage in [Stage::Provision, Stage::Seal, Stage::Capture, Stage::Publish] {
        let seconds = median(ours.iter().map(|round| round.last.reported.of(stage)));
        report.figure(format!("last_step_{stage}_seconds"), seconds);
    }
    report.figure("layers_disk_mib", mib(layers.iter().map(|layer| layer.disk_bytes).sum()));
    report.figure("layers_state_mib", mib(layers.iter().map(|layer| layer.state_bytes).sum()));
    for layer in layers {
        report.figure(format!("layer_{}_disk_mib", layer.name), mib(layer.disk_bytes));
        report.figure(format!("layer_{}_state_mib", layer.name), mib(layer.state_bytes));
    }
    report.ratio("last_step_vs_packer", last / packer);
    report.ratio("middle_step_vs_packer", middle / packer);
    report.ratio("cold_vs_packer", cold / packer);
    report
}

/// Where a cold build's seconds go.
fn breakdown(report: &mut Report, ours: &[Round]) {
    let of = |pick: &dyn Fn(&Run) -> f64| median(ours.iter().map(|round| pick(&round.cold)));
    let stages = [Stage::Source, Stage::Boot, Stage::Seal, Stage::Capture, Stage::Publish];
    for stage in stages {
        report.figure(format!("cold_{stage}_seconds"), of(&|run| run.reported.of(stage)));
    }
    for (index, (name, _)) in STEPS.iter().enumerate() {
        let seconds =
            of(&|run| run.reported.steps().get(index).map_or(0.0, |(_, seconds)| *seconds));
        report.figure(format!("cold_step_{name}_seconds"), seconds);
    }
    report.figure("cold_saves_seconds", of(&|run| run.reported.saves().sum()));
    let known = |run: &Run| {
        let stages: f64 = stages.iter().map(|stage| run.reported.of(*stage)).sum();
        stages + run.reported.of(Stage::Provision) + run.reported.saves().sum::<f64>()
    };
    report.figure("cold_rest_seconds", of(&|run| run.wall - known(run)));
}

/// What each layer of a cold build takes.
fn table(layers: &[Layer]) -> String {
    let rows = layers.iter().map(|layer| {
        let (disk, state) = (mib(layer.disk_bytes), mib(layer.state_bytes));
        format!("| {} | {disk:.1} | {state:.1} |\n", layer.name)
    });
    format!(
        "| layer after | disk, MiB | machine's state, MiB |\n| --- | --- | --- |\n{}",
        rows.collect::<String>()
    )
}

/// The steps' scripts, which both programs read.
struct Scripts {
    dir: PathBuf,
    /// Changes so far: no two are the same, so none is cached.
    changes: u32,
}

impl Scripts {
    fn new(dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut scripts = Self { dir, changes: 0 };
        (0..STEPS.len()).try_for_each(|step| scripts.change(step))?;
        Ok(scripts)
    }

    fn path(&self, step: usize) -> PathBuf {
        self.dir.join(format!("{}.sh", STEPS[step].0))
    }

    /// Changes a step to what it never was before.
    fn change(&mut self, step: usize) -> Result<()> {
        self.changes += 1;
        let text = STEPS[step].1.replace("@REVISION@", &self.changes.to_string());
        Ok(fs::write(self.path(step), text)?)
    }

    /// The steps as Packer's provisioners.
    fn provisioners(&self, environment: &BTreeMap<&str, String>) -> Vec<Value> {
        let variables: Vec<String> =
            environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let provisioner = |step| {
            json!({
                "type": "shell", "script": self.path(step), "environment_vars": variables,
                "execute_command": "sudo env {{ .Vars }} sh '{{ .Path }}'"
            })
        };
        (0..STEPS.len()).map(provisioner).collect()
    }

    /// The steps as a template of imgbake's.
    fn template(&self, ground: &Ground, environment: &BTreeMap<&str, String>) -> Result<PathBuf> {
        let variables: Vec<String> =
            environment.iter().map(|(name, value)| format!("{name} = \"{value}\"")).collect();
        let variables = variables.join(", ");
        let steps = STEPS.iter().map(|(name, _)| {
            format!(
                "[[provision]]\nname = \"{name}\"\ntype = \"shell\"\nscript = \"{name}.sh\"\n\
                 env = {{ {variables} }}\n"
            )
        });
        let path = self.dir.join("layers.toml");
        let text = ground.template_head("bench-layers", "1GiB") + &steps.collect::<String>();
        fs::write(&path, text)?;
        Ok(path)
    }
}
