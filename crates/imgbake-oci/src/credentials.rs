//! Who the user is to a registry: a setting, then files of logins, then the programs they name.

mod file;

use camino::Utf8PathBuf;
pub(crate) use file::Login;
pub(crate) use file::{AuthFile, Lookup};
use imgbake_runtime::{Command, Job};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::Result;
use crate::files::read_small;
use crate::{OciError, OciErrorKind};

/// What helpers give in a user's place beside an identity token (docker-credential-helpers).
const IDENTITY_USER: &str = "<token>";

/// Where logins are looked for.
#[derive(Debug, Clone, Default)]
pub struct CredentialSettings {
    /// A login given by settings; it comes before all files.
    pub fixed: Option<FixedLogin>,
    /// Files as containers-auth.json(5) describes them, the first that knows a repository wins. One
    /// that does not exist says nothing.
    pub files: Vec<Utf8PathBuf>,
}

/// A user and password given by settings.
#[derive(Debug, Clone)]
pub struct FixedLogin {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: SecretString,
    /// The one registry that it is for; none: whichever the command speaks to.
    pub host: Option<String>,
    /// What gave it, for messages: the variables' names.
    pub origin: String,
}

/// A login and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    pub(crate) login: Login,
    /// For messages.
    pub(crate) origin: String,
}

/// Who the user is to a repository.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// Somebody with a login.
    Known(Credential),
    /// Nobody: what was found out where a login was looked for, for messages.
    Anonymous(String),
}

impl Identity {
    /// The login, where there is one.
    pub(crate) fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Known(credential) => Some(credential),
            Self::Anonymous(_) => None,
        }
    }
}

/// Looks for a repository's login. Its secret is redacted from now on.
pub(crate) async fn find(
    job: &Job,
    settings: &CredentialSettings,
    (host, repository): (&str, &str),
) -> Result<Identity> {
    let found = look(job, settings, host, repository).await?;
    if let Identity::Known(credential) = &found {
        job.secrets().add("registry login", credential.login.secret.expose_secret());
    }
    Ok(found)
}

async fn look(
    job: &Job,
    settings: &CredentialSettings,
    host: &str,
    repository: &str,
) -> Result<Identity> {
    let mut looked = Vec::new();
    match &settings.fixed {
        Some(fixed) if fixed.host.as_deref().is_none_or(|own| own == host) => {
            let (user, secret) = (fixed.user.clone(), fixed.password.clone());
            let login = Login { user, secret, is_identity: false };
            return Ok(Identity::Known(Credential { login, origin: fixed.origin.clone() }));
        }
        Some(FixedLogin { host: Some(other), origin, .. }) => {
            looked.push(format!("{origin} are for {other}"));
        }
        _ => looked.push("IMGBAKE_REGISTRY_USER is not set".to_owned()),
    }
    for path in &settings.files {
        // What cannot be used is no login: what needs none goes on, and a refusal says what was found here.
        let file = match read_small(path) {
            Ok(Some(bytes)) => AuthFile::parse(&bytes).ok_or_else(|| {
                format!("{path} cannot be used: it is no JSON as in containers-auth.json(5)")
            }),
            Ok(None) => {
                looked.push(format!("there is no {path}"));
                continue;
            }
            Err(error) => Err(format!("{path} cannot be used: {error}")),
        };
        let file = match file {
            Ok(file) => file,
            Err(why) => {
                job.events().warn(format!("{why}; `skopeo login` writes such a file"));
                looked.push(why);
                continue;
            }
        };
        for found in file.helper(host).into_iter().chain([file.look_up(host, repository)]) {
            match found {
                Lookup::Nothing => looked.push(format!("{path} has none")),
                Lookup::Login { login, key } => {
                    let origin = format!("{path}, where it is `{}`", key.escape_debug());
                    return Ok(Identity::Known(Credential { login, origin }));
                }
                Lookup::Helper { helper, server } => {
                    let origin = format!("docker-credential-{helper}, which {path} names");
                    match ask(job, &helper, &server, &origin).await {
                        Ok(Some(login)) => {
                            return Ok(Identity::Known(Credential { login, origin }));
                        }
                        Ok(None) => looked.push(format!("{origin}, has none of {server}")),
                        Err(error) if error.kind() == OciErrorKind::Cancelled => return Err(error),
                        Err(error) => {
                            job.events().warn(error.to_string());
                            looked.push(error.to_string());
                        }
                    }
                }
            }
        }
    }
    Ok(Identity::Anonymous(looked.join("; ")))
}

/// What a helper prints.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    user: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

/// Asks a helper (docker-credential-helpers: the server on standard input, JSON on standard output).
async fn ask(job: &Job, helper: &str, server: &str, origin: &str) -> Result<Option<Login>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if helper.is_empty() || !helper.chars().all(plain) {
        let what = format!("`{}` cannot be a credential helper's name", helper.escape_debug());
        return Err(OciError::failed(what));
    }
    let command = Command::new(format!("docker-credential-{helper}"));
    let output = command.arg("get").stdin(server).output(job).await;
    let output = output.map_err(|error| {
        OciError::failed(format!("cannot ask {origin} for the login of {server}"))
            .because(error)
            .help("install the helper, or take it out of the file")
    })?;
    let words = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        // The protocol's own words for "none" (docker-credential-helpers, credentials/error.go).
        let said = format!("{} {}", words.trim(), output.stderr.trim());
        if ["credentials not found", "no credentials server URL"]
            .iter()
            .any(|none| said.contains(none))
        {
            return Ok(None);
        }
        // What it prints beside an error may be the login.
        let why = output.stderr.trim();
        let why =
            if why.is_empty() && login_of(&output.stdout).is_none() { words.trim() } else { why };
        let what = format!("{origin} gave no login of {server} ({}): {why}", output.status);
        return Err(OciError::failed(what));
    }
    let login = login_of(&output.stdout).ok_or_else(|| {
        OciError::failed(format!("{origin} answers for {server} with what is no login"))
    })?;
    Ok(Some(login))
}

/// The login that a helper printed.
pub(crate) fn login_of(printed: &[u8]) -> Option<Login> {
    let answer: Answer = serde_json::from_slice(printed).ok()?;
    let is_identity = answer.user == IDENTITY_USER;
    Some(Login { user: answer.user, secret: answer.secret.into(), is_identity })
}
