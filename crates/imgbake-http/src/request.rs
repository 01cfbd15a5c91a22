//! What is asked of a server.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use url::Url;

use crate::body::BodySource;
use crate::origin::same_origin;

/// A request's body.
#[derive(Debug)]
pub enum Body<'a> {
    /// None.
    Empty,
    /// Bytes.
    Bytes(Bytes),
    /// `len` bytes of a source from `from` on, read as they are sent.
    Piece {
        /// Where they come from.
        source: &'a dyn BodySource,
        /// The first one's offset.
        from: u64,
        /// How many.
        len: u64,
    },
}

/// Where redirects are followed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// Wherever they lead. Credentials stay behind.
    Anywhere,
    /// Within the first URL's origin: for a body that holds a secret, and for an answer that says who
    /// may see one.
    SameOrigin,
}

/// One request.
#[derive(Debug)]
pub struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// What every server that it is redirected to may see.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body<'a>,
    /// Where redirects are followed to.
    pub redirects: Redirects,
    credentials: Option<(HeaderMap, Url)>,
}

impl<'a> Request<'a> {
    /// A request without headers or body.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Body::Empty,
            redirects: Redirects::Anywhere,
            credentials: None,
        }
    }

    /// A request for what is at a URL.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// Adds headers that may be seen by one origin alone. After a redirect that left it they are not
    /// sent again, though another leads back.
    #[must_use]
    pub fn credentials(mut self, headers: HeaderMap, origin: &Url) -> Self {
        self.set_credentials(headers, origin);
        self
    }

    /// The same, in the place of those that it had.
    pub fn set_credentials(&mut self, headers: HeaderMap, origin: &Url) {
        self.credentials = Some((headers, origin.clone()));
    }

    /// With what body.
    #[must_use]
    pub fn body(mut self, body: Body<'a>) -> Self {
        self.body = body;
        self
    }

    /// Where redirects are followed to.
    #[must_use]
    pub fn redirects(mut self, redirects: Redirects) -> Self {
        self.redirects = redirects;
        self
    }

    /// The credentials that a URL may see.
    pub(crate) fn credentials_for(&self, url: &Url) -> Option<&HeaderMap> {
        let (headers, origin) = self.credentials.as_ref()?;
        same_origin(origin, url).then_some(headers)
    }
}
