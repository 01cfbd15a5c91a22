//! Runs a chef step.

use async_trait::async_trait;
use imgbake_build::{BuildError, Provisioner, StepContext, StepEnd};
use imgbake_comm::shell::quote;
use imgbake_types::spec::ProvisionerKind;

use super::files::stage;
use super::spec::{ChefSpec, DRY};
use crate::error::StepError;
use crate::guest::install::{self, Tool};
use crate::guest::{Copies, Ended, Folder, Program, Results};

/// What the script says where there is no Chef.
const MISSING: &str = "missing";
/// Chef as `install` brings it: no distribution has a package of it, so that the template names packages and where
/// they are from.
const TOOL: Tool = Tool {
    name: "chef",
    program: "chef-client",
    folders: &["/opt/chef/bin", "/opt/cinc/bin"],
    apt: &[],
    apk: &[],
    pip: &[],
};
/// The clients, in the order in which they are looked for.
const CLIENTS: [&str; 2] = ["chef-client", "cinc-client"];

/// Runs chef steps.
#[derive(Debug, Clone, Copy)]
pub struct Chef;

impl Chef {
    /// The kind: `type = "chef"`.
    pub const KIND: ProvisionerKind = ProvisionerKind::of::<ChefSpec>(
        "chef",
        "Runs Chef cookbooks in the machine, in local mode.",
    );
}

#[async_trait]
impl Provisioner for Chef {
    fn kind(&self) -> ProvisionerKind {
        Self::KIND
    }

    async fn provision(&self, context: &StepContext<'_>) -> Result<StepEnd, BuildError> {
        let spec: ChefSpec = context.settings()?;
        let ran = run(context, &spec).await;
        ran.map(|()| StepEnd::Running).map_err(|error| error.of(context.name))
    }
}

async fn run(context: &StepContext<'_>, spec: &ChefSpec) -> Result<(), StepError> {
    DRY.check(&spec.args)?;
    install::if_wanted(context, &TOOL, spec.install.as_ref(), &spec.env).await?;
    let folder = Folder::make(context).await?;
    let ran = run_in(context, spec, &folder).await;
    let removed = folder.remove().await;
    ran.and(removed)
}

async fn run_in(
    context: &StepContext<'_>,
    spec: &ChefSpec,
    folder: &Folder<'_>,
) -> Result<(), StepError> {
    let copies = stage(spec, folder).await?;
    let program =
        Program { script: script(spec, folder), env: spec.env.clone(), timeout: spec.timeout() };
    let (mut results, mut is_missing) = (Results::default(), false);
    let mut take = |line: &str| match line {
        MISSING => is_missing = true,
        _ => results.take(line, context.recorder, |resource| copies.resource(resource)),
    };
    let ended = program.run(context, &mut take).await?;
    if is_missing {
        let what = format!(
            "Chef is not in the machine (`{}`): install Chef Infra Client or Cinc Client in a step before this one, \
             or give its path in `chef_bin`",
            clients(spec).join("`, `")
        );
        return Err(StepError::Usage(what));
    }
    judge(context, &ended, &results, &copies)
}

/// What the results and the exit code say together (Chef, "Exit codes": 0 all went well; 35, 37 and 41 are of
/// restarts, 42 of an audit).
fn judge(
    context: &StepContext<'_>,
    ended: &Ended,
    results: &Results,
    copies: &Copies,
) -> Result<(), StepError> {
    let error = match (&ended.exit, &results.failed) {
        (Err(how), _) => ended.error(how),
        (Ok(0), _) => match results.success(context.recorder) {
            None => return Ok(()),
            Some(why) => ended.error(&format!("what it did is unknown: {why}")),
        },
        (Ok(_), Some(resource)) => return Err(StepError::Resource(resource.clone())),
        (Ok(35 | 37 | 41), None) => ended.error(
            "Chef asks for a restart of the machine: restart it in a step of `type = \"shell\"` with `reboot`",
        ),
        (Ok(code), None) => ended.error(&format!("Chef failed with exit code {code}")),
    };
    Err(match error {
        StepError::Command { how, tries, output } => {
            StepError::Command { how, tries, output: copies.text(&output) }
        }
        other => other,
    })
}

fn clients(spec: &ChefSpec) -> Vec<&str> {
    spec.chef_bin.as_deref().map_or_else(|| CLIENTS.to_vec(), |given| vec![given])
}

fn script(spec: &ChefSpec, folder: &Folder<'_>) -> String {
    let words = ["--local-mode", "--no-color", "--config"].map(str::to_owned).into_iter();
    let words = words
        .chain([folder.path("client.rb"), "--json-attributes".to_owned()])
        .chain([folder.path("attributes.json")])
        .chain(spec.args.iter().cloned());
    let words: Vec<String> = words.map(|word| quote(&word)).collect();
    let clients: Vec<String> = clients(spec).into_iter().map(quote).collect();
    format!(
        "client=\n\
         for one in {clients}; do if command -v \"$one\" >/dev/null 2>&1; then client=$one; break; fi; done\n\
         [ -n \"$client\" ] || {{ echo \"${{mark}}{MISSING}\"; exit 127; }}\n\
         code=0; \"$client\" {words} || code=$?\n\
         [ ! -f {results} ] || sed \"s/^/$mark/\" {results}\n\
         exit $code\n",
        clients = clients.join(" "),
        words = words.join(" "),
        results = quote(&folder.path("results")),
    )
}
