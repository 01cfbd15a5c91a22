//! What a registry wants to see before it answers: the `WWW-Authenticate` header (RFC 9110, section
//! 11.6.1; distribution's token specification).

use crate::links::split_outside_quotes;

/// How a registry wants its users to show who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Not at all.
    Open,
    /// A user and a password with each request (RFC 7617).
    Basic,
    /// A token with each request (RFC 6750), given by somebody else.
    Bearer(Bearer),
}

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The token server's URL.
    pub(crate) realm: String,
    /// The registry's name there.
    pub(crate) service: Option<String>,
    /// What a token must allow for the request that was refused: words with blanks between them.
    pub(crate) scope: Option<String>,
}

impl Challenge {
    /// The best challenge of some headers that is known here: a token is worth more than a login, which a
    /// registry may offer and then refuse.
    pub(crate) fn best<'h>(headers: impl Iterator<Item = &'h str>) -> Option<Self> {
        let known: Vec<Self> = headers.flat_map(challenges).filter_map(Self::of).collect();
        let is_bearer = |challenge: &&Self| matches!(challenge, Self::Bearer(_));
        known.iter().find(is_bearer).or(known.first()).cloned()
    }

    fn of((scheme, parameters): (String, Parameters)) -> Option<Self> {
        let get = |key: &str| {
            let found = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
            found.map(|(_, value)| value.clone())
        };
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => Some(Self::Basic),
            "bearer" => Some(Self::Bearer(Bearer {
                realm: get("realm")?,
                service: get("service"),
                scope: get("scope").filter(|scope| !scope.is_empty()),
            })),
            _ => None,
        }
    }
}

/// Whether a token was refused for what it allows, so that another of its kind would be as well (RFC
/// 6750, section 3.1).
pub(crate) fn lacks_scope(header: &str) -> bool {
    let mut all = challenges(header).into_iter().flat_map(|(_, parameters)| parameters);
    all.any(|(key, value)| key.eq_ignore_ascii_case("error") && value == "insufficient_scope")
}

type Parameters = Vec<(String, String)>;

/// Each scheme of a header with its parameters.
fn challenges(header: &str) -> Vec<(String, Parameters)> {
    let mut all: Vec<(String, Parameters)> = Vec::new();
    for part in split_outside_quotes(header, ',') {
        let (before, value) = match part.split_once('=') {
            Some((before, value)) => (before.trim(), Some(unquoted(value.trim()))),
            None => (part.trim(), None),
        };
        // `Scheme key="value"` begins a challenge; `key="value"` goes on with one.
        let (scheme, key) = match before.rsplit_once(char::is_whitespace) {
            Some((scheme, key)) => (Some(scheme.trim()), Some(key)),
            None if value.is_none() => (Some(before), None),
            None => (None, Some(before)),
        };
        if let Some(scheme) = scheme.filter(|scheme| !scheme.is_empty()) {
            all.push((scheme.to_owned(), Vec::new()));
        }
        if let (Some(key), Some(value), Some((_, parameters))) = (key, value, all.last_mut()) {
            parameters.push((key.to_owned(), value));
        }
    }
    all
}

fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut escaped = false;
    inner
        .chars()
        .filter(|&c| {
            escaped = c == '\\' && !escaped;
            !escaped
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let (service, scope) = (owned(service), owned(scope));
        Challenge::Bearer(Bearer { realm: realm.to_owned(), service, scope })
    }

    #[test]
    fn reads_headers() {
        for (header, expected) in [
            ("Basic realm=\"basic-realm\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://auth.example/token\",service=\"reg\",scope=\"repository:a/b:pull,push\"",
                Some(bearer(
                    "https://auth.example/token",
                    Some("reg"),
                    Some("repository:a/b:pull,push"),
                )),
            ),
            (
                "Bearer realm=\"https://a/t\", scope=\"repository:a:pull repository:b:pull\"",
                Some(bearer("https://a/t", None, Some("repository:a:pull repository:b:pull"))),
            ),
            (
                "Basic realm=\"reg\", Bearer realm=\"https://a/t\"",
                Some(bearer("https://a/t", None, None)),
            ),
            ("Negotiate, BEARER Realm=https://a/t", Some(bearer("https://a/t", None, None))),
            ("Digest realm=\"x, Basic\", nonce=\"1\", Basic realm=\"y\"", Some(Challenge::Basic)),
            ("Bearer realm=\"a\\\"b\"", Some(bearer("a\"b", None, None))),
            ("Bearer service=\"no realm\"", None),
            ("Bearer realm=\"", Some(bearer("\"", None, None))),
            ("", None),
            (",,,=", None),
        ] {
            assert_eq!(Challenge::best([header].into_iter()), expected, "{header}");
        }
    }

    #[test]
    fn tells_a_token_that_ended_from_one_that_allows_too_little() {
        let refused = |error: &str| format!("Bearer realm=\"https://a/t\",error=\"{error}\"");
        assert!(lacks_scope(&refused("insufficient_scope")));
        assert!(!lacks_scope(&refused("invalid_token")));
        assert!(!lacks_scope("Bearer realm=\"https://a/t\",scope=\"insufficient_scope\""));
    }
}
