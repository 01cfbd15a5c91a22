//! One HTTP client for everything that imgbake asks of servers.
//!
//! A [`Client`] sends a [`Request`] and gives the first [`Response`] that is no redirect. Redirects are
//! followed with every method; credentials go to one origin and nowhere else. An attempt that failed
//! says whether another may go better ([`Retryable`]), and a [`Retry`] decides how often and how long to
//! wait. Errors are [`HttpError`]s: a kind to act on, a message, a cause.
//!
//! No other crate knows which library speaks HTTP.

mod body;
mod certificates;
mod client;
mod error;
mod origin;
mod redirect;
mod request;
mod response;
mod retry;

pub use body::{BodySource, SourceStream};
pub use client::{Client, ClientOptions};
pub use error::{BoxError, HttpError, HttpErrorKind};
pub use origin::{is_loopback, same_origin, shown};
pub use redirect::resolve as resolve_redirect;
pub use request::{Body, Redirects, Request};
pub use reqwest::{Method, StatusCode, header};
pub use response::Response;
pub use retry::{Retry, RetryPolicy, Retryable, Transient};
pub use url::Url;

/// What this crate's functions give.
type Result<T, E = HttpError> = std::result::Result<T, E>;
