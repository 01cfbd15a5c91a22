//! What a bootstrap would make right now, as one digest: of the package indices of every suite in use, as the
//! mirrors' Release files list them, and of what imgbake adds to the packages.
//!
//! A pin only names. Nothing here is proved: mmdebstrap checks every signature when it makes the disk,
//! and so a mirror that lies can have a disk made anew, and no other disk. Between asking and making a
//! mirror may move on: then the disk is newer than its pin, and the next build makes it once more.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use imgbake_build::{BuildError, Pin, PinMemory};
use imgbake_runtime::Job;
use imgbake_types::spec::BootstrapSpec;
use imgbake_types::{Arch, Digest};

use crate::address::Address;
use crate::error::BootstrapError;
use crate::packages::components;
use crate::release_file::{self, Limits};
use crate::sources::{Suite, suites};
use crate::{release, root};

/// Asks the mirrors that the build would use, all suites at the same time.
pub(crate) async fn pin(
    job: &Job,
    spec: &BootstrapSpec,
    arch: Arch,
    limits: Limits,
) -> Result<Pin, BuildError> {
    let list = root::sources_in_use(job, spec, arch).await?;
    let mut asked = Vec::new();
    for suite in suites(&list, spec) {
        let Some(mirror) = Address::parse(&suite.address) else {
            return Ok(Pin::Unknown("the mirror's password cannot be handed to apt".to_owned()));
        };
        if job.secrets().found_in(&mirror.shown) {
            let why = "the mirror's address holds a sensitive value outside its user and password";
            return Ok(Pin::Unknown(why.to_owned()));
        }
        asked.push((suite, mirror));
    }
    if asked.is_empty() {
        return Err(BootstrapError::NobodyToAsk(spec.suite.clone()).into());
    }
    let memory = PinMemory::new(job.home(), &identity(&asked, spec, arch));
    let answers = try_join_all(
        asked.iter().map(|(suite, mirror)| ask_suite(job, suite, mirror, (spec, arch), limits)),
    );
    let answer = answers.await.map(|suites| {
        // The same packages make another disk where imgbake adds something else.
        let made_of = [release::state(suites).hex(), root::SETUP, root::BOOTSTRAP].concat();
        Pin::Now(Digest::sha256(made_of).hex().to_owned())
    });
    memory.settle(job, answer.map_err(BuildError::from))
}

/// One suite's indices.
async fn ask_suite<'a>(
    job: &Job,
    suite: &'a Suite,
    mirror: &Address,
    (spec, arch): (&BootstrapSpec, Arch),
    limits: Limits,
) -> Result<(&'a str, BTreeSet<String>), BootstrapError> {
    let text = release_file::release(job, mirror, &suite.name, limits).await?;
    let components = components(spec);
    let components: Vec<&str> = components.split(',').collect();
    let indices = release::indices(&text, &components, arch.oci_name()).map_err(|why| {
        let of = format!("{}/dists/{}", mirror.shown, suite.name);
        BootstrapError::Release { of, why: why.to_string() }
    })?;
    Ok((&suite.name, indices))
}

/// What an answer is remembered under: whom was asked for what.
fn identity(asked: &[(Suite, Address)], spec: &BootstrapSpec, arch: Arch) -> String {
    let suites: Vec<String> =
        asked.iter().map(|(suite, mirror)| format!("{} {}", mirror.shown, suite.name)).collect();
    format!("bootstrap\n{}\n{}\n{}", suites.join("\n"), components(spec), arch.oci_name())
}

#[cfg(test)]
mod mirror;
#[cfg(test)]
mod tests;
