//! Sending requests: redirects that stay safe, headers that stay where they belong.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use camino::Utf8PathBuf;
use imgbake_runtime::Job;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderMap};
use reqwest::{Certificate, RequestBuilder};
use url::Url;

use crate::body::{STALLED, Watch};
use crate::error::{HttpError, HttpErrorKind};
use crate::origin::{is_loopback, same_origin, shown};
use crate::request::{Body, Redirects, Request};
use crate::response::{Response, broken};
use crate::{Result, certificates, redirect};

/// Half as many as browsers follow.
const MAX_REDIRECTS: usize = 10;
/// How long a server may take to accept.
const CONNECT: Duration = Duration::from_secs(30);
/// How long a server may send nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// How servers are reached.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// A file of certificates (PEM) that are trusted beside those of this machine.
    pub ca: Option<Utf8PathBuf>,
}

impl ClientOptions {
    /// Checks the files that they name.
    ///
    /// # Errors
    /// [`HttpErrorKind::Usage`]: there is no such file, or it has no certificates.
    pub fn check(&self) -> Result<()> {
        self.certificates().map(drop)
    }

    fn certificates(&self) -> Result<Vec<Certificate>> {
        self.ca.as_deref().map_or(Ok(Vec::new()), certificates::read)
    }
}

/// A client of any number of servers. Clones share their connections. Proxies are those of the
/// environment (`HTTPS_PROXY`, `NO_PROXY`, …); what is sent to this machine itself goes through none.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    job: Job,
    certificates: Vec<Certificate>,
    pools: [OnceLock<reqwest::Client>; 4],
}

/// What kind of connection a request needs.
#[derive(Debug, Clone, Copy)]
struct Pool {
    /// Whether no proxy is in between.
    is_direct: bool,
    /// Whether a body is sent as it is read: no answer is late meanwhile.
    is_upload: bool,
}

impl Client {
    /// A client for one job: its cancellation ends every request, its secrets are in no error.
    ///
    /// # Errors
    /// Those of [`ClientOptions::check`].
    pub fn new(job: &Job, options: &ClientOptions) -> Result<Self> {
        let certificates = options.certificates()?;
        Ok(Self(Arc::new(Inner { job: job.clone(), certificates, pools: Default::default() })))
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.0.job
    }

    /// A URL for people, without secrets.
    pub fn shown(&self, url: &Url) -> String {
        self.job().secrets().redact(&shown(url))
    }

    /// One attempt: sends a request and follows redirects. Gives the first answer that is none,
    /// whatever its status.
    ///
    /// # Errors
    /// No server, no TLS with it, silence, a redirect that must not be followed, a body that cannot be
    /// read. Those that another attempt may mend are [`crate::Retryable`].
    pub async fn send(&self, request: &Request<'_>) -> Result<Response> {
        let mut url = request.url.clone();
        let mut stayed = true;
        for _ in 0..=MAX_REDIRECTS {
            let credentials = request.credentials_for(&url).filter(|_| stayed);
            let answer = self.send_once(request, &url, credentials).await?;
            if !redirect::is_followed(&request.method, answer.status()) {
                return Ok(answer);
            }
            let next = answer.location()?;
            if !same_origin(&url, &next) {
                stayed = false;
                if request.redirects == Redirects::SameOrigin {
                    let (from, to) = (self.shown(&url), self.shown(&next));
                    let context =
                        format!("{from} redirects to another host, which is refused: {to}");
                    return Err(HttpError::new(HttpErrorKind::Redirect, context));
                }
            }
            url = next;
        }
        let context =
            format!("{} redirects more than {MAX_REDIRECTS} times", self.shown(&request.url));
        Err(HttpError::new(HttpErrorKind::Redirect, context))
    }

    async fn send_once(
        &self,
        request: &Request<'_>,
        url: &Url,
        credentials: Option<&HeaderMap>,
    ) -> Result<Response> {
        let is_upload = matches!(request.body, Body::Piece { .. });
        let pool = Pool { is_direct: is_loopback(url), is_upload };
        let mut builder = self.pool(pool)?.request(request.method.clone(), url.clone());
        // Bytes are wanted as they are: what is packed on the way has another digest.
        builder = builder.header(ACCEPT_ENCODING, "identity").headers(request.headers.clone());
        if let Some(credentials) = credentials {
            builder = builder.headers(credentials.clone());
        }
        match &request.body {
            Body::Empty => self.plain(builder, url).await,
            Body::Bytes(bytes) => self.plain(builder.body(bytes.clone()), url).await,
            Body::Piece { source, from, len } => {
                let watch = Watch::default();
                let stream = watch.open(*source, *from, *len).await?;
                let builder = builder.header(CONTENT_LENGTH, *len);
                self.watched(builder.body(reqwest::Body::wrap_stream(stream)), url, &watch).await
            }
        }
    }

    async fn plain(&self, builder: RequestBuilder, url: &Url) -> Result<Response> {
        let sent = self.job().cancel().run(builder.send()).await?;
        let answer = sent.map_err(|error| broken(error, &self.shown(url)))?;
        Ok(Response::new(answer, self.job()))
    }

    async fn watched(&self, builder: RequestBuilder, url: &Url, watch: &Watch) -> Result<Response> {
        let sending = async {
            tokio::select! {
                sent = builder.send() => Some(sent),
                () = watch.stalled() => None,
            }
        };
        match self.job().cancel().run(sending).await? {
            Some(Ok(answer)) => Ok(Response::new(answer, self.job())),
            Some(Err(error)) => {
                Err(watch.failure().unwrap_or_else(|| broken(error, &self.shown(url))))
            }
            None => {
                let (name, seconds) = (self.shown(url), STALLED.as_secs());
                let context = format!("{name} took nothing more for {seconds} seconds");
                Err(HttpError::transient(HttpErrorKind::Timeout, context))
            }
        }
    }

    /// The connections for a kind of request.
    fn pool(&self, pool: Pool) -> Result<&reqwest::Client> {
        let cell = &self.0.pools[usize::from(pool.is_direct) * 2 + usize::from(pool.is_upload)];
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let built = self.build(pool).map_err(|error| {
            HttpError::new(HttpErrorKind::Usage, "cannot prepare for https").because(error)
        })?;
        Ok(cell.get_or_init(|| built))
    }

    /// Redirects are followed in [`Client::send`], where what is sent can be chosen.
    fn build(&self, pool: Pool) -> reqwest::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .tls_certs_merge(self.0.certificates.clone())
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .referer(false)
            .user_agent(concat!("imgbake/", env!("CARGO_PKG_VERSION")));
        if !pool.is_upload {
            builder = builder.read_timeout(SILENCE);
        }
        if pool.is_direct {
            builder = builder.no_proxy();
        }
        builder.build()
    }
}
