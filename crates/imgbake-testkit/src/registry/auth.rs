//! Whom the test registry lets in: logins, and tokens with scopes that end.

use std::collections::HashMap;
use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Habits, Lets, Shared, held, plain, query, told, unescaped};

/// Tokens that were given, until when they serve, and for what.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    given: HashMap<String, (Instant, Vec<String>)>,
    next: u64,
}

/// What a request needs: `repository:NAME:ACTION` each.
pub(super) fn needed(method: &Method, split: Option<(&str, &str)>, uri: &Uri) -> Vec<String> {
    let Some((name, _)) = split else { return Vec::new() };
    let writes = !matches!(*method, Method::GET | Method::HEAD);
    let uploads = uri.path().contains("/blobs/uploads/");
    let action = if writes || uploads { "push" } else { "pull" };
    let from = query(uri, "from").map(|from| format!("repository:{from}:pull"));
    std::iter::once(format!("repository:{name}:{action}")).chain(from).collect()
}

pub(super) fn check(
    shared: &Shared,
    habits: &Habits,
    headers: &HeaderMap,
    needed: &[String],
) -> Result<(), Box<Response>> {
    let carried = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (allowed, challenge) = match &habits.lets {
        Lets::All => (true, String::new()),
        Lets::Login(user, password) => {
            (carried == Some(&basic(user, password)), "Basic realm=\"test\"".to_owned())
        }
        Lets::Token(..) => {
            let token = carried.and_then(|carried| carried.strip_prefix("Bearer "));
            let tokens = held(&shared.tokens);
            let known = token.and_then(|token| tokens.given.get(token));
            let allowed = known.is_some_and(|(until, scopes)| {
                Instant::now() < *until && needed.iter().all(|one| scopes.contains(one))
            });
            let realm = format!("http://{}/token", shared.addresses[0]);
            (allowed, format!("Bearer realm=\"{realm}\",service=\"test\""))
        }
    };
    if allowed {
        return Ok(());
    }
    let mut refused = told(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
    Err(Box::new(refused))
}

/// Gives a token to whoever has the right login.
pub(super) fn token(shared: &Shared, uri: &Uri, headers: &HeaderMap) -> Response {
    let Lets::Token(user, password, life) = held(&shared.habits).lets.clone() else {
        return plain(StatusCode::NOT_FOUND);
    };
    let carried = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if carried != Some(&basic(user, password)) {
        return told(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "wrong login");
    }
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let asked = pairs.filter(|(key, _)| *key == "scope").map(|(_, value)| unescaped(value));
    let mut scopes = Vec::new();
    for scope in asked {
        let (what, actions) = scope.rsplit_once(':').unwrap();
        scopes.extend(actions.split(',').map(|action| format!("{what}:{action}")));
    }
    let mut tokens = held(&shared.tokens);
    tokens.next += 1;
    let token = format!("token-{}", tokens.next);
    tokens.given.insert(token.clone(), (Instant::now() + life, scopes));
    let body = serde_json::json!({ "token": token, "expires_in": life.as_secs_f64() });
    Response::new(Body::from(body.to_string()))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
