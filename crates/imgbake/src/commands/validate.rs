//! `imgbake validate`

use camino::Utf8PathBuf;

use crate::app::App;
use crate::cli::VariableArgs;
use crate::failure::Failure;
use crate::load;

/// Every error of every template at once.
pub(super) fn run(
    app: &App,
    templates: &[Utf8PathBuf],
    variables: &VariableArgs,
) -> Result<(), Failure> {
    let mut failed: Option<Failure> = None;
    for path in templates {
        match load::validate(app, path, variables) {
            Ok(plans) => {
                let steps = plans.first().map_or(0, |plan| plan.steps.len());
                let builds = match plans.len() {
                    1 => String::new(),
                    many => format!(", {many} builds"),
                };
                app.print(&format!("{path}: valid, {steps} steps{builds}\n"))?;
            }
            Err(failure) => match &mut failed {
                Some(all) => all.and(failure),
                none => *none = Some(failure),
            },
        }
    }
    failed.map_or(Ok(()), Err)
}
