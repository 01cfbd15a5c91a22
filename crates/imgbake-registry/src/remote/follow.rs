//! Where a `Location` leads.

use imgbake_build::BuildError;
use url::Url;

use super::Remote;
use super::endpoint::shown;
use super::retry::Stop;

impl Remote {
    /// Where a `Location` leads (RFC 9110, section 10.2.2). One from https to http is refused.
    pub(super) fn follow(from: &Url, target: Option<&str>) -> Result<Url, Stop> {
        let wrong =
            |why: &str| Stop::Fatal(BuildError::failed(format!("{} leads on {why}", shown(from))));
        let target = target.ok_or_else(|| wrong("without saying where to"))?;
        let url = from.join(target).map_err(|_| wrong("to what is no URL"))?;
        match (from.scheme(), url.scheme()) {
            ("https", "http") => Err(wrong("from https to http, which is refused")),
            (_, "http" | "https") => Ok(url),
            _ => Err(wrong("to what is neither https nor http")),
        }
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
            match (Remote::follow(&from.parse().unwrap(), target), expected) {
                (Ok(url), Ok(expected)) => assert_eq!(url.as_str(), expected),
                (Err(Stop::Fatal(error)), Err(part)) => {
                    let told = error.to_string();
                    assert!(told.contains(part) && !told.contains("token=1"), "{told}");
                }
                (got, expected) => panic!("{from} {target:?}: {got:?}, not {expected:?}"),
            }
        }
    }
}
