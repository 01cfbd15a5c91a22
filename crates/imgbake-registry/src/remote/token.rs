//! Getting tokens (distribution's token specification and its OAuth2 one).

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::Remote;
use super::auth::{Auth, LIFE, Scope, Token, basic};
use super::challenge::{Bearer, Challenge};
use super::credentials::{Credential, Who};
use super::endpoint::shown;
use super::http::{self, small_body};
use super::retry::Stop;
use super::words::words;
use imgbake_build::BuildError;

/// The longest answer of a token server that is read, in bytes.
const LONGEST: usize = 1 << 20;
/// What token servers know this program by.
const CLIENT: &str = "imgbake";

#[derive(Deserialize)]
pub(super) struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<f64>,
    /// What is to be exchanged the next time.
    #[serde(default)]
    refresh_token: String,
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
                return Ok(self.who(scope).await?.credential().and_then(basic));
            }
            Challenge::Bearer(bearer) => bearer,
        };
        if let Some(value) = Auth::fresh(&*self.auth().tokens.lock().await, scope) {
            return Ok(Some(value));
        }
        self.asked(bearer, scope, true).await.map(Some)
    }

    /// Forgets a token that was refused, unless another came in its place already.
    pub(super) async fn forget(&self, scope: &Scope, refused: &HeaderValue) {
        let mut tokens = self.auth().tokens.lock().await;
        if tokens.get(scope).is_some_and(|token| token.value == *refused) {
            tokens.remove(scope);
        }
    }

    /// Who the user is for a scope.
    pub(super) async fn who(&self, scope: &Scope) -> Result<Who, Stop> {
        let host = self.endpoint().host();
        Ok(self.auth().who(self.job(), (host, &scope.name)).await?)
    }

    /// A token that no other request uses.
    pub(super) async fn own_token(&self, scope: &Scope) -> Result<Option<HeaderValue>, Stop> {
        match self.auth().challenge() {
            Some(Challenge::Bearer(bearer)) => self.asked(bearer, scope, false).await.map(Some),
            _ => Ok(None),
        }
    }

    /// A token for all who need it, or for one. The token server is heard to the end even where nobody
    /// waits any more, as when an upload is refused whose bytes another registry shall give: it may have
    /// ended the identity token that it was shown. One is asked for at a time for the same reason.
    async fn asked(&self, bearer: Bearer, scope: &Scope, share: bool) -> Result<HeaderValue, Stop> {
        let (remote, scope) = (self.clone(), scope.clone());
        let asking = tokio::spawn(async move {
            let mut tokens = remote.auth().tokens.lock().await;
            if let Some(value) = Auth::fresh(&tokens, &scope).filter(|_| share) {
                return Ok(value); // somebody else asked meanwhile
            }
            let token = remote.token(&bearer, &scope).await?;
            let value = token.value.clone();
            if share {
                tokens.insert(scope, token);
            }
            Ok(value)
        });
        asking.await.unwrap_or_else(|_| Err(Stop::again("asking for a token ended too soon")))
    }

    async fn token(&self, bearer: &Bearer, scope: &Scope) -> Result<Token, Stop> {
        let realm = self.realm(bearer)?;
        let who = self.who(scope).await?;
        let request = self.exchange(&realm, bearer, scope, who.credential());
        let answer = self.job().cancel().run(request.send()).await?;
        let answer = answer.map_err(|error| http::broken(error, &shown(&realm)))?;
        let (status, server) = (answer.status(), shown(&realm));
        let identity = who.credential().filter(|credential| credential.login.is_identity);
        let why = match status.as_u16() {
            400 | 401 | 403 => Some(format!("its token server {server} answers {status}")),
            404 | 405 | 501 if identity.is_some() => Some(format!(
                "its token server {server} answers {status}: it takes no identity tokens"
            )),
            _ => None,
        };
        if let Some(why) = why {
            let why = match words(answer).await {
                words if words.is_empty() => why,
                words => format!("{why}, {words}"),
            };
            let host = self.endpoint().host();
            return Err(Auth::refused(host, scope, &who, &why).into());
        }
        if !status.is_success() {
            return Err(http::refused(answer, &server).await);
        }
        let body = small_body(self.job(), answer, LONGEST).await?;
        let answer = Answer::read(&body);
        let token = answer.as_ref().and_then(Answer::token).ok_or_else(|| {
            BuildError::failed(format!("the token server {server} gives no token"))
        })?;
        if let (Some(old), Some(answer)) = (identity, answer) {
            self.auth().renew(self.job(), old, &answer.refresh_token).await;
        }
        Ok(token)
    }

    /// The question for a token: an identity token is exchanged (distribution's OAuth2 specification,
    /// "Getting a refresh token" and on), a login or nobody asks (its token specification).
    fn exchange(
        &self,
        realm: &Url,
        bearer: &Bearer,
        scope: &Scope,
        login: Option<&Credential>,
    ) -> RequestBuilder {
        let words = scope.words();
        if let Some(credential) = login.filter(|credential| credential.login.is_identity) {
            let mut form = Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token");
            form.append_pair("service", bearer.service.as_deref().unwrap_or_default());
            form.append_pair("client_id", CLIENT).append_pair("scope", &words.join(" "));
            form.append_pair("refresh_token", credential.login.secret.expose_secret());
            let request = self.client().request(Method::POST, realm.clone());
            return request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.finish());
        }
        let mut url = realm.clone();
        let mut query = url.query_pairs_mut();
        query.extend_pairs(bearer.service.iter().map(|service| ("service", service)));
        query.extend_pairs(words.iter().map(|word| ("scope", word)));
        drop(query);
        let request = self.client().request(Method::GET, url);
        match login.and_then(basic) {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
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

impl Answer {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    pub(super) fn token(&self) -> Option<Token> {
        let text = if self.token.is_empty() { &self.access_token } else { &self.token };
        let life = self.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        // No token is used for longer than a day, whatever its server says.
        let life = life.filter(|life| !life.is_zero()).unwrap_or(LIFE).min(LIFE * 60 * 24);
        (!text.is_empty()).then(|| Token::new(text, life))?
    }
}
