//! Settings: flag, then `IMGBAKE_*` variable, then `imgbake.toml` found upwards from the working
//! folder, then default. `imgbake doctor` shows each with its origin.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use camino::{Utf8Path, Utf8PathBuf};
use clap::ValueEnum;
use imgbake_registry::Retention;
use imgbake_runtime::builds::BuildRetention;
use imgbake_types::{Actor, Size};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::cli::{CacheMode, Global, OnError, Progress};
use crate::failure::Failure;
use crate::logins::Logins;
use crate::origin::CiJob;
use crate::rules::{ChannelTable, Rules};
use crate::signing::SigningKey;
use crate::text;

/// What the environment variables that set template variables begin with.
pub const VARIABLE_PREFIX: &str = "IMGBAKE_VAR_";

/// A setting and where its value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its name in `imgbake.toml`.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// `flag`, a variable's name, a file's path, or `default`.
    pub origin: String,
}

/// All settings, and what the environment says besides.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where imgbake keeps its state.
    pub home: Utf8PathBuf,
    /// How progress is shown.
    pub progress: Progress,
    /// What happens when a build fails.
    pub on_error: OnError,
    /// What of earlier builds is used.
    pub cache: CacheMode,
    /// What the layers of earlier builds may take in all.
    pub cache_size: Size,
    /// Which versions `gc` may take away.
    pub retention: Retention,
    /// Which records of builds stay.
    pub builds: BuildRetention,
    /// What channels may point at.
    pub channels: Rules,
    /// The key that signs their moves.
    pub signing: SigningKey,
    /// Whether colours are wanted: `NO_COLOR` and a terminal decide.
    pub color: bool,
    /// Each setting with its origin.
    pub settings: Vec<Setting>,
    /// The `IMGBAKE_VAR_*` of the environment, whole names.
    pub variables: Vec<(String, String)>,
    /// `user@host`, for channel histories.
    pub who: Actor,
    /// Who the user is to registries.
    pub logins: Logins,
    /// The CI job in which this runs.
    pub ci: CiJob,
}

/// `imgbake.toml`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    home: Option<Utf8PathBuf>,
    progress: Option<String>,
    on_error: Option<String>,
    cache: Option<String>,
    cache_size: Option<String>,
    signing_key: Option<Utf8PathBuf>,
    signing_command: Option<Vec<String>>,
    signing_public: Option<Utf8PathBuf>,
    #[serde(default)]
    retention: RetentionTable,
    #[serde(default)]
    channels: BTreeMap<Spanned<String>, ChannelTable>,
}

/// `[retention]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetentionTable {
    /// The newest versions of each image that stay.
    keep: Option<usize>,
    /// The last versions of each channel that stay.
    keep_per_channel: Option<usize>,
    /// Channels, and for how many days what left them stays.
    #[serde(default)]
    keep_days: BTreeMap<String, u32>,
    /// The newest records of builds that stay.
    builds: Option<usize>,
    /// Days after which the others of those go as well.
    build_days: Option<u32>,
}

impl RetentionTable {
    fn builds(&self) -> BuildRetention {
        let default = BuildRetention::default();
        BuildRetention {
            keep: self.builds.unwrap_or(default.keep),
            days: self.build_days.unwrap_or(default.days),
        }
    }
}

/// Settings that a command's own flags give.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags {
    /// `--on-error`
    pub on_error: Option<OnError>,
    /// `--cache`, `--no-cache`
    pub cache: Option<CacheMode>,
}

impl Config {
    /// Reads all layers.
    pub fn load(global: &Global, flags: Flags) -> Result<Self, Failure> {
        let env = environment()?;
        let (file, file_path, text) = find_file()?;
        let channels = Rules::of(&file.channels, &file_path, &text);
        let channels = channels.map_err(|mistakes| Failure::diagnostics(&mistakes))?;
        let mut settings = Vec::new();
        let mut setting = |name, flag: Option<String>, file: Option<String>, default: &str| {
            let file = file.map(|value| (value, &file_path));
            layered(&mut settings, name, flag, &env, file, default)
        };
        let below =
            |path: Option<Utf8PathBuf>| path.map(|path| beside(&file_path, &path).to_string());
        let home = global.home.as_ref().map(ToString::to_string);
        let home = setting("home", home, below(file.home), &default_home(&env));
        let progress = global.progress.as_ref().map(word);
        let progress_word = setting("progress", progress, file.progress, "auto");
        let on_error = flags.on_error.as_ref().map(word);
        let on_error_word = setting("on_error", on_error, file.on_error, "cleanup");
        let cache = flags.cache.as_ref().map(word);
        let cache_word = setting("cache", cache, file.cache, "full");
        let cache_size_word = setting("cache_size", None, file.cache_size, "20GiB");
        let signing_key = setting("signing_key", None, below(file.signing_key), "");
        let signing_key =
            Some(Utf8PathBuf::from(signing_key)).filter(|key| !key.as_str().is_empty());
        let public = file.signing_public.map(|public| beside(&file_path, &public));
        let signing = SigningKey::of(&env, signing_key, (file.signing_command, public))?;
        let home = camino::absolute_utf8(Utf8PathBuf::from(home))
            .map_err(|error| Failure::usage(format!("the setting `home` is no path: {error}")))?;
        let progress = choice::<Progress>(&settings[1], &progress_word)?;
        Ok(Self {
            home,
            progress,
            on_error: choice(&settings[2], &on_error_word)?,
            cache: choice(&settings[3], &cache_word)?,
            cache_size: cache_size_word.parse().map_err(|error| {
                Failure::usage(format!(
                    "the setting `cache_size` (from {}): {error}",
                    settings[4].origin
                ))
            })?,
            builds: file.retention.builds(),
            channels,
            signing,
            retention: Retention {
                keep: file.retention.keep,
                keep_per_channel: file.retention.keep_per_channel,
                days: file.retention.keep_days,
            },
            color: !env.contains_key("NO_COLOR") && std::io::stderr().is_terminal(),
            settings,
            variables: env
                .iter()
                .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            who: who(&env),
            logins: Logins::of(&env, user_id()),
            ci: CiJob::of(&env),
        })
    }
}

/// Whether the user wants colours where there is a terminal (no-color.org), before any setting is read.
#[expect(clippy::disallowed_methods, reason = "the command line is wrong: no settings are read")]
pub fn allows_color() -> bool {
    std::env::var_os("NO_COLOR").is_none()
}

/// Variables of others that settings come from.
const FOREIGN: [&str; 4] = ["HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"];

/// The environment, read once. A value that is not UTF-8 is left out where no setting comes from it.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> Result<BTreeMap<String, String>, Failure> {
    let mut known = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => _ = known.insert(name, value),
            Err(value) if name.starts_with("IMGBAKE_") || FOREIGN.contains(&name.as_str()) => {
                let shown = value.to_string_lossy().escape_debug().to_string();
                return Err(Failure::usage(format!("the variable {name} is not UTF-8: `{shown}`")));
            }
            Err(_) => {}
        }
    }
    Ok(known)
}

fn layered(
    settings: &mut Vec<Setting>,
    name: &'static str,
    flag: Option<String>,
    env: &BTreeMap<String, String>,
    file: Option<(String, &Utf8PathBuf)>,
    default: &str,
) -> String {
    let variable = format!("IMGBAKE_{}", name.to_uppercase());
    let (value, origin) = if let Some(value) = flag {
        (value, "flag".to_owned())
    } else if let Some(value) = env.get(&variable).filter(|value| !value.is_empty()) {
        (value.clone(), variable)
    } else if let Some((value, path)) = file {
        (value, path.to_string())
    } else {
        (default.to_owned(), "default".to_owned())
    };
    settings.push(Setting { name, value: value.clone(), origin });
    value
}

fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn choice<T: ValueEnum>(setting: &Setting, text: &str) -> Result<T, Failure> {
    T::from_str(text, false).map_err(|_| {
        let known: Vec<String> = T::value_variants().iter().map(word).collect();
        Failure::usage(format!(
            "`{text}` is no value for the setting `{}` (from {}): it takes {}",
            setting.name,
            setting.origin,
            known.join(", ")
        ))
    })
}

/// The nearest `imgbake.toml`, from the working folder upwards, with its path and text.
fn find_file() -> Result<(File, Utf8PathBuf, String), Failure> {
    let none = || (File::default(), Utf8PathBuf::new(), String::new());
    let here = camino::absolute_utf8(Utf8Path::new("."))
        .map_err(|error| Failure::usage(format!("the working folder cannot be used: {error}")))?;
    let Some(path) =
        here.ancestors().map(|dir| dir.join("imgbake.toml")).find(|path| path.is_file())
    else {
        return Ok(none());
    };
    let text = text::read("settings file", &path)?;
    let file = toml::from_str(&text)
        .map_err(|error| Failure::usage(format!("{path}: {}", error.to_string().trim_end())))?;
    Ok((file, path, text))
}

fn beside(file: &Utf8Path, path: &Utf8Path) -> Utf8PathBuf {
    file.parent().map_or_else(|| path.to_owned(), |dir| dir.join(path))
}

/// `$XDG_DATA_HOME/imgbake`, or `~/.local/share/imgbake` (XDG Base Directory Specification).
fn default_home(env: &BTreeMap<String, String>) -> String {
    let set = |name: &str| env.get(name).filter(|value| value.starts_with('/'));
    match (set("XDG_DATA_HOME"), set("HOME")) {
        (Some(data), _) => format!("{data}/imgbake"),
        (None, Some(home)) => format!("{home}/.local/share/imgbake"),
        (None, None) => "/var/lib/imgbake".to_owned(),
    }
}

/// `user@host`
fn who(env: &BTreeMap<String, String>) -> Actor {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let user = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| env.get(name).cloned());
    let user =
        user.unwrap_or_else(|| if runs_as_root() { "root".into() } else { "unknown".into() });
    Actor::lossy(&format!("{user}@{}", host.trim()))
}

fn runs_as_root() -> bool {
    user_id() == Some(0)
}

/// Whose this process is, by the owner of its own entry in /proc.
fn user_id() -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}
