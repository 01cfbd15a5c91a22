//! `docs/adding-a-kind.md`: a kind of provisioner and a builder that no crate of imgbake knows, each wired
//! with one line, and driven by the program's own commands.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

mod motd;
mod shed;

use std::process::ExitCode;
use std::sync::Arc;

use camino::Utf8PathBuf;
use clap::Parser;
use imgbake::cli::Cli;
use imgbake::components::Wiring;
use imgbake_build::Registry;
use imgbake_registry::Layout;
use imgbake_template::{Variables, parse};
use imgbake_testkit::fake::{FakeBuilder, FakeWorld, Features};
use imgbake_types::record::VerifyStatus;

use motd::Motd;
use shed::Shed;

/// The released program with a kind of provisioner and a builder more.
fn wiring(machines: &FakeBuilder) -> Wiring {
    let mut wiring = Wiring::standard();
    wiring.provisioners.push(Arc::new(Motd));
    wiring.builders.push(Arc::new(Shed(machines.clone())));
    wiring
}

/// A program with a home of its own.
struct Program {
    world: FakeWorld,
    machines: FakeBuilder,
}

impl Program {
    fn new() -> Self {
        Self { world: FakeWorld::new(Features::NONE), machines: FakeBuilder::new(Features::NONE) }
    }

    /// Writes a template whose machine stands in a bay.
    fn template(&self, bay: u8, steps: &str) -> Utf8PathBuf {
        let dir = self.world.dir();
        let text = format!(
            "[image]\nname = \"web\"\n[source]\nurl = \"{dir}/base.raw\"\nchecksum = \"none\"\n\
             allow_unverified = true\n[builder.shed]\nbay = {bay}\nboot_timeout = \"20s\"\n{steps}"
        );
        let path = dir.join("web.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    async fn run(&self, args: &[&str]) -> ExitCode {
        let home = self.world.home.root().to_string();
        let all = ["imgbake", "--home", &home, "--progress", "quiet"];
        let cli = Cli::try_parse_from(all.iter().chain(args)).unwrap();
        imgbake::commands::run(cli, wiring(&self.machines)).await
    }

    /// What `validate` says of a template.
    async fn mistakes(&self, steps: &str) -> String {
        let path = self.template(0, steps);
        let mut args = vec!["validate", path.as_str()];
        let mut variables = Variables::new();
        if steps.contains("[variables.token]") {
            args.extend(["--var", "token=hunter2"]);
            variables.add_flag("token=hunter2").unwrap();
        }
        assert_eq!(self.run(&args).await, ExitCode::from(2), "{steps}");
        let text = std::fs::read_to_string(&path).unwrap();
        let schema = wiring(&self.machines).schema();
        let read = parse("web.toml".into(), &text, &schema);
        read.and_then(|template| template.resolve(&variables)).map(drop).unwrap_err().to_string()
    }

    async fn versions(&self) -> usize {
        let layout = Layout::open(self.world.home.registry()).unwrap();
        let versions = layout.versions(None).await.unwrap();
        let views = versions.iter().filter_map(|version| version.readable());
        views.filter(|view| view.verify.status == VerifyStatus::Passed).count()
    }
}

const STEPS: &str = "[[provision]]\ntype = \"motd\"\nfile = \"welcome\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn they_bake_an_image() {
    let program = Program::new();
    let welcome = program.world.dir().join("welcome");
    std::fs::write(&welcome, "hello\n").unwrap();
    let template = program.template(3, STEPS);
    for command in ["validate", "plan", "build"] {
        let ended = program.run(&[command, template.as_str()]).await;
        assert_eq!(ended, ExitCode::SUCCESS, "{command}");
    }
    let wrote = |text: &str| {
        let ran = program.machines.ran();
        ran.iter().filter(|line| line.contains("/etc/motd") && line.ends_with(text)).count()
    };
    assert_eq!((wrote("hello"), program.versions().await), (1, 1));

    // The file's bytes decide the step's key.
    assert_eq!(program.run(&["build", template.as_str()]).await, ExitCode::SUCCESS);
    assert_eq!((wrote("hello"), program.versions().await), (1, 1));
    std::fs::write(&welcome, "good evening\n").unwrap();
    assert_eq!(program.run(&["build", template.as_str()]).await, ExitCode::SUCCESS);
    assert_eq!((wrote("good evening"), program.versions().await), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_have_their_lines() {
    let program = Program::new();
    for (steps, expected) in [
        // What the rules of the kind say, the schema of its settings, and the plan.
        (
            "[[provision]]\ntype = \"motd\"\ntext = \"hi\"\nfile = \"welcome\"\n",
            &["web.toml:13:1", "`text` and `file` exclude each other"][..],
        ),
        (
            "[[provision]]\ntype = \"motd\"\n",
            &["web.toml:10:1", "this step needs `text` or `file`"],
        ),
        (
            "[[provision]]\ntype = \"motd\"\ntxet = \"hi\"\n",
            &["web.toml:12:1", "`txet`", "`text`?"],
        ),
        (
            "[[provision]]\ntype = \"modt\"\ntext = \"hi\"\n",
            &["web.toml:11:8", "did you mean `motd`?"],
        ),
        (
            "[[provision]]\ntype = \"motd\"\ntext = \"{{ var.token }}\"\n[variables.token]\nsensitive = true\n",
            &["web.toml:12:8", "`provision[0].text` cannot hold a sensitive variable"],
        ),
    ] {
        let shown = program.mistakes(steps).await;
        assert!(expected.iter().all(|words| shown.contains(words)), "{steps}: {shown}");
    }
    // The file that is not there is the plan's to say; the bay that is not there, the builder's.
    let template = program.template(3, STEPS);
    assert_eq!(program.run(&["validate", template.as_str()]).await, ExitCode::from(2));
    let template = program.template(9, "");
    assert_eq!(program.run(&["build", template.as_str()]).await, ExitCode::from(2));
}

/// Every piece of code in the walk-through is of this test.
#[test]
fn the_walk_through_is_this_code() {
    let page = include_str!("../../../../docs/adding-a-kind.md");
    let code = [include_str!("main.rs"), include_str!("motd.rs"), include_str!("shed.rs")];
    let mut pieces = 0;
    for piece in page.split("```rust\n").skip(1) {
        let piece = piece.split("```").next().unwrap();
        assert!(code.iter().any(|file| file.contains(piece)), "no test has this:\n{piece}");
        pieces += 1;
    }
    assert_eq!(pieces, 6);
}
