//! Getting tokens (distribution's token specification and its OAuth2 one).

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::Remote;
use super::auth::{Auth, LIFE, Scope, Token, basic};
use super::challenge::{Bearer, Challenge};
use super::credentials::Credential;
use super::endpoint::shown;
use super::http::{self, small_body};
use super::retry::Stop;
use imgbake_build::BuildError;

/// The longest answer of a token server that is read, in bytes.
const LONGEST: usize = 1 << 20;
/// What token servers know this program by.
const CLIENT: &str = "imgbake";

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<f64>,
}

impl Remote {
    /// What a request of this scope carries. The registry is asked what it wants where that is not
    /// known yet.
    pub(super) async fn authorization(&self, scope: &Scope) -> Result<Option<HeaderValue>, Stop> {
        let challenge = match self.auth().challenge() {
            Some(known) => known,
            None => self.ping().await?,
        };
        let bearer = match challenge {
            Challenge::Open => return Ok(None),
            Challenge::Basic => {
                let login = self.login(scope).await?;
                return Ok(login.as_ref().and_then(basic));
            }
            Challenge::Bearer(bearer) => bearer,
        };
        let mut tokens = self.auth().tokens.lock().await;
        if let Some(value) = Auth::fresh(&tokens, scope) {
            return Ok(Some(value));
        }
        let token = self.token(&bearer, scope).await?;
        tokens.insert(scope.clone(), token.clone());
        Ok(Some(token.value))
    }

    /// Forgets a token that was refused, unless another came in its place already.
    pub(super) async fn forget(&self, scope: &Scope, refused: &HeaderValue) {
        let mut tokens = self.auth().tokens.lock().await;
        if tokens.get(scope).is_some_and(|token| token.value == *refused) {
            tokens.remove(scope);
        }
    }

    /// The user's login for a scope.
    pub(super) async fn login(&self, scope: &Scope) -> Result<Option<Credential>, Stop> {
        let host = self.endpoint().host();
        Ok(self.auth().login(self.job(), (host, &scope.name)).await?)
    }

    async fn token(&self, bearer: &Bearer, scope: &Scope) -> Result<Token, Stop> {
        let realm = self.realm(bearer)?;
        let login = self.login(scope).await?;
        let words = scope.words();
        let request = match &login {
            Some(credential) if credential.login.is_identity => {
                let mut form = Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("service", bearer.service.as_deref().unwrap_or_default());
                form.append_pair("client_id", CLIENT).append_pair("scope", &words.join(" "));
                form.append_pair("refresh_token", credential.login.secret.expose_secret());
                let request = self.client().request(Method::POST, realm.clone());
                request
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.finish())
            }
            _ => {
                let mut url = realm.clone();
                let mut query = url.query_pairs_mut();
                query.extend_pairs(bearer.service.iter().map(|service| ("service", service)));
                query.extend_pairs(words.iter().map(|word| ("scope", word)));
                drop(query);
                let request = self.client().request(Method::GET, url);
                match login.as_ref().and_then(basic) {
                    Some(value) => request.header(AUTHORIZATION, value),
                    None => request,
                }
            }
        };
        let answer = self.job().cancel().run(request.send()).await?;
        let answer = answer.map_err(|error| http::broken(error, &shown(&realm)))?;
        let status = answer.status();
        if matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST
        ) {
            let why = format!("its token server {} answers {status}", shown(&realm));
            let host = self.endpoint().host();
            return Err(self.auth().refused(host, scope, login.as_ref(), &why).into());
        }
        if !status.is_success() {
            return Err(http::refused(answer, &shown(&realm)).await);
        }
        let body = small_body(self.job(), answer, LONGEST).await?;
        token_of(&body).ok_or_else(|| {
            BuildError::failed(format!("the token server {} gives no token", shown(&realm))).into()
        })
    }

    /// The token server's URL: a login goes there, so it must be spoken to as safely as the registry.
    fn realm(&self, bearer: &Bearer) -> Result<Url, Stop> {
        let wrong = |why: &str| {
            let host = self.endpoint().host();
            Stop::Fatal(BuildError::failed(format!(
                "the registry {host} names a token server {why}: `{}`",
                bearer.realm.escape_debug()
            )))
        };
        let url = Url::parse(&bearer.realm).map_err(|_| wrong("that is no URL"))?;
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.endpoint().is_plain() => Ok(url),
            "http" => Err(wrong("without TLS, which would show the login to all")),
            _ => Err(wrong("that speaks no https")),
        }
    }
}

pub(super) fn token_of(body: &[u8]) -> Option<Token> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let text = if answer.token.is_empty() { answer.access_token } else { answer.token };
    let life = answer.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // No token is used for longer than a day, whatever its server says.
    let life = life.filter(|life| !life.is_zero()).unwrap_or(LIFE).min(LIFE * 60 * 24);
    (!text.is_empty()).then(|| Token::new(&text, life))?
}
