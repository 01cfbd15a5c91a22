//! `[converge]`: the proof that one run of a step is enough.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a step is run a second time, to prove that one run is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Converge {
    /// It is run once more on a copy of the machine; what that run reports as changed fails the build.
    Once,
    /// It is run once more on a copy of the machine; what is not the same after that run as before it fails the build:
    /// files, packages, units, users and groups.
    Check,
    /// As `once`; besides, the step is run on a fresh machine, restored as it was before the step, with its resources in
    /// a random order: one that lacks a dependency fails there.
    Shuffle,
    /// It is not.
    Off,
}

/// `[converge]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConvergeSpec {
    /// Which steps are run again, and when. Default: `each`.
    #[serde(default)]
    pub steps: ConvergeSteps,
    /// Paths that `converge = "check"` leaves out; `*` stands for anything, `/` as well. `default` stands for
    /// the list that is used without it: caches, logs, temporary files, and what system services write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Vec<String>>,
}

/// Which steps are run again, and when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConvergeSteps {
    /// Each step that is to converge, after its own run.
    #[default]
    Each,
    /// All steps that report what they change, in order, after the last step: this finds two steps that change
    /// the same thing back and forth. A step that says `converge` itself is run again after its own run too.
    All,
}

/// What the fingerprint leaves out. It is what a machine writes by itself, or what is compared in another way.
const IGNORED: [&str; 21] = [
    "/dev/*",
    "/proc/*",
    "/run/*",
    "/sys/*",
    "/tmp/*",
    "/var/tmp/*",
    "/var/cache/*",
    "/root/.cache/*",
    "/home/*/.cache/*",
    "/var/log/*",
    "/var/lib/systemd/*",
    "/var/lib/apt/*",
    "/var/lib/dpkg/*",
    "/lib/apk/db/*",
    "/var/lib/rpm/*",
    "/var/lib/dhcp/*",
    "/var/lib/NetworkManager/*",
    "/var/lib/cloud/*",
    "/var/lib/chrony/*",
    "/var/lib/logrotate/*",
    "*/__pycache__/*",
];

impl ConvergeSpec {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The patterns of paths that a fingerprint leaves out.
    pub fn ignored(&self) -> Vec<&str> {
        let Some(own) = &self.ignore else { return IGNORED.to_vec() };
        own.iter()
            .flat_map(|pattern| match pattern.as_str() {
                "default" => IGNORED.to_vec(),
                pattern => vec![pattern],
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_list_may_hold_the_default_one() {
        let of = |list: Option<&[&str]>| ConvergeSpec {
            ignore: list.map(|list| list.iter().map(|one| (*one).to_owned()).collect()),
            ..ConvergeSpec::default()
        };
        assert_eq!(of(None).ignored(), IGNORED);
        assert_eq!(of(Some(&["/srv/*"])).ignored(), ["/srv/*"]);
        let more = of(Some(&["default", "/srv/*"]));
        assert_eq!(
            (more.ignored().len(), more.ignored().last()),
            (IGNORED.len() + 1, Some(&"/srv/*"))
        );
        assert!(of(Some(&[])).ignored().is_empty());
    }
}
