//! Whom the test registry lets in: logins, and tokens with scopes that end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Habits, Lets, Shared, held, plain, query, told, unescaped};

/// Tokens that were given.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    given: HashMap<String, Token>,
    next: u64,
    /// The identity token that serves now, where it is another than the first.
    identity: Option<String>,
}

/// Until when a token serves, how often, and for what.
#[derive(Debug)]
struct Token {
    until: Instant,
    left: u64,
    scopes: Vec<String>,
}

impl Token {
    /// Whether it serves for what is needed; then it was used once more.
    fn serves(&mut self, needed: &[String]) -> bool {
        let serves = Instant::now() < self.until
            && self.left > 0
            && needed.iter().all(|one| self.scopes.contains(one));
        self.left -= u64::from(serves);
        serves
    }
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
        Lets::Token(..) | Lets::Identity(..) => {
            let token = carried.and_then(|carried| carried.strip_prefix("Bearer "));
            let mut tokens = held(&shared.tokens);
            let known = token.and_then(|token| tokens.given.get_mut(token));
            let allowed = known.is_some_and(|known| known.serves(needed));
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

/// Gives a token to whoever has the right login, or the right identity token.
pub(super) async fn token(shared: &Shared, uri: &Uri, headers: &HeaderMap, body: Body) -> Response {
    let form = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let form = String::from_utf8_lossy(&form).replace('+', " ");
    let lets = held(&shared.habits).lets.clone();
    match lets {
        Lets::Token(user, password, life) => {
            let carried = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
            if carried != Some(&basic(user, password)) {
                return told(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "wrong login");
            }
            give(shared, &all(uri.query().unwrap_or_default(), "scope"), life)
        }
        Lets::Identity(first, life) => {
            let one = |key: &str| all(&form, key).pop().unwrap_or_default();
            let serves = held(&shared.tokens).identity.clone();
            let serves = serves.unwrap_or_else(|| first.to_owned());
            let right = one("grant_type") == "refresh_token" && one("refresh_token") == serves;
            if !right || one("service") != "test" || one("client_id").is_empty() {
                return refuse_grant();
            }
            let scopes = one("scope");
            give(shared, &scopes.split(' ').map(str::to_owned).collect::<Vec<_>>(), life)
        }
        _ => plain(StatusCode::NOT_FOUND),
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
    let habits = held(&shared.habits).clone();
    let mut scopes = Vec::new();
    for scope in asked {
        let (what, actions) = scope.rsplit_once(':').unwrap();
        scopes.extend(actions.split(',').map(|action| format!("{what}:{action}")));
    }
    let mut tokens = held(&shared.tokens);
    tokens.next += 1;
    let text = format!("token-{}", tokens.next);
    let left = if habits.token_uses == 0 { u64::MAX } else { habits.token_uses };
    tokens.given.insert(text.clone(), Token { until: Instant::now() + life, left, scopes });
    let mut body = serde_json::json!({ "expires_in": life.as_secs_f64() });
    if matches!(habits.lets, Lets::Identity(..)) {
        body["access_token"] = text.into();
        if habits.rotates {
            let next = format!("identity-{}", tokens.next);
            body["refresh_token"] = next.clone().into();
            tokens.identity = Some(next);
        }
    } else {
        body["token"] = text.into();
    }
    Response::new(Body::from(body.to_string()))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
