//! A plan: a template with its variables filled in, as an ordered list of steps with a key each.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::spec::{
    BootstrapSpec, CacheSpec, ConvergeSpec, ImageSpec, ProvisionSpec, PublishSpec, SealSpec,
    SshSpec, TestSpec, VerifySpec,
};
use crate::{Digest, MachineSpec, Reference};

/// What a build will do. Sensitive values are markers (see [`crate::secret`]); relative paths of the
/// template are absolute here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The template's path as given.
    pub template: Utf8PathBuf,
    /// `[image]`
    pub image: ImageSpec,
    /// The machine, and which builder makes it.
    pub machine: MachineSpec,
    /// `[ssh]`
    pub ssh: SshSpec,
    /// `[cache]`
    #[serde(default)]
    pub cache: CacheSpec,
    /// `[converge]`
    #[serde(default, skip_serializing_if = "ConvergeSpec::is_default")]
    pub converge: ConvergeSpec,
    /// The steps, in order: one source, one boot, any number of provisions, one each of seal, capture,
    /// publish and verify.
    pub steps: Vec<Step>,
    /// The key of the last step: the plan's own digest.
    pub digest: Digest,
    /// The names of the sensitive variables that the steps refer to.
    pub secrets: Vec<String>,
}

/// One unit of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The step's name, unique in its plan.
    pub name: String,
    /// Digest of all that decides the step's result: the parent's key, the step's own settings, the
    /// bytes of every file it reads.
    pub key: Digest,
    /// What the step does.
    pub kind: StepKind,
    /// The host's files that it reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileInput>,
    /// What the key is made of beside the parent's key: each input by the name that a person knows it
    /// by (`env.LISTEN`, `file files/nginx.conf`, `sensitive variable token`), with its digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Digest>,
    /// The names of the sensitive variables that it refers to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Whether its key decides its result: not where the step says `cache = false`, nor where what it
    /// reads has no digest.
    pub cache: bool,
}

/// A file of the host that a step reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInput {
    /// Its absolute path.
    pub path: Utf8PathBuf,
    /// The digest of its bytes; for a folder, of its files' names, modes and bytes.
    pub digest: Digest,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum StepKind {
    /// Gets the disk that the machine starts from.
    Source {
        /// Where it comes from.
        source: Source,
    },
    /// Starts a machine from that disk.
    Boot,
    /// Changes the machine.
    Provision {
        /// How.
        provision: ProvisionSpec,
    },
    /// Takes identity and secrets out of it.
    Seal {
        /// How.
        seal: SealSpec,
    },
    /// Reads its disk.
    Capture,
    /// Names the captured image.
    Publish {
        /// How.
        publish: PublishSpec,
    },
    /// Boots the published image and runs its tests.
    Verify {
        /// How.
        verify: VerifySpec,
        /// The template's tests, each with its name.
        tests: Vec<TestSpec>,
    },
}

/// Where a machine's disk comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub enum Source {
    /// A distribution's packages.
    Bootstrap(BootstrapSpec),
    /// A URL or file.
    Url(UrlSource),
    /// A version in the registry.
    Image {
        /// Which.
        reference: Reference,
    },
}

/// A disk image at a URL or path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlSource {
    /// An http(s) URL, or an absolute path.
    pub location: String,
    /// How its bytes are proved.
    pub checksum: Checksum,
    /// Request headers.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub headers: std::collections::BTreeMap<String, String>,
}

/// How a downloaded disk's bytes are proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum Checksum {
    /// A digest in the template.
    Digest {
        /// It.
        digest: Digest,
    },
    /// A `SHA256SUMS` or `SHA512SUMS` file, by URL or absolute path.
    Sums {
        /// Where it is.
        location: String,
    },
    /// Not at all: the template allowed it.
    Unverified,
}

impl Plan {
    /// The source step.
    pub fn source(&self) -> Option<(&Step, &Source)> {
        self.steps.iter().find_map(|step| match &step.kind {
            StepKind::Source { source } => Some((step, source)),
            _ => None,
        })
    }

    /// The provision steps, in order.
    pub fn provisions(&self) -> impl Iterator<Item = (&Step, &ProvisionSpec)> {
        self.steps.iter().filter_map(|step| match &step.kind {
            StepKind::Provision { provision } => Some((step, provision)),
            _ => None,
        })
    }

    /// The steps whose results are layers: source, boot and provisions, in order.
    pub fn layers(&self) -> &[Step] {
        let layer = |step: &Step| {
            matches!(
                step.kind,
                StepKind::Source { .. } | StepKind::Boot | StepKind::Provision { .. }
            )
        };
        let end = self.steps.iter().position(|step| !layer(step)).unwrap_or(self.steps.len());
        &self.steps[..end]
    }

    /// `[seal]`
    pub fn seal(&self) -> SealSpec {
        self.find(|kind| match kind {
            StepKind::Seal { seal } => Some(seal.clone()),
            _ => None,
        })
    }

    /// `[publish]`
    pub fn publish(&self) -> PublishSpec {
        self.find(|kind| match kind {
            StepKind::Publish { publish } => Some(publish.clone()),
            _ => None,
        })
    }

    /// `[verify]` and `[[test]]`.
    pub fn verify(&self) -> (VerifySpec, Vec<TestSpec>) {
        self.find(|kind| match kind {
            StepKind::Verify { verify, tests } => Some((verify.clone(), tests.clone())),
            _ => None,
        })
    }

    fn find<T: Default>(&self, pick: impl Fn(&StepKind) -> Option<T>) -> T {
        self.steps.iter().find_map(|step| pick(&step.kind)).unwrap_or_default()
    }
}
