//! Whom the test registry lets in: logins, and tokens with scopes that end.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::call::{query, unescaped};
use super::habits::{Accepts, Habits, Odd};
use super::responses::{empty, error};
use super::shared::Shared;
use crate::lock::lock;

/// What a request needs: `repository:NAME:ACTION` each.
pub(super) fn needed(
    habits: &Habits,
    method: &Method,
    split: Option<(&str, &str)>,
    uri: &Uri,
) -> Vec<String> {
    let Some((name, rest)) = split else { return Vec::new() };
    let writes = !matches!(*method, Method::GET | Method::HEAD);
    let uploads = uri.path().contains("/blobs/uploads/");
    let action = match rest {
        _ if writes || uploads => "push",
        "tags/list" if habits.odd == Some(Odd::TagsScope) => "metadata_read",
        _ => "pull",
    };
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
    let (allowed, challenge) = match &habits.accepts {
        Accepts::All => (true, String::new()),
        Accepts::Login(user, password) => {
            (carried == Some(&basic(user, password)), "Basic realm=\"test\"".to_owned())
        }
        Accepts::Token(..) | Accepts::Identity(..) => {
            let token = carried.and_then(|carried| carried.strip_prefix("Bearer "));
            let allowed = token.is_some_and(|token| lock(&shared.tokens).accepts(token, needed));
            let realm = format!("http://{}/token", shared.addresses[0]);
            let bearer = format!("Bearer realm=\"{realm}\",service=\"test\"");
            let challenge = match habits.odd {
                Some(Odd::BasicFirst) => format!("Basic realm=\"test\", {bearer}"),
                Some(Odd::TagsScope) if !needed.is_empty() => {
                    let lacks = if token.is_some() { ",error=\"insufficient_scope\"" } else { "" };
                    format!("{bearer},scope=\"{}\"{lacks}", needed.join(" "))
                }
                _ => bearer,
            };
            (allowed, challenge)
        }
    };
    if allowed {
        return Ok(());
    }
    let mut refused = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
    Err(Box::new(refused))
}

/// Gives a token to whoever has the right login, or the right identity token.
pub(super) async fn token(shared: &Shared, uri: &Uri, headers: &HeaderMap, body: Body) -> Response {
    let form = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let form = String::from_utf8_lossy(&form).replace('+', " ");
    let lets = lock(&shared.habits).accepts.clone();
    match lets {
        Accepts::Token(user, password, life) => {
            let carried = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            if carried != Some(&basic(user, password)) {
                return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "wrong login");
            }
            give(shared, &all(uri.query().unwrap_or_default(), "scope"), life)
        }
        Accepts::Identity(first, life) => {
            let one = |key: &str| all(&form, key).pop().unwrap_or_default();
            let valid = lock(&shared.tokens).identity(first);
            let right = one("grant_type") == "refresh_token" && one("refresh_token") == valid;
            if !right || one("service") != "test" || one("client_id").is_empty() {
                return refuse_grant();
            }
            let scopes = one("scope");
            give(shared, &scopes.split(' ').map(str::to_owned).collect::<Vec<_>>(), life)
        }
        _ => empty(StatusCode::NOT_FOUND),
    }
}

/// RFC 6749, section 5.2.
fn refuse_grant() -> Response {
    let body = serde_json::json!({
        "error": "invalid_grant", "error_description": "the identity token serves no more"
    });
    let response = Response::builder().status(StatusCode::BAD_REQUEST);
    response.body(Body::from(body.to_string())).unwrap()
}

/// The values of a key in a query or form.
fn all(text: &str, key: &str) -> Vec<String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == key).map(|(_, value)| unescaped(value)).collect()
}

fn give(shared: &Shared, asked: &[String], life: Duration) -> Response {
    let habits = lock(&shared.habits).clone();
    let mut scopes = Vec::new();
    for scope in asked {
        let (what, actions) = scope.rsplit_once(':').unwrap();
        scopes.extend(actions.split(',').map(|action| format!("{what}:{action}")));
    }
    let mut tokens = lock(&shared.tokens);
    let uses = if habits.token_uses == 0 { u64::MAX } else { habits.token_uses };
    let text = tokens.issue(life, uses, scopes);
    let mut body = serde_json::json!({ "expires_in": life.as_secs_f64() });
    if matches!(habits.accepts, Accepts::Identity(..)) {
        body["access_token"] = text.into();
        if habits.rotates {
            body["refresh_token"] = tokens.rotate_identity().into();
        }
    } else {
        body["token"] = text.into();
    }
    Response::new(Body::from(body.to_string()))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
