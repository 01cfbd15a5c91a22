//! `type = "user"`

use std::collections::BTreeMap;

use async_trait::async_trait;
use imgbake_types::Span;
use imgbake_types::spec::ProvisionerSettings;
use imgbake_types::spec::rules::{At, Mistake, absolute, not_empty};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::script::Script;
use super::step::NativeStep;
use crate::error::StepError;
use crate::guest::Folder;

/// Functions of this kind.
const FUNCTIONS: &str = include_str!("user.sh");

/// `type = "user"`: a user of the machine. What is not said of one that is there stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserSpec {
    /// The user's name.
    #[schemars(regex(pattern = r"^[a-z_][a-z0-9_.-]{0,31}$"))]
    pub user: String,
    /// The user's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Groups that the user is in beside the own one; they are made where they are not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[a-z_][a-z0-9_.-]{0,31}$")))]
    pub groups: Vec<String>,
    /// The login shell. Default of a new user: `/bin/bash` where it is there, else `/bin/sh`; of a system user,
    /// `nologin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^/[^:\n]*$"))]
    pub shell: Option<String>,
    /// The home folder. Default of a new user: `/home/USER`, which for a user of the system is not made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^/[^:\n]*$"))]
    pub home: Option<String>,
    /// Whether a new user is one of the system, with a number below 1000. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<bool>,
    /// The user's full name, or what the account is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[^:\n]*$"))]
    pub comment: Option<String>,
    /// The hash of the password, as `openssl passwd -6` prints it; a sensitive variable. Default of a new user: no
    /// password fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The ssh keys that the user's login accepts: these and no others, but for the build's own until the seal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(regex(pattern = r"^[^\n]+$")))]
    pub authorized_keys: Vec<String>,
    /// What the user may do with sudo. Without it, that stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sudo: Option<Sudo>,
    /// Whether there shall be no such user. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<bool>,
    /// With `absent`: whether the home folder goes as well. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_home: Option<bool>,
    /// Environment variables of the tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// How long it may take. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// What a user may do with sudo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sudo {
    /// Nothing by a rule of the user's own.
    None,
    /// Everything, with the user's password.
    Password,
    /// Everything, without a password.
    Nopasswd,
}

impl Sudo {
    /// Its name in the script.
    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Password => "password",
            Self::Nopasswd => "nopasswd",
        }
    }
}

impl ProvisionerSettings for UserSpec {
    const SENSITIVE: &'static [&'static str] = &["password", "env"];
    const RESULTS: bool = true;

    fn check(settings: &Map<String, Value>) -> Vec<Mistake> {
        let lists = ["groups", "authorized_keys"];
        let mut found: Vec<Mistake> =
            lists.iter().filter_map(|key| not_empty(settings, key)).collect();
        found.extend(["shell", "home"].iter().filter_map(|key| absolute(settings, key)));
        found.extend(password(settings));
        let is_absent = settings.get("absent") == Some(&Value::Bool(true));
        let senseless: &[&str] = if is_absent {
            &[
                "uid",
                "groups",
                "shell",
                "home",
                "system",
                "comment",
                "password",
                "authorized_keys",
                "sudo",
            ]
        } else {
            &["remove_home"]
        };
        for key in senseless.iter().filter(|key| settings.contains_key(**key)) {
            let state = if is_absent { "with" } else { "without" };
            let message = format!("`{key}` has no meaning {state} `absent = true`");
            found.push(Mistake::new("senseless", At::key(key), message));
        }
        found
    }
}

/// A password that is none of crypt(5)'s hashes was written as it is.
fn password(settings: &Map<String, Value>) -> Option<Mistake> {
    let text = settings.get("password")?.as_str()?;
    let is_hidden = !imgbake_types::secret::names(text).is_empty();
    let is_hash = text.starts_with('$') || ["*", "!"].contains(&text);
    (!is_hidden && !is_hash).then(|| {
        Mistake::new("bad-value", At::value("password"), "`password` is no hash of a password")
            .help("take what `openssl passwd -6` prints, in a sensitive variable; `*` is a password that never fits")
    })
}

#[async_trait]
impl NativeStep for UserSpec {
    const NAME: &'static str = "user";
    const ABOUT: &'static str = "Makes, changes or removes a user, with groups, ssh keys and sudo.";

    fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    fn timeout(&self) -> Option<Span> {
        self.timeout
    }

    async fn script(&self, folder: &Folder<'_>) -> Result<Script, StepError> {
        let mut script = Script::new(&[FUNCTIONS]);
        let is_login = folder.login() == self.user;
        if self.absent == Some(true) {
            if is_login {
                let what = "is the build's own login: without it the build cannot go on; the seal removes it";
                return Err(StepError::Usage(format!("user `{}` {what}", self.user)));
            }
            let home = if self.remove_home == Some(true) { "true" } else { "false" };
            script.call("absent", [self.user.as_str(), home]);
            return Ok(script);
        }
        for group in &self.groups {
            script.call("group", [group]);
        }
        let given = |text: &Option<String>| text.clone().unwrap_or_default();
        let uid = self.uid.map(|uid| uid.to_string()).unwrap_or_default();
        let system = (self.system == Some(true)).to_string();
        let (comment, home, shell) = (given(&self.comment), given(&self.home), given(&self.shell));
        script.call("user", [&self.user, &uid, &comment, &home, &shell, &system]);
        for group in &self.groups {
            script.call("member", [group]);
        }
        if let Some(password) = &self.password {
            script.env.insert("password".to_owned(), password.clone());
        }
        script.call("secure", [""; 0]);
        if !self.authorized_keys.is_empty() {
            let build_key = if is_login { folder.login_key() } else { None };
            let keys = self.authorized_keys.join("\n") + "\n";
            script.call("keys", [keys, build_key.unwrap_or_default()]);
        }
        if let Some(sudo) = self.sudo {
            script.call("sudo_rule", [sudo.name()]);
        }
        script.call("finish_resource", [""; 0]);
        Ok(script)
    }
}
