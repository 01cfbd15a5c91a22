//! What a registry wants to see before it answers: the `WWW-Authenticate` header (RFC 9110, section
//! 11.6.1; distribution's token specification).

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
}

impl Challenge {
    /// The first challenge of a header that is known here.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        challenges(header).into_iter().find_map(|(scheme, parameters)| {
            let get = |key: &str| {
                let found = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
                found.map(|(_, value)| value.clone())
            };
            match scheme.to_ascii_lowercase().as_str() {
                "basic" => Some(Self::Basic),
                "bearer" => {
                    Some(Self::Bearer(Bearer { realm: get("realm")?, service: get("service") }))
                }
                _ => None,
            }
        })
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
    for part in parts(header) {
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

/// Splits at the commas that stand outside quotes.
fn parts(header: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    header
        .split(move |c| {
            let was_escaped = escaped;
            escaped = quoted && !was_escaped && c == '\\';
            if c == '"' && !was_escaped {
                quoted = !quoted;
            }
            c == ',' && !quoted
        })
        .collect()
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

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer(Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) })
    }

    #[test]
    fn reads_headers() {
        for (header, expected) in [
            ("Basic realm=\"basic-realm\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://auth.example/token\",service=\"reg\",scope=\"repository:a/b:pull,push\"",
                Some(bearer("https://auth.example/token", Some("reg"))),
            ),
            (
                "Bearer realm=\"https://a/t\", scope=\"repository:a:pull repository:b:pull\"",
                Some(bearer("https://a/t", None)),
            ),
            ("Negotiate, BEARER Realm=https://a/t", Some(bearer("https://a/t", None))),
            ("Digest realm=\"x, Basic\", nonce=\"1\", Basic realm=\"y\"", Some(Challenge::Basic)),
            ("Bearer realm=\"a\\\"b\"", Some(bearer("a\"b", None))),
            ("Bearer service=\"no realm\"", None),
            ("Bearer realm=\"", Some(bearer("\"", None))),
            ("", None),
            (",,,=", None),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
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
