//! Arguments that several commands take.

use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};

/// What happens when a build fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// Everything that the build made is removed
    Cleanup,
    /// The machine is left running, and the way into it is printed
    Keep,
    /// A session in the machine is opened; after it the step can be tried again
    Shell,
    /// Asks on the terminal
    Ask,
}

/// How layers of earlier builds are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CacheMode {
    /// Machines resume where they were saved
    Full,
    /// Machines boot from the disks of layers
    Disk,
    /// Every step runs, and nothing is saved
    Off,
}

/// How registries are reached. Logins come from `IMGBAKE_REGISTRY_USER` and
/// `IMGBAKE_REGISTRY_PASSWORD`, or from the files that `skopeo login` and `docker login` write.
#[derive(Debug, Clone, Default, Args)]
pub struct RemoteArgs {
    /// Trusts the certificates in a file (PEM) beside those of this machine
    #[arg(long, value_name = "FILE")]
    pub ca: Option<Utf8PathBuf>,
    /// Speaks to registries without TLS; to this machine itself that is allowed anyway
    #[arg(long)]
    pub insecure_http: bool,
}

/// Where events go.
#[derive(Debug, Clone, Default, Args)]
pub struct EventArgs {
    /// Writes events as JSON lines to a file, or to standard output with `-`
    #[arg(long, value_name = "FILE|-")]
    pub events: Option<Utf8PathBuf>,
}
