//! Any registry that speaks OCI's distribution-spec v1.1.
//!
//! [`Remote`] is one registry: how it is reached, who the user is there. A [`Repository`] is one name
//! in it. Every call tries again what may go better, waits as long as the server asks, and shows whom
//! an error is about. What comes from there is foreign: manifests and whole blobs are proved by their
//! digests, lengths are bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use camino::Utf8PathBuf;
use imgbake_http::{
    Client, ClientOptions, HttpErrorKind, Request, Retry, RetryPolicy, StatusCode, Url,
};
use imgbake_runtime::Job;
use imgbake_types::reference::is_name;

use crate::auth::{Auth, Scope};
use crate::credentials::CredentialSettings;
use crate::endpoint::Endpoint;
use crate::{OciError, OciErrorKind, Result};

const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

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

impl RemoteOptions {
    fn client(&self) -> ClientOptions {
        ClientOptions { ca: self.ca.clone() }
    }
}

/// One registry. Clones are the same connection pool, tokens and memory.
#[derive(Debug, Clone)]
pub struct Remote(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    client: Client,
    auth: Auth,
    /// Whether it answered a question for a piece of a blob with all of it.
    ignores_ranges: AtomicBool,
    /// Whether it has the referrers API: [`UNKNOWN`], [`YES`], [`NO`].
    referrers: AtomicU8,
}

/// One name in a registry. Clones are the same.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) remote: Remote,
    /// As references have it.
    name: String,
    /// As the registry has it.
    pub(crate) path: String,
}

impl Remote {
    /// Finds a registry: `host` is what references begin with, perhaps with a port.
    ///
    /// # Errors
    /// No host, an unreadable certificate file, nobody there, or nobody whom one could speak with.
    pub async fn connect(job: &Job, host: &str, options: &RemoteOptions) -> Result<Self> {
        let client = Client::new(job, &options.client())?;
        let secure = Endpoint::new(host, false)?;
        let plain = Endpoint::new(host, true)?;
        if options.insecure_http {
            return Self::new(client, plain, options).greeted().await;
        }
        if secure.is_loopback() {
            let remote = Self::new(client.clone(), plain, options);
            // One that wants TLS says so with 400, or with what is no HTTP.
            let asked = remote.client().send(&Request::get(remote.endpoint().base())).await;
            let is_plain = match asked {
                Ok(answer) => answer.status() != StatusCode::BAD_REQUEST,
                Err(error) => match error.kind() {
                    HttpErrorKind::Cancelled => return Err(error.into()),
                    kind => kind == HttpErrorKind::Connect,
                },
            };
            if is_plain {
                return remote.greeted().await;
            }
        }
        Self::new(client, secure, options).greeted().await
    }

    /// Checks whether a repository could be reached like this; nobody is asked.
    ///
    /// # Errors
    /// Host or name cannot be one; the file of certificates cannot be read.
    pub fn check(host: &str, name: &str, options: &RemoteOptions) -> Result<()> {
        options.client().check()?;
        Endpoint::new(host, false)?;
        if is_name(name) { Ok(()) } else { Err(no_name(name)) }
    }

    /// Learns what the registry wants to see; one that is not there is reported soon.
    async fn greeted(self) -> Result<Self> {
        let mut retry =
            retry(self.job(), format!("reach {}", self.host()), RetryPolicy::first_contact());
        loop {
            match self.ping().await {
                Ok(_) => return Ok(self),
                Err(error) => retry.after(error).await?,
            }
        }
    }

    fn new(client: Client, endpoint: Endpoint, options: &RemoteOptions) -> Self {
        Self(Arc::new(Inner {
            endpoint,
            client,
            auth: Auth::new(options.credentials.clone()),
            ignores_ranges: AtomicBool::new(false),
            referrers: AtomicU8::new(UNKNOWN),
        }))
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

    pub(crate) fn job(&self) -> &Job {
        self.0.client.job()
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(crate) fn auth(&self) -> &Auth {
        &self.0.auth
    }
}

impl Repository {
    /// Whether the registry has the referrers API; `None` before that is known.
    pub(crate) fn lists_referrers(&self) -> Option<bool> {
        match self.remote.0.referrers.load(Ordering::Relaxed) {
            UNKNOWN => None,
            answer => Some(answer == YES),
        }
    }

    pub(crate) fn set_lists_referrers(&self, answer: bool) {
        self.remote.0.referrers.store(if answer { YES } else { NO }, Ordering::Relaxed);
    }

    /// The registry answered a request for a piece of a blob with all of it.
    pub(crate) fn set_ignores_ranges(&self) {
        self.remote.0.ignores_ranges.store(true, Ordering::Relaxed);
    }

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

    pub(crate) fn pull(&self) -> Scope {
        Scope::pull(&self.path)
    }

    pub(crate) fn push(&self) -> Scope {
        Scope::push(&self.path)
    }

    pub(crate) fn url(&self, rest: &str) -> Url {
        self.remote.endpoint().url(&self.path, rest)
    }

    pub(crate) fn retry(&self, what: impl Into<String>) -> Retry<'static> {
        retry(self.remote.job(), what.into(), RetryPolicy::default())
    }
}

fn no_name(name: &str) -> OciError {
    let what = format!("`{}` is no repository name", name.escape_debug());
    OciError::new(OciErrorKind::Usage, what)
}

fn retry(job: &Job, what: String, policy: RetryPolicy) -> Retry<'static> {
    Retry::new(job.cancel(), what, policy)
        .help("is the registry up? what is there already is not moved again")
}
