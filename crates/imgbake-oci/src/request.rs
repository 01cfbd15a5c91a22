//! One request to a registry: authorised, sent, its refusals judged.

use imgbake_http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use imgbake_http::{HttpError, HttpErrorKind, Redirects, Request, Response, StatusCode, shown};

use crate::auth::{Auth, Scope};
use crate::challenge::{self, Bearer, Challenge};
use crate::error_body::message_of;
use crate::remote::Remote;
use crate::{OciError, OciErrorKind, Result};

impl Remote {
    /// One attempt. Any answer but a redirect or a refusal of the user is given as it is.
    pub(crate) async fn send(&self, mut request: Request<'_>, scope: &Scope) -> Result<Response> {
        let mut carried = self.authorization(scope).await?;
        let mut answer = self.send_with(&mut request, carried.as_ref()).await?;
        for is_last in [false, true] {
            if answer.status() != StatusCode::UNAUTHORIZED || !self.endpoint().owns(answer.url()) {
                break;
            }
            let renewed = self.renewed(scope, &answer, carried, is_last).await?;
            let Some(renewed) = renewed else { break };
            answer = self.send_with(&mut request, Some(&renewed)).await?;
            carried = Some(renewed);
        }
        self.check_refusal(scope, answer).await
    }

    /// The same, of what a registry may have or not: a refusal is an answer like any other.
    pub(crate) async fn send_optional(
        &self,
        mut request: Request<'_>,
        scope: &Scope,
    ) -> Result<Response> {
        let carried = self.authorization(scope).await?;
        let answer = self.send_with(&mut request, carried.as_ref()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || challenge_of(&answer).is_none() {
            return Ok(answer);
        }
        match self.renewed(scope, &answer, carried, false).await? {
            Some(renewed) => self.send_with(&mut request, Some(&renewed)).await,
            None => Ok(answer),
        }
    }

    /// The authorization goes to the registry's own origin alone.
    async fn send_with(
        &self,
        request: &mut Request<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response> {
        let headers = authorization.map(|value| (AUTHORIZATION, value.clone()));
        request.set_credentials(HeaderMap::from_iter(headers), &self.endpoint().base());
        Ok(self.client().send(request).await?)
    }

    /// What may serve after a refusal: a token may have ended early, or a registry only now says what it
    /// wants. A token of a few uses may be used up by others before it is sent, so the last one is this
    /// request's own.
    async fn renewed(
        &self,
        scope: &Scope,
        answer: &Response,
        carried: Option<HeaderValue>,
        is_last: bool,
    ) -> Result<Option<HeaderValue>> {
        let challenge = challenge_of(answer);
        if let Some(challenge) = &challenge {
            self.auth().learn(challenge.clone());
        }
        // A registry may want more for one request than its operation says.
        if let Some(Challenge::Bearer(Bearer { scope: Some(words), .. })) = &challenge
            && !scope.covers(words)
        {
            let named = scope.named(words);
            let renewed = if is_last {
                self.own_token(&named).await?
            } else {
                self.authorization(&named).await?
            };
            return Ok(renewed.filter(|renewed| Some(renewed) != carried.as_ref()));
        }
        if let Some(carried) = &carried {
            self.forget(scope, carried).await;
        }
        if is_last {
            let lacks = challenges(answer).any(challenge::lacks_scope);
            return if lacks { Ok(None) } else { self.own_token(scope).await };
        }
        let renewed = self.authorization(scope).await?;
        Ok(renewed.filter(|renewed| Some(renewed) != carried.as_ref()))
    }

    /// Passes on what is no refusal of the user.
    async fn check_refusal(&self, scope: &Scope, mut answer: Response) -> Result<Response> {
        let status = answer.status();
        if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Ok(answer);
        }
        if !self.endpoint().owns(answer.url()) {
            let name = answer.shown_url();
            return Err(status_error(answer, &name).await);
        }
        let why = match message_of(&mut answer).await {
            message if message.is_empty() => format!("{status}"),
            message => format!("{status}, {message}"),
        };
        let who = self.identity(scope).await?;
        Err(Auth::refused(self.endpoint().host(), scope, &who, &why))
    }

    /// Asks what the registry wants to see (distribution-spec v1.1, "Determining Support"). Another host
    /// has no say in that.
    pub(crate) async fn ping(&self) -> Result<Challenge> {
        let url = self.endpoint().base();
        let request = Request::get(url.clone()).redirects(Redirects::SameOrigin);
        let answer = self.client().send(&request).await.map_err(|error| self.unreachable(error))?;
        let challenge = match answer.status() {
            StatusCode::UNAUTHORIZED => challenge_of(&answer).ok_or_else(|| {
                let host = self.endpoint().host();
                let what =
                    format!("the registry {host} wants a login of a kind that is not known here");
                OciError::failed(what).help("imgbake knows Basic and Bearer")
            })?,
            status if status.is_success() => Challenge::Open,
            StatusCode::NOT_FOUND => {
                let what = format!("there is no registry at {}: it answers 404", shown(&url));
                return Err(OciError::new(OciErrorKind::NotFound, what));
            }
            // Whether a repository may be read is asked when it is.
            StatusCode::FORBIDDEN => Challenge::Open,
            _ => return Err(status_error(answer, &shown(&url)).await),
        };
        self.auth().learn(challenge.clone());
        Ok(challenge)
    }

    fn unreachable(&self, error: HttpError) -> OciError {
        if error.kind() != HttpErrorKind::Tls {
            return error.into();
        }
        let host = self.endpoint().host();
        OciError::from(error).help(format!(
            "is {host} a registry, with a certificate that this machine knows? `--ca FILE` adds one, \
             `--insecure-http` goes without"
        ))
    }
}

fn challenge_of(answer: &Response) -> Option<Challenge> {
    Challenge::best(challenges(answer))
}

/// What a registry says that it wants to see.
fn challenges(answer: &Response) -> impl Iterator<Item = &str> {
    let headers = answer.headers().get_all(WWW_AUTHENTICATE);
    headers.iter().filter_map(|value| value.to_str().ok())
}

/// The error of a status that is no success, with what the registry says of it.
pub(crate) async fn status_error(mut answer: Response, name: &str) -> OciError {
    let message = message_of(&mut answer).await;
    answer.status_error(name, &message).into()
}
