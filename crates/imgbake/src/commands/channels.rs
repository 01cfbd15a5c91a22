//! `imgbake channels`: the rules of channels, and where the channels of an image are.

use imgbake_bless::ChannelRules;
use imgbake_bless::keys::PublicKey;
use imgbake_bless::trust::short;
use imgbake_build::{BuildError, Image};
use imgbake_runtime::{Job, Secrets};
use imgbake_types::record::{ChannelState, ListedVersion};
use imgbake_types::time::rough;
use imgbake_types::{ChannelName, Reference, Span};
use imgbake_ui::{Align, Cell, Table, Tone};
use serde::Serialize;

use crate::app::{App, conclude};
use crate::cli::{EventArgs, RemoteArgs};
use crate::failure::Failure;
use crate::images;

/// A channel as it is printed.
#[derive(Serialize)]
struct Channel {
    #[serde(rename = "channel")]
    name: ChannelName,
    rules: ShownRules,
    /// Where it is in the image that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<ChannelState>,
}

/// A channel's rules as they are printed; what is not limited is `null`.
#[derive(Serialize)]
struct ShownRules {
    from: Option<String>,
    requires: Vec<&'static str>,
    soak: Option<Span>,
    max_age: Option<Span>,
    max_growth: Option<String>,
    /// The keys that may move it; none where nobody named any.
    keys: Vec<String>,
}

impl ShownRules {
    fn of(rules: &ChannelRules, keys: &[PublicKey]) -> Self {
        let ChannelRules { from, soak, max_age, max_growth, requires } = rules;
        Self {
            from: from.as_ref().map(ToString::to_string),
            requires: requires.iter().map(|gate| gate.name()).collect(),
            soak: *soak,
            max_age: *max_age,
            max_growth: max_growth.map(|growth| growth.to_string()),
            keys: keys.iter().map(|key| key.id().to_string()).collect(),
        }
    }

    /// What a version must meet, in a line.
    fn line(&self) -> String {
        let time = |span: Span| rough(span.duration().as_secs_f64());
        let limits = [
            self.from.as_ref().map(|from| format!("from {from}")),
            self.soak.map(|soak| format!("there for {} or more", time(soak))),
            self.max_age.map(|age| format!("at most {} old", time(age))),
            self.max_growth.as_ref().map(|growth| format!("at most {growth} larger")),
        ];
        let gates = self.requires.iter().map(|gate| (*gate).to_owned());
        let keys: Vec<String> = self.keys.iter().map(|key| short(key)).collect();
        let keys = (!keys.is_empty()).then(|| format!("promoted by the key {}", keys.join(" or ")));
        gates.chain(limits.into_iter().flatten()).chain(keys).collect::<Vec<_>>().join(", ")
    }
}

/// Prints the rules; of an image, also where each channel is.
pub(super) async fn run(
    app: &App,
    reference: Option<&Reference>,
    remote: &RemoteArgs,
    json: bool,
) -> Result<(), Failure> {
    let rules = &app.config.channels;
    let names: Vec<ChannelName> = rules.in_order().into_iter().cloned().collect();
    let rules_of =
        |channel: &ChannelName| ShownRules::of(&rules.channel(channel), rules.keys(channel));
    let channels: Vec<Channel> = match reference {
        None => names
            .into_iter()
            .map(|channel| Channel { rules: rules_of(&channel), name: channel, state: None })
            .collect(),
        Some(reference) => {
            let (job, listener) =
                app.begin_quiet("channels", &EventArgs::default(), Secrets::default())?;
            let states = states(app, &job, reference, remote, names).await;
            let states = conclude(job, listener, states).await?;
            let channel =
                |(name, state)| Channel { rules: rules_of(&name), name, state: Some(state) };
            states.into_iter().map(channel).collect()
        }
    };
    if json {
        return app.print_json(&channels);
    }
    if channels.is_empty() {
        let whose =
            reference.map_or_else(String::new, |one| format!("{one} has no channels, and "));
        return app.print(&format!(
            "{whose}imgbake.toml has no [channels.NAME]: a channel takes each version that is verified\n"
        ));
    }
    app.print(&table(&channels, reference.is_some()).render(app.paint()))
}

/// Where the channels of an image are: those with rules in their order, then the others.
async fn states(
    app: &App,
    job: &Job,
    reference: &Reference,
    remote: &RemoteArgs,
    mut names: Vec<ChannelName>,
) -> Result<Vec<(ChannelName, ChannelState)>, Failure> {
    if reference.target.is_some() {
        return Err(Failure::usage(format!(
            "`{reference}` names a version or channel: give [HOST/]NAME, such as {}",
            reference.name
        )));
    }
    let image = images::image(job, &app.config, reference, remote).await?;
    let reading = read(&*image, &mut names);
    job.cancel().run(reading).await.map_err(BuildError::from)?
}

async fn read(
    image: &dyn Image,
    names: &mut Vec<ChannelName>,
) -> Result<Vec<(ChannelName, ChannelState)>, Failure> {
    let mut others = Vec::new();
    for version in image.versions().await? {
        let ListedVersion::Readable(version) = version else { continue };
        let channels = version.channels.iter().filter_map(|name| name.parse::<ChannelName>().ok());
        others.extend(channels.filter(|name| !names.contains(name)));
    }
    others.sort();
    names.extend(others);
    let mut states = Vec::new();
    for name in names.drain(..) {
        let state = image.state(&name).await?;
        states.push((name, state));
    }
    Ok(states)
}

fn table(channels: &[Channel], with_state: bool) -> Table {
    let mut columns = vec![("channel", Align::Left)];
    if with_state {
        columns.extend(["version", "digest", "moved (UTC)", "by"].map(|name| (name, Align::Left)));
    }
    columns.push(("takes a version that is", Align::Left));
    let mut table = Table::new(columns);
    for Channel { name, rules, state } in channels {
        let mut row = vec![Cell::toned(Tone::Strong, name.as_str())];
        if with_state {
            let target = state.as_ref().and_then(|state| state.target.as_ref());
            let head = state.as_ref().and_then(|state| state.head.as_ref());
            let moved = head.map(|head| {
                let time = head.entry.time.strftime("%Y-%m-%d %H:%M:%S").to_string();
                (time, head.entry.who.to_string())
            });
            let (time, who) = moved.unwrap_or_default();
            let version = target.map(|target| target.version.to_string());
            row.push(Cell::from(version.unwrap_or_else(|| "-".to_owned())));
            let digest = target.map(|target| target.digest.short().to_owned());
            row.push(Cell::toned(Tone::Dim, digest.unwrap_or_default()));
            row.extend([Cell::toned(Tone::Dim, time), Cell::from(who)]);
        }
        row.push(Cell::from(rules.line()));
        table.row(row);
    }
    table
}
