//! What of a URL people may see, and where it leads.

use std::net::IpAddr;

use url::{Host, Url};

/// A URL for people: without user, password, query and fragment, which can hold secrets.
pub fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// Whether nothing that is sent to a URL leaves this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        None => false,
    }
}

/// Whether two URLs have one scheme, host and port.
pub fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_no_secret() {
        let url = "https://u:pw@h:5000/v2/a/blobs/uploads/1?_state=secret#f".parse().unwrap();
        assert_eq!(shown(&url), "https://h:5000/v2/a/blobs/uploads/1");
    }

    #[test]
    fn knows_loopback() {
        for (host, expected) in [
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("registry.example", false),
            ("127.0.0.1.example", false),
            ("10.0.0.1:5000", false),
        ] {
            let url = format!("http://{host}/").parse().unwrap();
            assert_eq!(is_loopback(&url), expected, "{host}");
        }
    }
}
