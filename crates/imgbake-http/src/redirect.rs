//! Where a `Location` leads, and with what.

use reqwest::{Method, StatusCode};
use url::Url;

use crate::Result;
use crate::error::{HttpError, HttpErrorKind};
use crate::origin::shown;

/// Where a `Location` leads (RFC 9110, section 10.2.2). One from https to http is refused.
///
/// # Errors
/// [`HttpErrorKind::Redirect`]: there is none, it is no URL, or it must not be followed.
pub fn resolve(from: &Url, target: Option<&str>) -> Result<Url> {
    let wrong = |why: &str| {
        HttpError::new(HttpErrorKind::Redirect, format!("{} redirects {why}", shown(from)))
    };
    let target = target.ok_or_else(|| wrong("without saying where to"))?;
    let url = from.join(target).map_err(|_| wrong("to what is no URL"))?;
    match (from.scheme(), url.scheme()) {
        ("https", "http") => Err(wrong("from https to http, which is refused")),
        (_, "http" | "https") => Ok(url),
        _ => Err(wrong("to what is neither https nor http")),
    }
}

/// Whether an answer is a redirect to be followed with the same method and body. Methods never change
/// (RFC 9110, section 15.4, allows that of POST alone, and asks for it with 303): a write that became a
/// read would look like one that succeeded.
pub(crate) fn is_followed(method: &Method, status: StatusCode) -> bool {
    match status.as_u16() {
        301 | 302 | 307 | 308 => true,
        303 => matches!(*method, Method::GET | Method::HEAD),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leads_to_safe_places_alone() {
        let (https, http) = ("https://h.example/v2/a/x?token=1", "http://h.example/v2/a/x");
        for (from, target, expected) in [
            (https, Some("y"), Ok("https://h.example/v2/a/y")),
            (https, Some("https://other.example/x?sig=2"), Ok("https://other.example/x?sig=2")),
            (http, Some("https://h.example/x"), Ok("https://h.example/x")),
            (http, Some("http://other.example/x"), Ok("http://other.example/x")),
            (https, Some("http://h.example/v2/a/x"), Err("from https to http")),
            (https, Some("http://other.example/x"), Err("from https to http")),
            (https, Some("file:///etc/shadow"), Err("neither https nor http")),
            (https, Some("https://["), Err("no URL")),
            (https, None, Err("without saying")),
        ] {
            match (resolve(&from.parse().unwrap(), target), expected) {
                (Ok(url), Ok(expected)) => assert_eq!(url.as_str(), expected),
                (Err(error), Err(part)) => {
                    let message = error.to_string();
                    assert_eq!(error.kind(), HttpErrorKind::Redirect);
                    assert!(message.contains(part) && !message.contains("token=1"), "{message}");
                }
                (got, expected) => panic!("{from} {target:?}: {got:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn methods_never_change() {
        for (method, status, expected) in [
            (Method::GET, 303, true),
            (Method::HEAD, 302, true),
            (Method::PUT, 307, true),
            (Method::POST, 308, true),
            (Method::PATCH, 301, true),
            (Method::POST, 303, false),
            (Method::GET, 300, false),
            (Method::GET, 304, false),
            (Method::GET, 200, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_followed(&method, status), expected, "{method} {status}");
        }
    }
}
