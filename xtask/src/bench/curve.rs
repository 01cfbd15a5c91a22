//! `cargo xtask bench layers-curve`: what layers cost, by the number of steps and by the guest's memory.
//!
//! No peer: nothing else here keeps layers. The steps are trivial, so that the layers are what is timed.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use imgbake_types::event::Stage;

use super::docs::Section;
use super::ground::Ground;
use super::imgbake::{Imgbake, Run};
use super::options::Options;
use super::report::{Report, median, mib};
use super::timeline::Saved;
use super::{docs, files};
use crate::Result;

const COUNTS: [usize; 5] = [1, 5, 10, 25, 50];
const MEMORIES: [usize; 4] = [512, 1024, 2048, 4096];

/// The memory of the guest whose steps are counted: small, so that 50 layers fit the cache's default.
const SMALL: usize = 512;

const ABOUT: &str = "Trivial steps on the Debian 12 base disk (qcow2, 2 GiB), TCG, 2 processors: what is \
    timed is layers. By steps: templates of 1 to 50 steps, a guest of 512 MiB; the seconds of a whole build \
    whose last step alone was changed, and what the changed step's layer takes. By memory: a template of one \
    step; how long saving one layer holds the machine up, how long a saved machine takes until it answers, \
    and what a layer's state takes.";

/// Where the curve's homes and templates are.
struct Curve<'a> {
    options: &'a Options,
    ground: &'a Ground,
    dir: PathBuf,
    /// Changes so far: no two are the same, so none is cached.
    changes: usize,
}

pub(super) fn run(options: &Options) -> Result<()> {
    let ground = Ground::new(options)?;
    let dir = ground.dir.join("curve");
    fs::create_dir_all(&dir)?;
    let mut report = Report::new("layers-curve");
    let mut curve = Curve { options, ground: &ground, dir, changes: 0 };
    for steps in COUNTS {
        curve.steps(&mut report, steps)?;
    }
    for memory in MEMORIES {
        curve.memory(&mut report, memory)?;
    }
    files::remove(&curve.dir)?;
    let seconds = |steps| report.value(&by_steps(steps, "last_step_seconds"));
    let ratio = seconds(COUNTS[COUNTS.len() - 1]) / seconds(COUNTS[0]);
    report.ratio("fifty_steps_vs_one", ratio);
    let section = Section {
        heading: "What layers cost",
        about: ABOUT,
        how_often: &format!("Medians of {} changes", options.runs()),
        with: &[],
        tables: &tables(&report),
    };
    docs::publish(options, &ground.binary, &report, &section)
}

impl Curve<'_> {
    /// Changes to the last of so many steps. The home is the same for all numbers: what a template has
    /// in common with a shorter one is cached.
    fn steps(&mut self, report: &mut Report, steps: usize) -> Result<()> {
        let imgbake = self.ground.imgbake("curve/steps", steps == COUNTS[0])?;
        imgbake.build(&self.template("steps", SMALL, steps, None)?, "first", &[])?;
        let runs = self.changed(&imgbake, "steps", SMALL, steps)?;
        let seconds = report
            .figure(by_steps(steps, "last_step_seconds"), median(runs.iter().map(|run| run.wall)));
        report.figure(by_steps(steps, "layer_disk_mib"), bytes(&runs, |layer| layer.disk));
        report.figure(by_steps(steps, "layer_state_mib"), bytes(&runs, |layer| layer.state));
        self.options.say(&format!("{steps} steps: a change of the last takes {seconds:.1} s"));
        if steps == COUNTS[COUNTS.len() - 1] {
            files::remove(&imgbake.home)?;
        }
        Ok(())
    }

    /// Saves and restores of a guest with so much memory, in MiB.
    fn memory(&mut self, report: &mut Report, memory: usize) -> Result<()> {
        let imgbake = self.ground.imgbake("curve/memory", true)?;
        imgbake.build(&self.template("memory", memory, 1, None)?, "first", &[])?;
        let runs = self.changed(&imgbake, "memory", memory, 1)?;
        let save = median(runs.iter().flat_map(|run| run.reported.saves()));
        let restore = median(runs.iter().map(|run| run.reported.of(Stage::Restore)));
        report.figure(by_memory(memory, "save_seconds"), save);
        report.figure(by_memory(memory, "restore_seconds"), restore);
        report.figure(by_memory(memory, "layer_state_mib"), bytes(&runs, |layer| layer.state));
        self.options
            .say(&format!("{memory} MiB: a save takes {save:.1} s, a restore {restore:.1} s"));
        files::remove(&imgbake.home)
    }

    /// Builds with the last step changed, each time to something new.
    fn changed(
        &mut self,
        imgbake: &Imgbake,
        name: &str,
        memory: usize,
        steps: usize,
    ) -> Result<Vec<Run>> {
        (0..self.options.runs())
            .map(|_| {
                self.changes += 1;
                let template = self.template(name, memory, steps, Some(self.changes))?;
                let run = imgbake.build(&template, "changed", &[])?;
                run.reported.expect_warm(1)?;
                Ok(run)
            })
            .collect()
    }

    fn template(
        &self,
        name: &str,
        memory: usize,
        steps: usize,
        change: Option<usize>,
    ) -> Result<PathBuf> {
        let path = self.dir.join(format!("{name}.toml"));
        let mut text = self.ground.template_head(&format!("bench-{name}"), &format!("{memory}MiB"));
        for step in 1..=steps {
            let change =
                change.filter(|_| step == steps).map_or(String::new(), |n| format!(" {n}"));
            write!(
                text,
                "[[provision]]\nname = \"step-{step}\"\ntype = \"shell\"\n\
                 inline = [\"echo {step}{change} > /etc/step-{step}\"]\n"
            )?;
        }
        fs::write(&path, text)?;
        Ok(path)
    }
}

fn by_steps(steps: usize, what: &str) -> String {
    format!("steps_{steps:02}_{what}")
}

fn by_memory(memory: usize, what: &str) -> String {
    format!("memory_{memory:04}_{what}")
}

/// MiB of a layer that a change saved.
fn bytes(runs: &[Run], pick: fn(&Saved) -> u64) -> f64 {
    median(runs.iter().flat_map(|run| &run.reported.saved).map(|layer| mib(pick(layer))))
}

fn tables(report: &Report) -> String {
    let cells = |name: fn(usize, &str) -> String, at: usize, columns: &[&str]| {
        let cells = columns.iter().map(|what| format!(" {:.2} |", report.value(&name(at, what))));
        format!("| {at} |{}\n", cells.collect::<String>())
    };
    let steps = ["last_step_seconds", "layer_disk_mib", "layer_state_mib"];
    let memory = ["save_seconds", "restore_seconds", "layer_state_mib"];
    format!(
        "| steps | change of the last, seconds | disk per layer, MiB | state per layer, MiB |\n\
         | --- | --- | --- | --- |\n{}\n\
         | memory, MiB | save, seconds | restore, seconds | state per layer, MiB |\n\
         | --- | --- | --- | --- |\n{}",
        COUNTS.map(|at| cells(by_steps, at, &steps)).concat(),
        MEMORIES.map(|at| cells(by_memory, at, &memory)).concat(),
    )
}
