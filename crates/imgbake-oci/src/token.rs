//! Getting tokens (distribution's token specification and its OAuth2 one).

use std::time::Duration;

use imgbake_http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use imgbake_http::{Body, Method, Redirects, Request, Url, shown};
use secrecy::ExposeSecret;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use crate::auth::{Auth, LIFE, Scope, Token, basic};
use crate::challenge::{Bearer, Challenge};
use crate::credentials::{Credential, Identity};
use crate::error_body::message_of;
use crate::remote::Remote;
use crate::request::status_error;
use crate::{OciError, Result};

/// The longest answer of a token server that is read, in bytes.
const LONGEST: usize = 1 << 20;
/// What token servers know this program by.
const CLIENT: &str = "imgbake";

#[derive(Deserialize)]
pub(crate) struct Answer {
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
    pub(crate) async fn authorization(&self, scope: &Scope) -> Result<Option<HeaderValue>> {
        let challenge = match self.auth().challenge() {
            Some(known) => known,
            None => self.ping().await?,
        };
        let bearer = match challenge {
            Challenge::Open => return Ok(None),
            Challenge::Basic => {
                return Ok(self.identity(scope).await?.credential().and_then(basic));
            }
            Challenge::Bearer(bearer) => bearer,
        };
        if let Some(value) = Auth::fresh(&*self.auth().tokens.lock().await, scope) {
            return Ok(Some(value));
        }
        self.asked(bearer, scope, true).await.map(Some)
    }

    /// Forgets a token that was refused, unless another came in its place already.
    pub(crate) async fn forget(&self, scope: &Scope, refused: &HeaderValue) {
        let mut tokens = self.auth().tokens.lock().await;
        if tokens.get(scope).is_some_and(|token| token.value == *refused) {
            tokens.remove(scope);
        }
    }

    /// Who the user is for a scope.
    pub(crate) async fn identity(&self, scope: &Scope) -> Result<Identity> {
        let host = self.endpoint().host();
        self.auth().identity(self.job(), (host, &scope.name)).await
    }

    /// A token that no other request uses.
    pub(crate) async fn own_token(&self, scope: &Scope) -> Result<Option<HeaderValue>> {
        match self.auth().challenge() {
            Some(Challenge::Bearer(bearer)) => self.asked(bearer, scope, false).await.map(Some),
            _ => Ok(None),
        }
    }

    /// A token for all who need it, or for one. The token server is heard to the end even where nobody
    /// waits any more, as when an upload is refused whose bytes another registry shall give: it may have
    /// ended the identity token that it was shown. One is asked for at a time for the same reason.
    async fn asked(&self, bearer: Bearer, scope: &Scope, share: bool) -> Result<HeaderValue> {
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
        asking
            .await
            .unwrap_or_else(|_| Err(OciError::transient("asking for a token ended too soon")))
    }

    async fn token(&self, bearer: &Bearer, scope: &Scope) -> Result<Token> {
        let realm = self.realm(bearer)?;
        let who = self.identity(scope).await?;
        let request = Self::exchange(&realm, bearer, scope, who.credential());
        let mut answer = self.client().send(&request).await?;
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
            let why = match message_of(&mut answer).await {
                message if message.is_empty() => why,
                message => format!("{why}, {message}"),
            };
            return Err(Auth::refused(self.endpoint().host(), scope, &who, &why));
        }
        if !status.is_success() {
            return Err(status_error(answer, &server).await);
        }
        let body = answer.bytes(LONGEST).await?;
        let answer = Answer::read(&body);
        if let Some(Answer { token, access_token, .. }) = &answer {
            // A registry may repeat what it was sent.
            let (name, push) = (&scope.name, if scope.push { "push" } else { "pull" });
            for (kind, text) in [("token", token), ("access token", access_token)] {
                self.job()
                    .secrets()
                    .mask(&format!("the {kind} of {server} to {push} {name}"), text);
            }
        }
        let token = answer
            .as_ref()
            .and_then(Answer::token)
            .ok_or_else(|| OciError::failed(format!("the token server {server} gives no token")))?;
        if let (Some(old), Some(answer)) = (identity, answer) {
            self.auth().renew(self.job(), old, &answer.refresh_token).await;
        }
        Ok(token)
    }

    /// The question for a token: an identity token is exchanged (distribution's OAuth2 specification,
    /// "Getting a refresh token" and on), a login or nobody asks (its token specification).
    fn exchange(
        realm: &Url,
        bearer: &Bearer,
        scope: &Scope,
        login: Option<&Credential>,
    ) -> Request<'static> {
        let words = scope.words();
        if let Some(credential) = login.filter(|credential| credential.login.is_identity) {
            let mut form = Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token");
            form.append_pair("service", bearer.service.as_deref().unwrap_or_default());
            form.append_pair("client_id", CLIENT).append_pair("scope", &words.join(" "));
            form.append_pair("refresh_token", credential.login.secret.expose_secret());
            let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            let mut request = Request::new(Method::POST, realm.clone())
                .body(Body::Bytes(form.finish().into()))
                .redirects(Redirects::SameOrigin);
            request.headers.insert(CONTENT_TYPE, form_type);
            return request;
        }
        let mut url = realm.clone();
        let mut query = url.query_pairs_mut();
        query.extend_pairs(bearer.service.iter().map(|service| ("service", service)));
        query.extend_pairs(words.iter().map(|word| ("scope", word)));
        drop(query);
        let login = login.and_then(basic).map(|value| (AUTHORIZATION, value));
        Request::get(url)
            .credentials(HeaderMap::from_iter(login), realm)
            .redirects(Redirects::SameOrigin)
    }

    /// The token server's URL: a login goes there, so it must be spoken to as safely as the registry.
    fn realm(&self, bearer: &Bearer) -> Result<Url> {
        let wrong = |why: &str| {
            let host = self.endpoint().host();
            OciError::failed(format!(
                "the registry {host} names a token server {why}: `{}`",
                bearer.realm.escape_debug()
            ))
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
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    pub(crate) fn token(&self) -> Option<Token> {
        let text = if self.token.is_empty() { &self.access_token } else { &self.token };
        let life = self.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        // No token is used for longer than a day, whatever its server says.
        let life = life.filter(|life| !life.is_zero()).unwrap_or(LIFE).min(LIFE * 60 * 24);
        (!text.is_empty()).then(|| Token::new(text, life))?
    }
}
