//! Why a key is not what it was, in words.

use std::collections::{BTreeMap, BTreeSet};

use imgbake_types::{Plan, Step};

use crate::key::{ASKED, FILE, MODE, PIN, SECRET, TOOL};

/// The first input by which a step differs from the same step of another plan, in words; `None` if
/// they have the same inputs: then their keys differ only if their parents' do.
///
/// Imgbake itself comes first, since its version changes every step; then files, settings and
/// sensitive values; what the source means now comes last, since a changed setting changes it too.
pub fn difference(now: &Step, before: &Step) -> Option<String> {
    let names: BTreeSet<&String> = now.inputs.keys().chain(before.inputs.keys()).collect();
    names
        .into_iter()
        .filter(|name| now.inputs.get(*name) != before.inputs.get(*name))
        .min_by_key(|name| rank(name))
        .map(|name| words(name, before.inputs.contains_key(name), now.inputs.contains_key(name)))
}

/// For each step whose key is not that of the other plan's step of the same name: why, in words.
pub fn differences(now: &Plan, before: &Plan) -> BTreeMap<String, String> {
    let old = |name: &str| before.steps.iter().find(|step| step.name == name);
    let mut found = BTreeMap::new();
    for step in &now.steps {
        let why = match old(&step.name) {
            None => "it is new".to_owned(),
            Some(old) if old.key == step.key => continue,
            Some(old) => {
                difference(step, old).unwrap_or_else(|| "a step before it changed".to_owned())
            }
        };
        found.insert(step.name.clone(), why);
    }
    found
}

fn rank(name: &str) -> u8 {
    match name {
        TOOL => 0,
        name if name.starts_with(FILE) || name.starts_with(MODE) => 1,
        name if name.starts_with(ASKED) || name.starts_with(SECRET) => 3,
        PIN => 4,
        _ => 2,
    }
}

fn words(name: &str, was: bool, is: bool) -> String {
    match (name, was, is) {
        (TOOL, ..) => "imgbake is another version".to_owned(),
        (PIN, ..) => "the source itself changed since".to_owned(),
        (name, false, _) => format!("{name} added"),
        (name, _, false) => format!("{name} removed"),
        (name, true, true) => format!("{name} changed"),
    }
}
