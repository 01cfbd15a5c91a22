//! Any registry that speaks OCI's distribution-spec v1.1.
//!
//! [`Remote`] is one registry: how it is reached, who the user is there. A [`Repository`] is one name
//! in it. Every call tries again what may go better, waits as long as the server asks, and shows whom
//! an error is about. What comes from there is foreign: manifests and whole blobs are proved by their
//! digests, lengths are bounded.

mod auth;
mod blobs;
pub(crate) mod body;
mod challenge;
mod credentials;
mod endpoint;
mod follow;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod http;
pub(crate) mod manifests;
pub(crate) mod referrers;
mod retry;
mod tags;
mod token;
pub(crate) mod upload;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use camino::Utf8PathBuf;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_runtime::Job;
use imgbake_types::reference::is_name;
use reqwest::{Certificate, Client};

pub use credentials::{CredentialSettings, FixedLogin};

use self::auth::{Auth, Scope};
use self::endpoint::Endpoint;
use self::retry::Retry;
use crate::Result;
use crate::files::read_small;

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct RemoteOptions {
    /// A file of certificates (PEM) that are trusted beside those of this machine.
    pub ca: Option<Utf8PathBuf>,
    /// Speaks without TLS. To this machine itself that is allowed anyway.
    pub insecure_http: bool,
    /// Where logins are looked for.
    pub credentials: CredentialSettings,
}

/// One registry. Clones are the same connection pool, tokens and memory.
#[derive(Debug, Clone)]
pub struct Remote(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    job: Job,
    endpoint: Endpoint,
    client: Client,
    uploads: Client,
    auth: Auth,
    /// Whether it answered a question for a piece of a blob with all of it.
    ignores_ranges: AtomicBool,
    /// Whether it has the referrers API: 0 unknown, 1 yes, 2 no.
    referrers: AtomicU8,
}

/// One name in a registry. Clones are the same.
#[derive(Debug, Clone)]
pub struct Repository {
    remote: Remote,
    /// As references have it.
    name: String,
    /// As the registry has it.
    path: String,
}

impl Remote {
    /// Finds a registry: `host` is what references begin with, perhaps with a port.
    ///
    /// # Errors
    /// No host, an unreadable certificate file, nobody there, or nobody whom one could speak with.
    pub async fn connect(job: &Job, host: &str, options: &RemoteOptions) -> Result<Self> {
        let ca = certificates(options)?;
        let secure = Endpoint::new(host, false)?;
        let plain = Endpoint::new(host, true)?;
        if options.insecure_http {
            return Self::prepare(job, plain, options, &ca)?.greeted().await;
        }
        if secure.is_loopback() {
            let remote = Self::prepare(job, plain, options, &ca)?;
            // One that wants TLS says so with 400, or with what is no HTTP.
            let asked = remote.client().get(remote.endpoint().base()).send();
            let asked = job.cancel().run(asked).await?;
            let spoken = asked.as_ref().map_or_else(reqwest::Error::is_connect, |answer| {
                answer.status() != reqwest::StatusCode::BAD_REQUEST
            });
            if spoken {
                return remote.greeted().await;
            }
        }
        Self::prepare(job, secure, options, &ca)?.greeted().await
    }

    /// Learns what the registry wants to see: one that is not there is told soon.
    async fn greeted(self) -> Result<Self> {
        let mut retry = Retry::greeting(self.job().cancel(), format!("reach {}", self.host()));
        loop {
            match self.ping().await {
                Ok(_) => return Ok(self),
                Err(stop) => retry.after(stop).await?,
            }
        }
    }

    fn prepare(
        job: &Job,
        endpoint: Endpoint,
        options: &RemoteOptions,
        ca: &[Certificate],
    ) -> Result<Self> {
        let (client, uploads) = http::clients(endpoint.is_loopback(), ca)?;
        Ok(Self(Arc::new(Inner {
            job: job.clone(),
            endpoint,
            client,
            uploads,
            auth: Auth::new(options.credentials.clone()),
            ignores_ranges: AtomicBool::new(false),
            referrers: AtomicU8::new(0),
        })))
    }

    /// A repository of it.
    ///
    /// # Errors
    /// The name cannot be one.
    pub fn repository(&self, name: &str) -> Result<Repository> {
        if !is_name(name) {
            return Err(no_name(name));
        }
        let path = self.endpoint().repository(name);
        Ok(Repository { remote: self.clone(), name: name.to_owned(), path })
    }

    /// The host as references name it.
    pub fn host(&self) -> &str {
        self.endpoint().host()
    }

    fn job(&self) -> &Job {
        &self.0.job
    }

    fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    fn client(&self) -> &Client {
        &self.0.client
    }

    fn uploads(&self) -> &Client {
        &self.0.uploads
    }

    fn auth(&self) -> &Auth {
        &self.0.auth
    }
}

impl Repository {
    /// `HOST/NAME`
    pub fn label(&self) -> String {
        format!("{}/{}", self.remote.host(), self.name)
    }

    /// Its registry.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Whether the registry was seen to answer a question for a piece of a blob with all of it: then
    /// whole blobs are cheaper than many pieces.
    pub fn ignores_ranges(&self) -> bool {
        self.remote.0.ignores_ranges.load(Ordering::Relaxed)
    }

    fn pull(&self) -> Scope {
        Scope::pull(&self.path)
    }

    fn push(&self) -> Scope {
        Scope::push(&self.path)
    }

    fn url(&self, rest: &str) -> url::Url {
        self.remote.endpoint().url(&self.path, rest)
    }

    fn retry(&self, what: impl Into<String>) -> Retry {
        Retry::new(self.remote.job().cancel(), what)
    }
}

/// Whether a repository could be reached like this, by the words alone.
///
/// # Errors
/// Host or name cannot be one; the file of certificates cannot be read.
pub(crate) fn check(host: &str, name: &str, options: &RemoteOptions) -> Result<()> {
    certificates(options)?;
    Endpoint::new(host, false)?;
    if is_name(name) { Ok(()) } else { Err(no_name(name)) }
}

fn no_name(name: &str) -> BuildError {
    let what = format!("`{}` is no repository name", name.escape_debug());
    BuildError::new(BuildErrorKind::Usage, what)
}

fn certificates(options: &RemoteOptions) -> Result<Vec<Certificate>> {
    let Some(path) = &options.ca else { return Ok(Vec::new()) };
    let usage = |why: &str| {
        BuildError::new(
            BuildErrorKind::Usage,
            format!("cannot use the certificates in {path}: {why}"),
        )
        .help("give a file of certificates in PEM form")
    };
    let bytes = read_small(path)?.ok_or_else(|| usage("there is no such file"))?;
    match Certificate::from_pem_bundle(&bytes) {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(usage("there are none")),
        Err(error) => Err(usage("they are not PEM").because(error)),
    }
}
