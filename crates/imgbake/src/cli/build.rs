//! Arguments of the commands that run a template's steps.

use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};
use imgbake_types::ChannelName;

use super::common::{CacheMode, EventArgs, OnError, RemoteArgs};

/// `imgbake build`
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The templates; a folder means its image.toml, or all its templates where it has none
    #[arg(required = true)]
    pub templates: Vec<Utf8PathBuf>,
    /// Which of their builds.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// The template's variables.
    #[command(flatten)]
    pub variables: VariableArgs,
    /// Builds nothing: prints what `imgbake plan` does
    #[arg(long)]
    pub dry_run: bool,
    /// Publishes nothing: runs the template's steps on this channel's image and on the template's own source, and
    /// reports whether both end in the same state
    #[arg(long, value_name = "CHANNEL", conflicts_with_all = ["dry_run", "output", "junit", "metadata_file", "cache_to", "parallel", "on_error"])]
    pub from_blessed: Option<ChannelName>,
    /// What happens when the build fails [setting: on_error; variable: IMGBAKE_ON_ERROR]
    #[arg(long, value_enum)]
    pub on_error: Option<OnError>,
    /// Writes the version's disk to a file as well; its extension gives the format
    #[arg(long, short, value_name = "FILE")]
    pub output: Vec<Utf8PathBuf>,
    /// How layers of earlier builds are used [setting: cache; variable: IMGBAKE_CACHE]
    #[arg(long, value_enum, value_name = "MODE")]
    pub cache: Option<CacheMode>,
    /// The same as --cache off: every step runs
    #[arg(long, conflicts_with_all = ["cache", "cache_to", "cache_from"])]
    pub no_cache: bool,
    /// Writes the disks of layers to where others can take them from: an OCI image layout's folder, or
    /// HOST/NAME of a registry
    #[arg(long, value_name = "DIR|HOST/NAME")]
    pub cache_to: Option<String>,
    /// Takes the disks of layers that are not here from an OCI image layout's folder, or HOST/NAME of a
    /// registry
    #[arg(long, value_name = "DIR|HOST/NAME")]
    pub cache_from: Option<String>,
    /// How the registries of --cache-to and --cache-from are reached.
    #[command(flatten)]
    pub remote: RemoteArgs,
    /// Builds that run at once [default: from processors and free memory]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: Option<u16>,
    /// Ends the other builds when one fails
    #[arg(long)]
    pub fail_fast: bool,
    /// Writes what was built to a JSON file: each build with its outcome, version, digest and channel
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<Utf8PathBuf>,
    /// Writes the results of checks and tests to a JUnit XML file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<Utf8PathBuf>,
    /// Where events go.
    #[command(flatten)]
    pub events: EventArgs,
}

/// `imgbake converge`
#[derive(Debug, Args)]
pub struct ConvergeArgs {
    /// The templates; a folder means its image.toml, or all its templates where it has none
    #[arg(required = true)]
    pub templates: Vec<Utf8PathBuf>,
    /// Which of their builds.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// The template's variables.
    #[command(flatten)]
    pub variables: VariableArgs,
    /// How layers of earlier builds are used [setting: cache; variable: IMGBAKE_CACHE]
    #[arg(long, value_enum, value_name = "MODE")]
    pub cache: Option<CacheMode>,
    /// The same as --cache off: every step runs
    #[arg(long, conflicts_with = "cache")]
    pub no_cache: bool,
    /// How the results are printed
    #[arg(long, value_enum, default_value = "table")]
    pub format: ResultsFormat,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Where events go.
    #[command(flatten)]
    pub events: EventArgs,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ResultsFormat {
    /// A table
    Table,
    /// JSON
    Json,
    /// JUnit XML: a suite for each image, a case for each step
    Junit,
}

/// Which builds of the given templates.
#[derive(Debug, Clone, Default, Args)]
pub struct SelectionArgs {
    /// Only builds of these images; `*` stands for anything; can be given more than once
    #[arg(long, value_name = "IMAGE")]
    pub only: Vec<String>,
    /// No builds of these images; can be given more than once
    #[arg(long, value_name = "IMAGE")]
    pub except: Vec<String>,
}

/// Values for a template's variables.
#[derive(Debug, Clone, Default, Args)]
pub struct VariableArgs {
    /// Sets a variable; may be repeated [also: IMGBAKE_VAR_NAME]
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub vars: Vec<String>,
    /// Reads variables from a TOML or JSON file; may be repeated
    #[arg(long = "var-file", value_name = "FILE")]
    pub var_files: Vec<Utf8PathBuf>,
}
