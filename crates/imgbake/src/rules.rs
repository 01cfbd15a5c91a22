//! The rules of channels in `imgbake.toml`: `[channels.NAME]`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_bless::keys::PublicKey;
use imgbake_bless::{ChannelRules, Required};
use imgbake_build::BuildError;
use imgbake_template::{Diagnostic, Diagnostics};
use imgbake_types::ChannelName;
use serde::Deserialize;
use toml::Spanned;

/// `[channels.NAME]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelTable {
    from: Option<Spanned<String>>,
    soak: Option<Spanned<String>>,
    max_age: Option<Spanned<String>>,
    max_growth: Option<Spanned<String>>,
    requires: Option<Vec<Spanned<String>>>,
    keys: Option<Spanned<Vec<Spanned<Utf8PathBuf>>>>,
}

/// Rules by channel, and the keys that may move them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    channels: BTreeMap<ChannelName, ChannelRules>,
    keys: BTreeMap<ChannelName, Vec<PublicKey>>,
}

impl Rules {
    /// Reads the tables of a file.
    ///
    /// # Errors
    /// Every mistake, each with its place.
    pub fn of(
        tables: &BTreeMap<Spanned<String>, ChannelTable>,
        path: &Utf8Path,
        text: &str,
    ) -> Result<Self, Diagnostics> {
        let mut reader = Reader::default();
        let (mut rules, mut keys) = (BTreeMap::new(), BTreeMap::new());
        let mut places = BTreeMap::new();
        for (name, table) in tables {
            let Some(channel) = reader.parsed::<ChannelName>("channel", name) else { continue };
            let read = reader.rules(&channel, table);
            if let Some(from) = &table.from {
                places.insert(channel.clone(), from.span());
            }
            if let Some(files) = &table.keys {
                keys.insert(channel.clone(), reader.keys(&channel, files, path));
            }
            rules.insert(channel, read);
        }
        reader.circles(&rules, &places);
        if reader.mistakes.is_empty() {
            Ok(Self { channels: rules, keys })
        } else {
            Err(Diagnostics::new(path, text, reader.mistakes))
        }
    }

    /// Those of a channel; of one without a table, the default.
    pub fn channel(&self, channel: &ChannelName) -> ChannelRules {
        self.channels.get(channel).cloned().unwrap_or_default()
    }

    /// The keys that may move a channel; none where nobody named any.
    pub fn keys(&self, channel: &ChannelName) -> &[PublicKey] {
        self.keys.get(channel).map(Vec::as_slice).unwrap_or_default()
    }

    /// The channels that have a table, each after the one that its versions come from.
    pub fn in_order(&self) -> Vec<&ChannelName> {
        let mut ordered: Vec<&ChannelName> = Vec::new();
        let mut rest: Vec<&ChannelName> = self.channels.keys().collect();
        while !rest.is_empty() {
            let (ready, later): (Vec<_>, Vec<_>) = rest.iter().partition(|channel| {
                let from = self.channels.get(**channel).and_then(|rules| rules.from.as_ref());
                from.is_none_or(|from| !rest.contains(&from))
            });
            // There are no circles.
            if ready.is_empty() {
                break;
            }
            ordered.extend(ready);
            rest = later;
        }
        ordered
    }
}

/// Reads tables and collects what is wrong.
#[derive(Default)]
struct Reader {
    mistakes: Vec<Diagnostic>,
}

impl Reader {
    fn rules(&mut self, channel: &ChannelName, table: &ChannelTable) -> ChannelRules {
        let mut rules = ChannelRules::default();
        if let Some(from) = &table.from {
            rules.from = self.parsed("channel", from);
        }
        rules.soak = table.soak.as_ref().and_then(|text| self.parsed("span", text));
        rules.max_age = table.max_age.as_ref().and_then(|text| self.parsed("span", text));
        rules.max_growth = table.max_growth.as_ref().and_then(|text| self.parsed("percent", text));
        if let (Some(soak), None) = (&table.soak, &table.from) {
            let help =
                "add `from = \"CHANNEL\"`: the channel that must have had the version so long";
            let message = format!("`soak` of {channel} has no channel to be measured in");
            self.add(soak.span(), message, Some(help.to_owned()));
        }
        if let Some(requires) = &table.requires {
            rules.requires = self.gates(requires);
        }
        rules
    }

    fn gates(&mut self, names: &[Spanned<String>]) -> Vec<Required> {
        let mut gates = Vec::new();
        for name in names {
            let found = Required::ALL.into_iter().find(|gate| gate.name() == name.as_ref());
            match found {
                Some(gate) if gates.contains(&gate) => {
                    let message = format!("the gate `{}` is named twice", name.as_ref());
                    self.add(name.span(), message, None);
                }
                Some(gate) => gates.push(gate),
                None => {
                    let all: Vec<&str> = Required::ALL.map(Required::name).to_vec();
                    let help = format!("the gates are {}", all.join(", "));
                    let message = format!("there is no gate `{}`", name.as_ref());
                    self.add(name.span(), message, Some(help));
                }
            }
        }
        gates
    }

    /// Public keys, from files beside the settings.
    fn keys(
        &mut self,
        channel: &ChannelName,
        files: &Spanned<Vec<Spanned<Utf8PathBuf>>>,
        settings: &Utf8Path,
    ) -> Vec<PublicKey> {
        if files.as_ref().is_empty() {
            // As no list at all, it would let anybody move the channel.
            let help = "name the file of a public key, or take `keys` out";
            self.add(
                files.span(),
                format!("`keys` of {channel} names no key"),
                Some(help.to_owned()),
            );
        }
        let dir = settings.parent().unwrap_or(Utf8Path::new(""));
        let mut keys = Vec::new();
        for file in files.as_ref() {
            let path = dir.join(file.as_ref());
            let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
            let parsed =
                read.and_then(|pem| pem.parse().map_err(|error: BuildError| error.to_string()));
            match parsed {
                Ok(key) => keys.push(key),
                Err(why) => {
                    let help =
                        "`imgbake keys generate FILE` makes a key, and FILE.pub is its public key";
                    let message = format!("the public key {path} cannot be read: {why}");
                    self.add(file.span(), message, Some(help.to_owned()));
                }
            }
        }
        keys
    }

    /// Versions that must come from where they are going would never come there.
    fn circles(
        &mut self,
        rules: &BTreeMap<ChannelName, ChannelRules>,
        places: &BTreeMap<ChannelName, Range<usize>>,
    ) {
        let from = |channel: &ChannelName| rules.get(channel).and_then(|rules| rules.from.as_ref());
        for (channel, place) in places {
            let mut seen = vec![channel];
            while let Some(next) = seen.last().and_then(|last| from(last)) {
                if next == channel {
                    let mut names: Vec<&str> = seen.iter().map(|name| name.as_str()).collect();
                    names.push(next.as_str());
                    let message = format!(
                        "no version can come to {channel}: it must come from {channel} itself"
                    );
                    let help = format!("the channels go in a circle: {}", names.join(" from "));
                    self.add(place.clone(), message, Some(help));
                }
                if seen.contains(&next) {
                    break;
                }
                seen.push(next);
            }
        }
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        code: &'static str,
        text: &Spanned<String>,
    ) -> Option<T> {
        match text.as_ref().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistakes.push(Diagnostic::new(code, text.span(), error.to_string()));
                None
            }
        }
    }

    fn add(&mut self, place: Range<usize>, message: String, help: Option<String>) {
        let mistake = Diagnostic::new("channel-rules", place, message);
        self.mistakes.push(mistake.maybe_help(help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        channels: BTreeMap<Spanned<String>, ChannelTable>,
    }

    fn rules(text: &str) -> Result<Rules, Diagnostics> {
        let file: File = toml::from_str(text).unwrap();
        Rules::of(&file.channels, Utf8Path::new("imgbake.toml"), text)
    }

    #[test]
    fn channels_are_listed_in_the_order_of_promotions() {
        let text = "[channels.prod]\nfrom = \"staging\"\nsoak = \"24h\"\nmax_age = \"30d\"\n\
            max_growth = \"10%\"\nrequires = [\"verified\", \"converged\", \"sealed\"]\n\
            [channels.dev]\n[channels.staging]\nfrom = \"dev\"\n[channels.alpha]\nfrom = \"lab\"\n";
        let rules = rules(text).unwrap();
        let names: Vec<&str> = rules.in_order().into_iter().map(ChannelName::as_str).collect();
        assert_eq!(names, ["alpha", "dev", "staging", "prod"]);
        let prod = rules.channel(&"prod".parse().unwrap());
        assert_eq!(prod.requires, Required::ALL);
        assert_eq!(prod.max_age.unwrap().duration().as_secs(), 30 * 86_400);
        let other = rules.channel(&"other".parse().unwrap());
        assert_eq!(other, ChannelRules::default());
        assert_eq!(rules.channel(&"dev".parse().unwrap()), other);
    }

    #[test]
    fn every_mistake_is_reported_with_its_place() {
        let text = "[channels.prod]\nfrom = \"staging\"\nmax_age = \"soon\"\nrequires = [\"verified\", \"verified\", \"tested\"]\n\
            [channels.staging]\nfrom = \"prod\"\nmax_growth = \"ten\"\n\
            [channels.dev]\nsoak = \"1h\"\nkeys = []\n[channels.\"dev.history\"]\nfrom = \"sha256-00\"\n\
            [channels.self]\nfrom = \"self\"\n";
        let mistakes = rules(text).unwrap_err();
        let found: Vec<String> = mistakes
            .items
            .iter()
            .map(|one| format!("{}: {}", &text[one.span().unwrap()], one.message))
            .collect();
        insta::assert_snapshot!(found.join("\n"));
    }
}
