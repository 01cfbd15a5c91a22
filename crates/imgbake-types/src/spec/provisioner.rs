//! Kinds of provisioners, as templates name them.

use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::provision::ProvisionSpec;
use super::rules::Mistake;
use super::{Converge, pointer};

/// The settings of a kind of provisioner: its `[[provision]]` table beside the keys that every step has
/// (`type`, `name`, `cache`, `cache_key`, `inputs`, `converge`, `converge_seed`, `converge_allow`), and what imgbake must know of them to check and plan a step.
pub trait ProvisionerSettings: JsonSchema + Serialize + DeserializeOwned {
    /// The keys at and below which a sensitive variable may stand. Its marker comes to the provisioner,
    /// which reveals the value at the last moment, and puts it where neither logs nor other users of the
    /// machine see it.
    const SENSITIVE: &'static [&'static str] = &[];

    /// Whether each step reports which resources it changed: then a second run can be judged
    /// ([`ProvisionSpec::converge`]).
    const RESULTS: bool = false;

    /// Whether a step of which the template does not say is run a second time.
    const CONVERGE: Converge = Converge::Off;

    /// Whether it can run a step's resources in a random order ([`Converge::Shuffle`]).
    const SHUFFLES: bool = false;

    /// Checks what no schema can say. An expression whose value is not known yet is `null`.
    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let _ = settings;
        Vec::new()
    }

    /// The paths of the host among the settings.
    fn host_paths(&self) -> Vec<HostPath> {
        Vec::new()
    }

    /// Whether the step says that it restarts the machine.
    fn expects_restart(&self) -> bool {
        false
    }
}

/// A path of the host in a step's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPath {
    /// Where it stands: a JSON Pointer into the settings, such as `/script`.
    pub pointer: String,
    /// What the step does with it.
    pub access: HostAccess,
}

/// What a step does with a path of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostAccess {
    /// Reads a file or folder; a relative path starts at the template's folder. The step's key is made of
    /// the bytes and of the path as the template has it, and not of where that folder is.
    Read {
        /// Whether the file's permissions decide the step's result too.
        mode: bool,
    },
    /// Reads a file or folder as [`HostAccess::Read`] does, and with it what stands beside it under these
    /// names. What version control, Python and Ansible leave in folders is no part of them.
    ReadSources {
        /// Names beside it.
        beside: &'static [&'static str],
    },
    /// Writes a file or folder; a relative path starts at the working folder. No layer keeps what is
    /// written there: the step always runs, and so does all that follows it.
    Write,
}

impl HostPath {
    /// A file or folder that the step reads.
    pub fn read(pointer: &str) -> Self {
        Self { pointer: pointer.to_owned(), access: HostAccess::Read { mode: false } }
    }

    /// The same where its permissions decide the step's result too.
    pub fn read_with_mode(pointer: &str) -> Self {
        Self { pointer: pointer.to_owned(), access: HostAccess::Read { mode: true } }
    }

    /// A file or folder of source code that the step reads, with what stands beside it under these names.
    pub fn read_sources(pointer: &str, beside: &'static [&'static str]) -> Self {
        Self { pointer: pointer.to_owned(), access: HostAccess::ReadSources { beside } }
    }

    /// A file or folder that the step writes.
    pub fn write(pointer: &str) -> Self {
        Self { pointer: pointer.to_owned(), access: HostAccess::Write }
    }

    /// The setting as messages name it: `script`, `files[1]`.
    pub fn setting(&self) -> String {
        pointer::parts(&self.pointer).fold(String::new(), |mut text, part| {
            if part.bytes().all(|byte| byte.is_ascii_digit()) {
                text.extend(["[", &part, "]"]);
            } else {
                let dot = if text.is_empty() { "" } else { "." };
                text.extend([dot, &part]);
            }
            text
        })
    }
}

/// A step as its kind reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisionStep {
    /// The step with its kind's defaults filled in and its values in their plain form.
    pub spec: ProvisionSpec,
    /// The paths of the host among its settings.
    pub host_paths: Vec<HostPath>,
    /// Whether it says that it restarts the machine.
    pub expects_restart: bool,
}

impl ProvisionStep {
    /// The paths of the host that it writes.
    pub fn writes(&self) -> impl Iterator<Item = &HostPath> {
        self.host_paths.iter().filter(|path| path.access == HostAccess::Write)
    }
}

/// A kind of provisioner, as templates name it.
#[derive(Debug, Clone, Copy)]
pub struct ProvisionerKind {
    /// Its name: steps of `type = "NAME"` are its own.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// The keys at and below which a sensitive variable may stand.
    pub sensitive: &'static [&'static str],
    /// Whether its steps report which resources they changed.
    pub results: bool,
    /// Whether a step of which the template does not say is run a second time.
    pub converge: Converge,
    /// Whether it can run a step's resources in a random order.
    pub shuffles: bool,
    schema: fn(&mut SchemaGenerator) -> schemars::Schema,
    check: fn(&Map<String, Value>) -> Vec<Mistake>,
    resolve: fn(&ProvisionSpec) -> Result<ProvisionStep, serde_json::Error>,
}

impl ProvisionerKind {
    /// A kind whose settings are read as `T`.
    pub const fn of<T: ProvisionerSettings>(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            sensitive: T::SENSITIVE,
            results: T::RESULTS,
            converge: T::CONVERGE,
            shuffles: T::SHUFFLES,
            schema: T::json_schema,
            check: T::check,
            resolve: resolve::<T>,
        }
    }

    /// The schema of its settings; what it refers to goes into the generator's definitions.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> schemars::Schema {
        (self.schema)(generator)
    }

    /// What is wrong with a step's settings that no schema can say. An expression whose value is not
    /// known yet is `null`.
    pub fn check(&self, settings: &Map<String, Value>) -> Vec<Mistake> {
        (self.check)(settings)
    }

    /// A step as this kind reads it.
    ///
    /// # Errors
    /// Its settings are not as their schema wants them.
    pub fn resolve(&self, spec: &ProvisionSpec) -> Result<ProvisionStep, serde_json::Error> {
        (self.resolve)(spec)
    }
}

fn resolve<T: ProvisionerSettings>(
    spec: &ProvisionSpec,
) -> Result<ProvisionStep, serde_json::Error> {
    let settings: T = spec.read()?;
    let plain = ProvisionSpec::of(&spec.kind, &settings)?.settings;
    Ok(ProvisionStep {
        spec: ProvisionSpec { settings: plain, ..spec.clone() },
        host_paths: settings.host_paths(),
        expects_restart: settings.expects_restart(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_names() {
        for (pointer, name) in [
            ("/script", "script"),
            ("/files/1", "files[1]"),
            ("/vault/keys/0/path", "vault.keys[0].path"),
        ] {
            assert_eq!(HostPath::read(pointer).setting(), name);
        }
    }
}
