//! The program's own commands with a second builder: a machine in memory.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use std::process::ExitCode;
use std::sync::Arc;

use camino::Utf8PathBuf;
use clap::Parser;
use imgbake::cli::Cli;
use imgbake::components::Wiring;
use imgbake_build::Registry;
use imgbake_registry::Layout;
use imgbake_testkit::fake::{Answer, Effect, FakeBuilder, FakeWorld, Features};
use imgbake_types::record::{VerifyStatus, VersionView};

/// A program with the fake builder beside the released ones.
struct Program {
    world: FakeWorld,
    builder: FakeBuilder,
}

impl Program {
    fn new() -> Self {
        Self { world: FakeWorld::new(Features::ALL), builder: FakeBuilder::new(Features::ALL) }
    }

    fn template(&self, rest: &str) -> Utf8PathBuf {
        let path = self.world.dir().join("web.toml");
        std::fs::write(&path, self.world.template(rest)).unwrap();
        path
    }

    /// Runs a command; gives whether it exited with a code.
    async fn run(&self, args: &[&str]) -> ExitCode {
        let home = self.world.home.root().to_string();
        let all = ["imgbake", "--home", &home, "--progress", "quiet"];
        let cli = Cli::try_parse_from(all.iter().chain(args)).unwrap();
        let mut wiring = Wiring::standard();
        wiring.builders.push(Arc::new(self.builder.clone()));
        imgbake::commands::run(cli, wiring).await
    }

    async fn versions(&self) -> Vec<VersionView> {
        let layout = Layout::open(self.world.home.registry()).unwrap();
        let versions = layout.versions(None).await.unwrap();
        versions.iter().filter_map(|version| version.readable().cloned()).collect()
    }
}

const STEPS: &str = "[[provision]]\nname = \"one\"\ntype = \"shell\"\ninline = [\"first-step\"]\n\
    [[test]]\nname = \"serves\"\nrun = \"second-test\"\n[verify]\nclones = 2\n[publish]\nchannel = \"dev\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_second_builder_bakes_publishes_and_verifies() {
    let program = Program::new();
    let template = program.template(STEPS);
    assert_eq!(program.run(&["validate", template.as_str()]).await, ExitCode::SUCCESS);
    assert_eq!(program.run(&["build", template.as_str()]).await, ExitCode::SUCCESS);
    let versions = program.versions().await;
    assert_eq!(versions.len(), 1);
    let version = &versions[0];
    assert_eq!(version.verify.status, VerifyStatus::Passed, "{:?}", version.verify.tests);
    assert_eq!(version.channels, ["dev"]);
    assert_eq!(version.proof.machine.builder, "fake");
    let ran = program.builder.ran().join("\n");
    for word in ["boot build", "first-step", "boot verify-1", "boot verify-2", "second-test"] {
        assert!(ran.contains(word), "{word}: {ran}");
    }
    assert_eq!(program.builder.running(), 0);

    // The same plan again is the same version; the version can be tested again.
    assert_eq!(program.run(&["build", template.as_str()]).await, ExitCode::SUCCESS);
    assert_eq!(program.versions().await.len(), 1);
    assert_eq!(program.run(&["test", "web:dev"]).await, ExitCode::SUCCESS);
    program.builder.on("second-test", Answer::fails(1, "no"));
    assert_eq!(program.run(&["test", "web:dev"]).await, ExitCode::from(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_machine_falls_fails_and_leaves_nothing() {
    let program = Program::new();
    let template = program.template(STEPS);
    program.builder.on("first-step", Answer::then(Effect::Panic));
    assert_eq!(program.run(&["build", template.as_str()]).await, ExitCode::from(1));
    assert!(program.versions().await.is_empty());
    assert_eq!(program.builder.running(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_has_one_builder_that_the_program_knows() {
    let program = Program::new();
    for more in ["[builder.qemu]\n", "[builder.moon]\n", "[builder.fake]\nstuff = \"lead\"\n"] {
        let text = if more.starts_with("[builder.fake]") {
            program.world.template("stuff = \"lead\"\n")
        } else {
            program.world.template(more)
        };
        let path = program.world.dir().join("bad.toml");
        std::fs::write(&path, text).unwrap();
        assert_eq!(program.run(&["validate", path.as_str()]).await, ExitCode::from(2), "{more}");
    }
}
