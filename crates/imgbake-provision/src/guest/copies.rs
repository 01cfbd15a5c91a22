//! Which paths of the machine are copies of which of the host.

use camino::Utf8PathBuf;
use imgbake_types::record::step::Resource;

use crate::error::StepError;

/// Pairs of a path in the machine and the one of the host that it is a copy of.
#[derive(Debug, Default)]
pub(crate) struct Copies(Vec<(String, Utf8PathBuf)>);

impl Copies {
    /// Adds a pair.
    pub(crate) fn add(&mut self, machine: String, host: impl Into<Utf8PathBuf>) {
        self.0.push((machine, host.into()));
        // The longer path says more.
        self.0.sort_by_key(|(machine, _)| std::cmp::Reverse(machine.len()));
    }

    /// A text with the host's paths for the machine's.
    pub(crate) fn text(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (machine, host)| replace(&text, machine, host.as_str()))
    }

    /// A resource as declared by files of the host.
    pub(crate) fn resource(&self, mut resource: Resource) -> Resource {
        resource.texts().for_each(|text| *text = self.text(text));
        resource
    }

    /// An error of a program with the host's paths in what it printed.
    pub(crate) fn error(&self, error: StepError) -> StepError {
        match error {
            StepError::Command { how, tries, output } => {
                StepError::Command { how: self.text(&how), tries, output: self.text(&output) }
            }
            other => other,
        }
    }
}

/// Replaces a path, and the path where it begins another one, but not where a longer name begins with it.
fn replace(text: &str, path: &str, by: &str) -> String {
    let mut parts = text.split(path);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_longer =
            part.starts_with(|next: char| next.is_alphanumeric() || "-_.".contains(next));
        out.push_str(if is_longer { path } else { by });
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use imgbake_types::record::step::ResourceOutcome;

    use super::*;

    #[test]
    fn every_text_of_a_resource_has_the_paths_of_the_host() {
        let mut copies = Copies::default();
        copies.add("/run/x/states".to_owned(), "/home/me/states");
        let mut resource = Resource::new("file", "/run/x/states/a", ResourceOutcome::Failed);
        resource.file = Some("/run/x/states/init.sls".to_owned());
        resource.message = Some("in /run/x/states: no".to_owned());
        resource.diff = Some("--- /run/x/states/a".to_owned());
        let mut placed = copies.resource(resource);
        let all: Vec<String> = placed.texts().map(|text| text.clone()).collect();
        let expected =
            ["/home/me/states/a", "file", "/home/me/states/init.sls", "in /home/me/states: no"];
        assert_eq!(all[..4], expected);
        assert_eq!(all[4], "--- /home/me/states/a");
    }

    #[test]
    fn names_are_those_of_the_host() {
        let mut copies = Copies::default();
        copies.add("/run/x/manifest/a b.pp".to_owned(), "/home/me/a b.pp");
        copies.add("/run/x/modules/1".to_owned(), "/home/me/modules");
        for (text, expected) in [
            ("", ""),
            ("(file: /run/x/manifest/a b.pp, line: 2)", "(file: /home/me/a b.pp, line: 2)"),
            ("/run/x/manifest/a b.pp:2", "/home/me/a b.pp:2"),
            ("/run/x/modules/1/a/init.pp", "/home/me/modules/a/init.pp"),
            (
                "/run/x/modules/10/a and /run/x/modules/1",
                "/run/x/modules/10/a and /home/me/modules",
            ),
        ] {
            assert_eq!(copies.text(text), expected, "{text}");
        }
    }
}
