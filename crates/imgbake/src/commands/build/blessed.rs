//! `imgbake build --from-blessed CHANNEL`: can this template still update what is out there, and still build from
//! nothing, with the same result?

use std::fmt::Write as _;

use imgbake_build::stage;
use imgbake_types::record::step::Resource;
use imgbake_types::{ChannelName, Reference};
use imgbake_ui::{Align, Table, count};

use super::super::steps::Steps;
use crate::app::App;
use crate::cli::BuildArgs;
use crate::components;
use crate::failure::Failure;
use crate::layers;
use crate::load::Unit;

/// Differences that are printed of each image.
const SHOWN: usize = 200;

/// Compares what the units' steps make of the channel's image and of their own source, one unit after another.
pub(super) async fn run(
    app: &App,
    args: &BuildArgs,
    units: &[Unit],
    channel: &ChannelName,
) -> Result<(), Failure> {
    app.home.ensure()?;
    let components = components::wire(&app.wiring, &app.home)?;
    let layers = layers::open(app, components::shares(&app.config, args)?)?;
    let listener = app.listen(&args.events, app.config.progress)?;
    let steps =
        Steps { app, components: &components, layers: layers.as_ref(), listener: &listener };
    let mut all = Vec::new();
    for unit in units {
        let compared = Box::pin(compare(steps, unit, channel)).await;
        let failed = compared.is_err();
        all.push((unit, compared));
        if failed && (args.fail_fast || app.cancel.is_cancelled()) {
            break;
        }
    }
    let not_started = &units[all.len()..];
    let shown = listener.end().await;
    let mut text = String::new();
    let mut failure: Option<Failure> = None;
    for (unit, compared) in all {
        let name = &unit.image().name;
        let found = match compared {
            Ok(differences) if differences.is_empty() => {
                let _ = writeln!(
                    text,
                    "{name}: {name}:{channel} and the template's source end in the same state"
                );
                continue;
            }
            Ok(differences) => {
                text.push_str(&table(name, channel, &differences).render(app.paint()));
                if differences.len() > SHOWN {
                    let more = (differences.len() - SHOWN) as u64;
                    let _ = writeln!(text, "… and {}", count(more, "more difference"));
                }
                Failure::failed(format!(
                    "{name}: the steps do not make of {name}:{channel} what they make of the template's source: {}",
                    count(differences.len() as u64, "difference")
                ))
            }
            Err(error) => error.of(name),
        };
        match &mut failure {
            Some(first) => first.and(found),
            None => failure = Some(found),
        }
    }
    for unit in not_started {
        let _ = writeln!(text, "{}: not started", unit.image().name);
    }
    app.print(&text)?;
    failure.map_or(Ok(()), |failure| Err(failure.interrupted(app.cancel.is_cancelled())))?;
    shown
}

/// What is not the same.
async fn compare(
    steps: Steps<'_>,
    unit: &Unit,
    channel: &ChannelName,
) -> Result<Vec<Resource>, Failure> {
    let blessed = unit.on(&Reference::tag(&unit.image().name, channel.as_str()));
    let updated = steps.run("update", &blessed, stage::end_state).await.map_err(|(_, why)| why)?;
    let fresh = steps.run("build", unit, stage::end_state).await.map_err(|(_, why)| why)?;
    Ok(updated.differences(&fresh))
}

fn table(name: &str, channel: &ChannelName, differences: &[Resource]) -> Table {
    let title = format!("from {name}:{channel} → from the template's source");
    let mut table =
        Table::new([("type", Align::Left), ("name", Align::Left), (title.as_str(), Align::Left)]);
    for one in differences.iter().take(SHOWN) {
        let difference = one.message.clone().unwrap_or_default();
        table.row([one.kind.clone(), one.name.clone(), difference]);
    }
    table
}
