//! The command line.

mod build;
mod common;

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};
use imgbake_disk::export::ExportFormat;
use imgbake_types::{ChannelName, Reference, Size, Span, VersionName};

pub use build::{BuildArgs, ConvergeArgs, ResultsFormat, SelectionArgs, VariableArgs};
pub use common::{CacheMode, EventArgs, OnError, RemoteArgs};

/// Bakes golden machine images: built from a template, tested, sealed, published as immutable
/// versions, promoted unchanged from channel to channel.
#[derive(Debug, Parser)]
#[command(name = "imgbake", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Settings that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Settings that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where registry, cache, keys and journal are [setting: home; variable: IMGBAKE_HOME]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub home: Option<Utf8PathBuf>,
    /// How progress is shown [setting: progress; variable: IMGBAKE_PROGRESS]
    #[arg(long, global = true, value_enum, help_heading = "Global options")]
    pub progress: Option<Progress>,
    /// Shows the details of seal, console and caches as well
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub verbose: bool,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Bars on a terminal, plain lines elsewhere
    Auto,
    /// Bars and spinners
    Bars,
    /// A line for each thing that happens
    Plain,
    /// Errors only
    Quiet,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes a first template that builds
    Init {
        /// The folder; made if it does not exist
        #[arg(default_value = ".")]
        dir: Utf8PathBuf,
    },
    /// Reports what this machine can do, each finding with its fix
    Doctor {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Reports every error of templates at once, each with its place and a hint
    Validate {
        /// The templates
        #[arg(required = true)]
        templates: Vec<Utf8PathBuf>,
        /// The templates' variables.
        #[command(flatten)]
        variables: VariableArgs,
    },
    /// Prints the JSON Schema of templates, for editors
    Schema,
    /// Lists what the seal stage removes from an image, and what it leaves there
    Seal {
        /// Lists the operations
        #[arg(long, required = true)]
        list: bool,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Prints the steps of templates, their keys, and which of their results are cached
    Plan {
        /// The templates; a folder means its image.toml, or all its templates where it has none
        #[arg(required = true)]
        templates: Vec<Utf8PathBuf>,
        /// Which of their builds.
        #[command(flatten)]
        selection: SelectionArgs,
        /// The templates' variables.
        #[command(flatten)]
        variables: VariableArgs,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Builds, seals, publishes and verifies images
    Build(BuildArgs),
    /// Proves that the steps of templates converge in one run; publishes nothing
    Converge(ConvergeArgs),
    /// Lists and deletes the layers of earlier builds
    Cache {
        /// What to do with them
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// Lists versions and channels
    Images {
        /// Only this image's; HOST/NAME lists those of a registry
        name: Option<String>,
        /// How registries are reached.
        #[command(flatten)]
        remote: RemoteArgs,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows one version
    Show {
        /// [HOST/]NAME[:VERSION|:CHANNEL|@sha256:…]
        reference: Reference,
        /// Shows the resources that its steps managed, and what their second runs changed
        #[arg(long)]
        results: bool,
        /// How registries are reached.
        #[command(flatten)]
        remote: RemoteArgs,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Lists the builds of this machine, newest first
    Builds {
        /// Only this image's
        name: Option<String>,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows what a build printed and did, step by step
    Logs {
        /// A build's ID or the beginning of one, or `latest`
        build: String,
        /// Only this step's or test's
        #[arg(long, value_name = "NAME")]
        step: Option<String>,
        /// The consoles of its machines instead
        #[arg(long, conflicts_with = "step")]
        console: bool,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Lists the moves of a channel, newest first
    History {
        /// [HOST/]NAME:CHANNEL
        reference: Reference,
        /// How registries are reached.
        #[command(flatten)]
        remote: RemoteArgs,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Writes a version's disk to a file, with its checksum beside it, or to a device, a FIFO or `-`
    Pull {
        /// [HOST/]NAME[:VERSION|:CHANNEL|@sha256:…]
        reference: Reference,
        /// The file to write, with its checksum beside it; a block device, a FIFO or `-` for standard output;
        /// can be given more than once
        #[arg(long = "output", short, value_name = "FILE", required = true)]
        outputs: Vec<Utf8PathBuf>,
        /// Writes over a block device that is in use or holds data
        #[arg(long)]
        force: bool,
        /// The disk's format [default: from the file's extension; raw for what is no file]
        #[arg(long)]
        format: Option<ExportFormat>,
        /// A raw or qcow2 disk that may have some of the bytes already, such as an older version's;
        /// can be given more than once
        #[arg(long = "seed", value_name = "FILE")]
        seeds: Vec<Utf8PathBuf>,
        /// Waits until all of it is on the disk, so that a power failure takes nothing back
        #[arg(long)]
        sync: bool,
        /// How registries are reached.
        #[command(flatten)]
        remote: RemoteArgs,
        /// Where events go.
        #[command(flatten)]
        events: EventArgs,
    },
    /// Copies a version of the local registry to another one, with all that is attached to it
    Push {
        /// NAME[:VERSION|:CHANNEL|@sha256:…]
        reference: Reference,
        /// HOST/NAME[:TAG]; without a tag the version keeps its name
        dest: Reference,
        /// How registries are reached.
        #[command(flatten)]
        remote: RemoteArgs,
        /// Where events go.
        #[command(flatten)]
        events: EventArgs,
    },
    /// Copies a version between registries; without a host a reference is the local one's
    Copy {
        /// [HOST/]NAME[:TAG|@sha256:…]
        reference: Reference,
        /// [HOST/]NAME[:TAG]; without a tag the version keeps its name
        dest: Reference,
        /// How registries are reached.
        #[command(flatten)]
        remote: RemoteArgs,
        /// Where events go.
        #[command(flatten)]
        events: EventArgs,
    },
    /// Verifies a version again: boots its bytes and runs its tests
    Test {
        /// NAME[:VERSION|:CHANNEL|@sha256:…]
        reference: Reference,
        /// Sets a sensitive variable that the tests need
        #[arg(long = "var", value_name = "NAME=VALUE")]
        vars: Vec<String>,
        /// Leaves the first clone running, and every clone that failed; `imgbake clean` ends them
        #[arg(long)]
        keep: bool,
        /// Where events go.
        #[command(flatten)]
        events: EventArgs,
    },
    /// Prints the rules of channels, and where those of an image are
    Channels {
        /// [HOST/]NAME
        reference: Option<Reference>,
        /// How registries are reached.
        #[command(flatten)]
        remote: RemoteArgs,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Prints the digest that a reference means now; of a channel with keys, after its signature was checked
    Resolve {
        /// [HOST/]NAME[:VERSION|:CHANNEL|@sha256:…]
        reference: Reference,
        /// How registries are reached.
        #[command(flatten)]
        remote: RemoteArgs,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Makes and prints the keys that sign the moves of channels
    Keys {
        /// What is done.
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Points a channel at a version that meets the channel's rules
    Promote {
        /// [HOST/]NAME:CHANNEL, [HOST/]NAME:VERSION or [HOST/]NAME@sha256:…
        reference: Reference,
        /// The channel to move
        #[arg(long, value_name = "CHANNEL")]
        to: ChannelName,
        /// How the channel is moved.
        #[command(flatten)]
        channel: MoveArgs,
    },
    /// Points a channel at a version that it pointed at before
    Rollback {
        /// [HOST/]NAME:CHANNEL
        reference: Reference,
        /// The version [default: where the channel pointed before its last move]
        #[arg(long, value_name = "VERSION")]
        to: Option<VersionName>,
        /// How the channel is moved.
        #[command(flatten)]
        channel: MoveArgs,
    },
    /// Checks the integrity of a version's blobs, or of the whole registry
    Verify(VerifyArgs),
    /// Keeps a version, whatever [retention] says
    Hold {
        /// NAME[:VERSION|:CHANNEL|@sha256:…]
        reference: Reference,
        /// Why
        #[arg(long, value_name = "TEXT", required_unless_present = "release")]
        reason: Option<String>,
        /// Removes the hold
        #[arg(long, conflicts_with = "reason")]
        release: bool,
    },
    /// Removes versions by name, also damaged ones, unless a channel, a hold or another version needs them
    Rm {
        /// NAME:VERSION or NAME@sha256:…
        #[arg(required = true)]
        references: Vec<Reference>,
    },
    /// Deletes versions that [retention] does not keep, and unreachable blobs
    Gc {
        /// Deletes nothing: prints what would be deleted, and what each version takes
        #[arg(long)]
        dry_run: bool,
        /// How long unreachable blobs are kept, such as 90min, 24h or 7d
        #[arg(long, value_name = "TIME", default_value = "24h")]
        grace: Span,
        /// Believes the clock, though it jumped since the last run
        #[arg(long)]
        trust_clock: bool,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Ends what killed builds left, and machines kept with `--on-error keep`
    Clean,
    /// Prints a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Prints what completion scripts offer: names, versions and channels
    #[command(hide = true)]
    Complete,
    /// Writes the manual pages
    Man {
        /// The folder
        dir: Utf8PathBuf,
    },
}

/// `imgbake verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// NAME[:VERSION|:CHANNEL|@sha256:…] [default: everything in the registry]
    pub reference: Option<Reference>,
    /// Reads every byte; without it, only documents are read, and sizes compared
    #[arg(long)]
    pub deep: bool,
    /// Where to take damaged blobs from: an OCI image layout's folder, or HOST/NAME of another registry;
    /// can be given more than once
    #[arg(long, value_name = "DIR|HOST/NAME")]
    pub from: Vec<String>,
    /// A raw or qcow2 disk that may have the bytes of damaged packs, such as an exported one; can be given
    /// more than once
    #[arg(long = "seed", value_name = "FILE")]
    pub seeds: Vec<Utf8PathBuf>,
    /// How the other registry is reached.
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
    /// Where events go.
    #[command(flatten)]
    pub events: EventArgs,
}

/// `imgbake cache`
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Lists the layers, the least recently used first
    Ls {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Deletes layers: machines' memory first, then the least recently used
    Prune {
        /// What may stay in all, such as 5GiB [default: the setting cache_size]
        #[arg(long, value_name = "SIZE", conflicts_with = "all")]
        to: Option<Size>,
        /// Deletes every layer that no build uses now
        #[arg(long)]
        all: bool,
    },
}

/// How a channel is moved.
#[derive(Debug, Clone, Default, Args)]
pub struct MoveArgs {
    /// Why: kept in the channel's history
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Prints the verdict of every gate, and moves nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How registries are reached.
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Where events go.
    #[command(flatten)]
    pub events: EventArgs,
}

/// What is done with keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysCommand {
    /// Writes a new private key, and its public key beside it as FILE.pub
    Generate {
        /// The private key's file; IMGBAKE_SIGNING_PASSWORD encrypts it
        file: Utf8PathBuf,
        /// The algorithm
        #[arg(long, value_enum, default_value = "ed25519")]
        algorithm: KeyAlgorithm,
    },
    /// Prints the identifier of a public key
    Show {
        /// The public key's file [default: that of the key that this machine signs with]
        file: Option<Utf8PathBuf>,
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
}

/// The algorithm of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyAlgorithm {
    /// Ed25519
    Ed25519,
    /// ECDSA on P-256
    EcdsaP256,
}
