//! Builds and what they leave.

use imgbake_build::BuildErrorKind;
use imgbake_build::stage::Failure;
use imgbake_testkit::fake::{FakeWorld, Features};

/// A build of two steps and a test.
pub(crate) const STEPS: &str = "\
[[provision]]
name = \"one\"
type = \"shell\"
inline = [\"first-step\"]
[[provision]]
name = \"two\"
type = \"shell\"
inline = [\"second-step\"]
[[test]]
name = \"serves\"
run = \"third-test\"
";

pub(crate) fn world() -> FakeWorld {
    FakeWorld::new(Features::ALL)
}

/// The kind of a failure, and its message, once its machine was ended.
pub(crate) async fn ended(failure: Failure) -> (BuildErrorKind, String) {
    for mut machine in failure.machines {
        machine.end().await;
    }
    (failure.error.kind(), failure.error.to_string())
}

/// Which of the steps ran, and which machines were started, in order.
pub(crate) fn ran(world: &FakeWorld) -> Vec<String> {
    let first_word = |line: &String| {
        let steps = ["first-step", "second-step", "third-test"];
        match steps.iter().find(|step| line.contains(*step)) {
            Some(step) => (*step).to_owned(),
            None => line.clone(),
        }
    };
    world.builder.ran().iter().map(first_word).collect()
}
