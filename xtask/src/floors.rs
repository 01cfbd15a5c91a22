//! The house's rule: a crate uses only the floors below it, and those of its own floor that are
//! named here. `docs/architecture.md` shows the same table.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::{Result, repository};

/// Crate, floor, and the crates of its own floor or above that it may use all the same.
const FLOORS: &[(&str, u8, &[&str])] = &[
    ("imgbake-types", 0, &[]),
    ("imgbake-template", 1, &[]),
    ("imgbake-plan", 1, &["imgbake-template"]),
    ("imgbake-runtime", 1, &[]),
    ("imgbake-disk", 1, &[]),
    ("imgbake-comm", 1, &["imgbake-runtime"]),
    ("imgbake-http", 1, &["imgbake-runtime"]),
    ("imgbake-oci", 1, &["imgbake-runtime", "imgbake-http", "imgbake-disk"]),
    ("imgbake-build", 2, &[]),
    ("imgbake-qemu", 3, &[]),
    ("imgbake-bootstrap", 3, &[]),
    ("imgbake-source", 3, &[]),
    ("imgbake-provision", 3, &[]),
    ("imgbake-seal", 3, &[]),
    ("imgbake-registry", 3, &[]),
    ("imgbake-bless", 3, &["imgbake-registry"]),
    ("imgbake-ui", 4, &[]),
    ("imgbake", 5, &[]),
    ("imgbake-testkit", 6, &[]),
    ("imgbake-tests", 6, &["imgbake-testkit"]),
    ("imgbake-fuzz", 6, &[]),
    ("xtask", 6, &[]),
];

/// Rooms that may use less than all that is below them.
const ONLY: &[(&str, &[&str])] = &[
    ("imgbake-ui", &["imgbake-types"]),
    ("imgbake-template", &["imgbake-types"]),
    ("imgbake-disk", &["imgbake-types"]),
];

/// Libraries that only one room may use.
const OWNED: &[(&str, &str)] = &[
    ("indicatif", "imgbake-ui"),
    ("russh", "imgbake-comm"),
    ("miette", "imgbake"),
    ("reqwest", "imgbake-http"),
];

/// Checks every crate's dependencies; development dependencies are free.
pub(crate) fn check() -> Result<()> {
    let metadata = MetadataCommand::new().no_deps().current_dir(repository::root()).exec()?;
    let floors: BTreeMap<&str, (u8, &[&str])> =
        FLOORS.iter().map(|(name, floor, also)| (*name, (*floor, *also))).collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some(&(floor, also)) = floors.get(name) else {
            wrong.push(format!("{name} has no floor: add it to xtask/src/floors.rs"));
            continue;
        };
        for dependency in
            package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development)
        {
            let used = dependency.name.as_str();
            if let Some((_, owner)) =
                OWNED.iter().find(|(library, owner)| *library == used && *owner != name)
            {
                wrong.push(format!("{name} uses {used}, which only {owner} may know"));
            }
            let Some(&(below, _)) = floors.get(used) else { continue };
            let allowed = below < floor || also.contains(&used);
            let narrow = ONLY.iter().find(|(room, _)| *room == name);
            if !allowed || narrow.is_some_and(|(_, list)| !list.contains(&used)) {
                wrong.push(format!("{name} (floor {floor}) must not use {used} (floor {below})"));
            }
        }
    }
    if wrong.is_empty() {
        println!("floors: {} crates, all in their places", metadata.packages.len());
        return Ok(());
    }
    Err(wrong.join("\n").into())
}
