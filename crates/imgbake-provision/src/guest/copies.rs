//! Which paths of the machine are copies of which of the host.

use camino::Utf8PathBuf;
use imgbake_types::record::step::Resource;

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
        self.0.iter().fold(text.to_owned(), |text, (machine, host)| {
            text.replace(machine.as_str(), host.as_str())
        })
    }

    /// A resource as declared by files of the host.
    pub(crate) fn resource(&self, mut resource: Resource) -> Resource {
        let Resource { file, message, .. } = &mut resource;
        for text in file.iter_mut().chain(message) {
            *text = self.text(text);
        }
        resource
    }
}
