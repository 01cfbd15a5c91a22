//! What the fuzz targets see of this crate beside its public interface.

use imgbake_types::spec::{BootstrapSpec, Distribution};

use crate::address::Address;
use crate::{release, sources};

/// The lines of a Release file that decide which packages a suite has.
pub fn indices(text: &str) -> Option<Vec<String>> {
    let found = release::indices(text, &["main", "contrib"], "amd64").ok()?;
    Some(found.into_iter().collect())
}

/// The suites of a `sources.list`: each with its address as people see it, its name, and the line for
/// apt that holds its login.
pub fn suites(list: &str, spec: &BootstrapSpec) -> Vec<(String, String, Option<String>)> {
    let suites = sources::suites(list, spec).into_iter().filter_map(|suite| {
        let Address { shown, login } = Address::parse(&suite.address)?;
        let netrc = login.map(|login| login.netrc(&shown));
        Some((shown, suite.name, netrc))
    });
    suites.collect()
}

/// The mirror that apt's words name for the host's own.
pub fn host_mirror(targets: &str, distribution: Distribution) -> Option<String> {
    Some(sources::host_mirrors(targets, distribution)?.main)
}
