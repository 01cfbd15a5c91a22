//! Where a registry is: its URLs, and whether it may be spoken to without TLS.

use imgbake_http::{Url, is_loopback, same_origin};

use crate::Result;
use crate::{OciError, OciErrorKind};

/// Docker Hub is known by a name that is not its host's.
const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";
/// Where Docker Hub keeps what has a name of one word.
const HUB_LIBRARY: &str = "library/";

/// How a registry is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The host as references name it.
    host: String,
    base: Url,
}

impl Endpoint {
    /// The registry of a reference's host, over TLS or not.
    pub(crate) fn new(host: &str, plain: bool) -> Result<Self> {
        let scheme = if plain { "http" } else { "https" };
        let address = if host == HUB { HUB_HOST } else { host };
        let wrong = || {
            let text = format!("`{}` is no registry host", host.escape_debug());
            OciError::new(OciErrorKind::Usage, text)
                .help("a registry is a host name, perhaps with a port: registry.example:5000")
        };
        if host.is_empty() || host.contains(['/', '@', '?', '#', '\\']) {
            return Err(wrong());
        }
        let base = Url::parse(&format!("{scheme}://{address}/v2/")).map_err(|_| wrong())?;
        Ok(Self { host: host.to_owned(), base })
    }

    /// The host as references name it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether nothing that is said to it leaves this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    /// Whether it is spoken to without TLS.
    pub(crate) fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// Whether a URL is this registry's own: what may see its credentials.
    pub(crate) fn owns(&self, url: &Url) -> bool {
        same_origin(url, &self.base)
    }

    /// The URL by which a client asks whether this is a registry (distribution-spec v1.1,
    /// "Determining Support").
    pub(crate) fn base(&self) -> Url {
        self.base.clone()
    }

    /// The name that the registry itself has for a repository.
    pub(crate) fn repository(&self, name: &str) -> String {
        let short = self.host == HUB && !name.contains('/');
        format!("{}{name}", if short { HUB_LIBRARY } else { "" })
    }

    /// `/v2/NAME/REST`. Names and digests hold nothing that a URL would have to escape.
    pub(crate) fn url(&self, name: &str, rest: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{name}/{rest}"));
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_loopback_and_hub() {
        for (host, loopback) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("registry.example", false),
            ("127.0.0.1.example", false),
            ("10.0.0.1:5000", false),
        ] {
            assert_eq!(Endpoint::new(host, false).unwrap().is_loopback(), loopback, "{host}");
        }
        let hub = Endpoint::new("docker.io", false).unwrap();
        assert_eq!(hub.base().as_str(), "https://registry-1.docker.io/v2/");
        assert_eq!(hub.repository("debian"), "library/debian");
        assert_eq!(hub.repository("me/debian"), "me/debian");
    }

    #[test]
    fn refuses_what_is_no_host() {
        for host in ["a@b", "a/b", "h?x", "h:port", ""] {
            assert!(Endpoint::new(host, false).is_err(), "{host}");
        }
    }
}
