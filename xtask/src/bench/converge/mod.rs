//! `cargo xtask bench converge`: what the proof that a step converges costs, against the tool's own second
//! run in the same build.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use imgbake_types::record::step::{Convergence, ProofPlace, ResourceCounts};
use serde::Deserialize;

use super::docs;
use super::docs::Section;
use super::ground::Ground;
use super::imgbake::Imgbake;
use super::options::Options;
use super::report::{Report, median};
use crate::Result;

/// What the guest has beside the base of the other benches: the tools, and what the configuration is of.
const PACKAGES: [&str; 6] =
    ["python3", "python3-apt", "puppet-agent", "nginx-light", "jq", "rsync"];

/// What is configured, three times over; `@REVISION@` stands for what makes a step run anew.
const FILES: [(&str, &str); 6] = [
    ("site.yml", include_str!("site.yml")),
    ("site.pp", include_str!("site.pp")),
    ("site.sh", include_str!("site.sh")),
    ("templates/app.conf.j2", include_str!("app.conf.j2")),
    ("templates/site.conf.j2", include_str!("site.conf.j2")),
    ("templates/app.service.j2", include_str!("app.service.j2")),
];

const ANSIBLE: &str = "type = \"ansible\"\nplaybook = \"site.yml\"\n";
const PUPPET: &str = "type = \"puppet\"\nmanifest = \"site.pp\"\n";
const SCRIPT: &str = "type = \"shell\"\nscript = \"site.sh\"\n";

const ABOUT: &str = "A company's web server on Debian 12: packages, users, folders, configuration, services, as an \
    Ansible playbook of 23 tasks, as a Puppet manifest of 25 resources, and as a shell script (qcow2, 2 GiB, TCG, \
    1 GiB, 2 processors). A template has the same playbook in two steps. One of them is to converge: its second run \
    is on a copy of the machine, made while the machine waits, and that whole proof (`proof_seconds`: copying, \
    running, ending the copy) is set against the other step, the tool's own second run in the machine itself \
    (`second_run_seconds`). Which of the two comes first changes from round to round. `copy_seconds` is the proof \
    less its run. `save_seconds` is how long the machine is held up before, while its layer is saved, of which the \
    copy is made: a step that is not to converge takes that too, and `proof_and_save_vs_second_run` counts it to the \
    proof nevertheless. Puppet's figures have its name. `check_…` is a step of the script with `converge = \
    \"check\"`, which compares all files, packages, units and users of two copies: `check_seconds` is its proof.";

pub(super) fn run(options: &Options) -> Result<()> {
    let ground = Ground::with(options, "base-converge", &PACKAGES)?;
    let mut work = Work {
        imgbake: ground.imgbake("converge/home", true)?,
        dir: ground.dir.join("converge"),
        ground: &ground,
        options,
        round: 0,
    };
    fs::create_dir_all(work.dir.join("templates"))?;
    let (mut ansible, mut puppet, mut checks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.runs() {
        work.next()?;
        ansible.push(work.tool("ansible", ANSIBLE)?);
        puppet.push(work.tool("puppet", PUPPET)?);
        checks.push(work.script()?);
    }
    let report = report(&ansible, &puppet, &checks);
    let section = Section {
        heading: "The proof that a step converges, against a second run",
        about: ABOUT,
        how_often: &format!("Medians of {} alternating runs", options.runs()),
        with: &[super::commands::version(Path::new("ansible-playbook"), "--version")?],
        tables: &report.table(),
    };
    docs::publish(options, &ground.binary, &report, &section)
}

/// What one build showed.
struct Proved {
    first_run: f64,
    second_run: f64,
    proof: f64,
    /// The proof's run alone.
    proof_run: f64,
    /// How long the machine was held up before the proof.
    save: f64,
}

fn report(ansible: &[Proved], puppet: &[Proved], checks: &[Proved]) -> Report {
    let mut report = Report::new("converge");
    for (prefix, all) in [("", ansible), ("puppet_", puppet)] {
        let of = |pick: fn(&Proved) -> f64| median(all.iter().map(pick));
        let mut figure = |name: &str, pick| report.figure(format!("{prefix}{name}"), of(pick));
        figure("first_run_seconds", |one| one.first_run);
        let second = figure("second_run_seconds", |one| one.second_run);
        let proof = figure("proof_seconds", |one| one.proof);
        figure("copy_seconds", |one| one.proof - one.proof_run);
        let save = figure("save_seconds", |one| one.save);
        report.ratio(format!("{prefix}proof_vs_second_run"), proof / second);
        report.ratio(format!("{prefix}proof_and_save_vs_second_run"), (proof + save) / second);
    }
    let of = |pick: fn(&Proved) -> f64| median(checks.iter().map(pick));
    report.figure("check_first_run_seconds", of(|one| one.first_run));
    report.figure("check_run_seconds", of(|one| one.proof_run));
    report.figure("check_seconds", of(|one| one.proof));
    report
}

/// Where the templates are, and which round it is.
struct Work<'a> {
    imgbake: Imgbake,
    dir: PathBuf,
    ground: &'a Ground,
    options: &'a Options,
    round: usize,
}

impl Work<'_> {
    /// Begins a round: every step is one that never ran.
    fn next(&mut self) -> Result<()> {
        self.round += 1;
        for (name, text) in FILES {
            let text = text.replace("@REVISION@", &self.round.to_string());
            fs::write(self.dir.join(name), text)?;
        }
        Ok(())
    }

    /// The same step twice, of which one is proved: the first in odd rounds, the second in even ones.
    fn tool(&self, name: &str, settings: &str) -> Result<Proved> {
        let (proved, plain) =
            if self.round % 2 == 1 { ("first", "second") } else { ("second", "first") };
        let steps = ["first", "second"].map(|step| {
            let converge = if step == proved { "once" } else { "off" };
            format!("[[provision]]\nname = \"{step}\"\nconverge = \"{converge}\"\n{settings}")
        });
        let built = self.converge(name, &steps.concat())?;
        let (first, second) = (built.step("first")?, built.step("second")?);
        let (proof, save) = built.proof(proved)?;
        let least = 20;
        for (what, counts) in [("second step", second.counts), ("second run", proof.counts)] {
            if counts.changed > 0 || counts.unchanged < least {
                return Err(format!("{name}: its {what} did something else: {counts}").into());
            }
        }
        if first.counts.changed < 10 || built.step(plain)?.convergence.is_some() {
            return Err(format!("{name}: the build is not the one that is meant").into());
        }
        let shown = Proved {
            first_run: first.seconds,
            second_run: second.seconds,
            proof: proof.seconds,
            proof_run: proof.run_seconds,
            save,
        };
        self.say(name, &shown);
        Ok(shown)
    }

    /// The script, compared before and after.
    fn script(&self) -> Result<Proved> {
        let step = format!("[[provision]]\nname = \"first\"\nconverge = \"check\"\n{SCRIPT}");
        let built = self.converge("script", &step)?;
        let (proof, save) = built.proof("first")?;
        let shown = Proved {
            first_run: built.step("first")?.seconds,
            second_run: 0.0,
            proof: proof.seconds,
            proof_run: proof.run_seconds,
            save,
        };
        self.say("script", &shown);
        Ok(shown)
    }

    fn say(&self, name: &str, shown: &Proved) {
        let Proved { first_run, second_run, proof, proof_run, save } = shown;
        self.options.say(&format!(
            "round {}, {name}: first run {first_run:.1} s, second {second_run:.1} s, save {save:.1} s, proof {proof:.1} s, \
             of which {proof_run:.1} s its run",
            self.round
        ));
    }

    fn converge(&self, name: &str, steps: &str) -> Result<Built> {
        let path = self.dir.join(format!("{name}.toml"));
        let mut text = self.ground.template_head(&format!("bench-converge-{name}"), "1GiB");
        text.write_str(steps)?;
        fs::write(&path, text)?;
        let (run, printed) = self.imgbake.converge(&path, "converge")?;
        let document: Document = serde_json::from_str(&printed)?;
        let steps = document.builds.into_iter().flat_map(|build| build.steps).collect();
        Ok(Built { name: name.to_owned(), steps, run })
    }
}

/// A build that proved something.
struct Built {
    name: String,
    steps: Vec<Step>,
    run: super::imgbake::Run,
}

impl Built {
    fn step(&self, name: &str) -> Result<&Step> {
        let found = self.steps.iter().find(|step| step.name == name && !step.cached);
        found.ok_or_else(|| format!("{}: the step `{name}` did not run", self.name).into())
    }

    /// The proof after a step, and how long the machine was held up before it.
    fn proof(&self, step: &str) -> Result<(&Convergence, f64)> {
        let proof = self.step(step)?.convergence.as_ref();
        let proof = proof.filter(|proof| proof.converged && proof.place == ProofPlace::Copy);
        let save = self.run.reported.pause_after(step);
        proof.zip(save).ok_or_else(|| {
            let complaints = self.run.reported.complaints.join("\n");
            format!("{}: `{step}` was not proved on a copy\n{complaints}", self.name).into()
        })
    }
}

/// What `imgbake converge --json` prints, as far as it matters here.
#[derive(Deserialize)]
struct Document {
    builds: Vec<Build>,
}

#[derive(Deserialize)]
struct Build {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    name: String,
    cached: bool,
    seconds: f64,
    counts: ResourceCounts,
    convergence: Option<Convergence>,
}
