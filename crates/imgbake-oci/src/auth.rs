//! Showing a registry who the user is: a login with each request, or tokens that are asked for ahead.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imgbake_http::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::OciError;
use crate::Result;
use crate::challenge::Challenge;
use crate::credentials::{self, Credential, CredentialSettings, Identity};

/// How long a token lives that says nothing of it (distribution's token specification).
pub(crate) const LIFE: Duration = Duration::from_secs(60);
/// A token that ends so soon is not begun with: what is sent takes time.
const MARGIN: Duration = Duration::from_secs(10);

/// What a request needs to be allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    /// The repository.
    pub(crate) name: String,
    /// Whether it writes.
    pub(crate) push: bool,
    /// The repository that a blob is mounted from.
    pub(crate) from: Option<String>,
    /// What a registry's challenge named instead.
    pub(crate) named: Option<String>,
}

impl Scope {
    pub(crate) fn pull(name: &str) -> Self {
        Self { name: name.to_owned(), push: false, from: None, named: None }
    }

    pub(crate) fn push(name: &str) -> Self {
        Self { name: name.to_owned(), push: true, from: None, named: None }
    }

    pub(crate) fn mount(name: &str, from: &str) -> Self {
        Self { from: Some(from.to_owned()), ..Self::push(name) }
    }

    /// The same, with the words of a challenge.
    pub(crate) fn named(&self, words: &str) -> Self {
        Self { named: Some(words.to_owned()), ..self.clone() }
    }

    /// Whether a token of this scope allows what a challenge names.
    pub(crate) fn covers(&self, words: &str) -> bool {
        let own = self.words();
        words.split_ascii_whitespace().all(|word| {
            let Some((resource, actions)) = word.rsplit_once(':') else { return false };
            let allowed = own.iter().filter_map(|own| own.rsplit_once(':'));
            let mut allowed = allowed.filter(|(own, _)| *own == resource);
            actions.split(',').all(|action| {
                allowed.clone().any(|(_, actions)| actions.split(',').any(|own| own == action))
            }) && allowed.next().is_some()
        })
    }

    /// In the words of token servers (distribution's token scope documentation).
    pub(crate) fn words(&self) -> Vec<String> {
        if let Some(named) = &self.named {
            return named.split_ascii_whitespace().map(str::to_owned).collect();
        }
        let actions = if self.push { "pull,push" } else { "pull" };
        let own = format!("repository:{}:{actions}", self.name);
        let from = self.from.as_ref().map(|from| format!("repository:{from}:pull"));
        std::iter::once(own).chain(from).collect()
    }
}

/// A token and until when it serves.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) value: HeaderValue,
    fresh_until: Instant,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// A token that lives so long from now.
    pub(crate) fn new(text: &str, life: Duration) -> Option<Self> {
        let value = sensitive(&format!("Bearer {text}"))?;
        Some(Self {
            value,
            fresh_until: Instant::now() + life.saturating_sub(MARGIN.min(life / 4)),
        })
    }

    fn is_fresh(&self) -> bool {
        Instant::now() < self.fresh_until
    }
}

/// What is known of one registry's wishes and the user's means.
#[derive(Debug)]
pub(crate) struct Auth {
    settings: CredentialSettings,
    challenge: Mutex<Option<Challenge>>,
    logins: tokio::sync::Mutex<HashMap<String, Identity>>,
    /// Identity tokens as they were found, and what token servers gave in their place since.
    renewed: tokio::sync::Mutex<Vec<(SecretString, SecretString)>>,
    /// Held while a token is asked for: others that need the same one wait for it.
    pub(crate) tokens: tokio::sync::Mutex<HashMap<Scope, Token>>,
}

impl Auth {
    pub(crate) fn new(settings: CredentialSettings) -> Self {
        Self {
            settings,
            challenge: Mutex::default(),
            logins: tokio::sync::Mutex::default(),
            renewed: tokio::sync::Mutex::default(),
            tokens: tokio::sync::Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Challenge>> {
        self.challenge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the registry wants; `None` before it was asked.
    pub(crate) fn challenge(&self) -> Option<Challenge> {
        self.known().clone()
    }

    /// The registry said what it wants.
    pub(crate) fn learn(&self, challenge: Challenge) {
        *self.known() = Some(challenge);
    }

    /// Who the user is to a repository.
    pub(crate) async fn identity(
        &self,
        job: &imgbake_runtime::Job,
        (host, repository): (&str, &str),
    ) -> Result<Identity> {
        let mut logins = self.logins.lock().await;
        let found = if let Some(known) = logins.get(repository) {
            known.clone()
        } else {
            let found = credentials::find(job, &self.settings, (host, repository)).await?;
            logins.insert(repository.to_owned(), found.clone());
            found
        };
        match found {
            Identity::Known(credential) => Ok(Identity::Known(self.newest(credential).await)),
            nobody @ Identity::Anonymous(_) => Ok(nobody),
        }
    }

    /// The token server gave another identity token in the place of one: it may take only that one now.
    pub(crate) async fn renew(&self, job: &imgbake_runtime::Job, old: &Credential, next: &str) {
        let old = old.login.secret.expose_secret();
        if next.is_empty() || next == old {
            return;
        }
        job.secrets().add("registry login", next);
        let mut renewed = self.renewed.lock().await;
        let known = renewed.iter_mut().find(|(_, now)| now.expose_secret() == old);
        match known {
            Some((_, now)) => *now = next.to_owned().into(),
            None => renewed.push((old.to_owned().into(), next.to_owned().into())),
        }
    }

    /// A login with the identity token that serves now.
    async fn newest(&self, mut credential: Credential) -> Credential {
        let own = credential.login.secret.expose_secret();
        let renewed = self.renewed.lock().await;
        if let Some((_, now)) = renewed.iter().find(|(first, _)| first.expose_secret() == own) {
            credential.login.secret = now.clone();
        }
        credential
    }

    /// The error of a registry, or of its token server, that does not let the user in.
    pub(crate) fn refused(host: &str, scope: &Scope, who: &Identity, why: &str) -> OciError {
        let doing = if scope.push { "writing to" } else { "reading" };
        let name = &scope.name;
        let credential = match who {
            Identity::Known(credential) => credential,
            Identity::Anonymous(looked) => {
                let what = format!("the registry {host} wants a login for {doing} {name}: {why}");
                return OciError::failed(what).help(format!(
                    "no login was found: {looked}; `skopeo login {host}` or `docker login {host}` writes \
                     one"
                ));
            }
        };
        let user = match credential.login.user.as_str() {
            "" | "<token>" => "the identity token".to_owned(),
            user => format!("the user `{user}`"),
        };
        let origin = &credential.origin;
        OciError::failed(format!("the registry {host} refuses {doing} {name} to {user}: {why}"))
            .help(format!("the login came from {origin}: is it right, and may it do this?"))
    }
}

/// A login as each request carries it (RFC 7617).
pub(crate) fn basic(credential: &Credential) -> Option<HeaderValue> {
    let (user, password) = (&credential.login.user, credential.login.secret.expose_secret());
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// A header that is never shown.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Auth {
    /// A fresh token, if there is one.
    pub(crate) fn fresh(tokens: &HashMap<Scope, Token>, scope: &Scope) -> Option<HeaderValue> {
        tokens.get(scope).filter(|token| token.is_fresh()).map(|token| token.value.clone())
    }
}
