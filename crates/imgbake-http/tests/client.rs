//! The client against servers on this machine.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body as Answer;
use axum::extract::Request as Asked;
use bytes::Bytes;
use futures::StreamExt;
use imgbake_http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use imgbake_http::{
    Body, BodySource, BoxError, Client, ClientOptions, HttpErrorKind, Method, Redirects, Request,
    Retryable, SourceStream, Transient, Url,
};
use imgbake_runtime::job::new_id;
use imgbake_runtime::{Cancel, Events, Home, Job, Secrets};

/// What a server saw: method, path, whether it was shown the login, body.
type Seen = Arc<Mutex<Vec<(String, String, bool, String)>>>;

/// A server and its URL. `answer` gives status and headers for a path.
async fn server(
    answer: impl Fn(&str) -> (u16, Vec<(&'static str, String)>) + Clone + Send + Sync + 'static,
) -> (Url, Seen) {
    let seen = Seen::default();
    let (kept, listener) = (seen.clone(), tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(async move |request: Asked| {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let (method, path) = (head.method.to_string(), head.uri.path().to_owned());
        let (status, headers) = answer(&path);
        let login = head.headers.contains_key(AUTHORIZATION);
        kept.lock().unwrap().push((method, path, login, String::from_utf8(body.into()).unwrap()));
        let mut response = axum::http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        response.body(Answer::from("x".repeat(20_000))).unwrap()
    });
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (format!("http://{address}/").parse().unwrap(), seen)
}

/// A client in a home of its own, which must outlive it.
fn client() -> (tempfile::TempDir, Cancel, Client) {
    let temp = tempfile::tempdir().unwrap();
    let home = Home::new(camino::Utf8Path::from_path(temp.path()).unwrap().to_owned());
    let (id, cancel) = (new_id("test"), Cancel::new());
    let (events, _) = Events::channel(&id, Secrets::default());
    let job = Job::begin(&home, &id, cancel.clone(), events, Secrets::default()).unwrap();
    let client = Client::new(&job, &ClientOptions::default()).unwrap();
    (temp, cancel, client)
}

fn login() -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer secret"))])
}

fn to(url: &Url, path: &str) -> String {
    url.join(path).unwrap().to_string()
}

/// Bytes that can be read again, or an error.
#[derive(Debug)]
struct Text(Result<&'static str, &'static str>);

#[async_trait]
impl BodySource for Text {
    async fn open(&self, from: u64) -> Result<SourceStream, BoxError> {
        let from = usize::try_from(from).unwrap();
        let text = self.0.map(|text| Bytes::from(&text[from..])).map_err(BoxError::from);
        Ok(futures::stream::iter([text]).boxed())
    }
}

#[tokio::test]
async fn a_redirect_keeps_method_and_body_and_drops_the_login() {
    let (there, saw) = server(|_| (201, Vec::new())).await;
    let next = to(&there, "store");
    let (here, seen) = server(move |_| (307, vec![("location", next.clone())])).await;
    let (_home, _, client) = client();
    let source = Text(Ok("0123456789"));
    let request = Request::new(Method::PUT, here.join("blob").unwrap())
        .credentials(login(), &here)
        .body(Body::Piece { source: &source, from: 2, len: 5 });
    let answer = client.send(&request).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.url().path()), (201, "/store"));
    let (method, body) = ("PUT".to_owned(), "23456".to_owned());
    let expected = [(method.clone(), "/blob".to_owned(), true, body.clone())];
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(*saw.lock().unwrap(), [(method, "/store".to_owned(), false, body)]);
}

#[tokio::test]
async fn a_login_does_not_come_back() {
    let back = Arc::new(Mutex::new(String::new()));
    let target = Arc::clone(&back);
    let (there, _) =
        server(move |_| (302, vec![("location", target.lock().unwrap().clone())])).await;
    let next = to(&there, "x");
    let (here, seen) = server(move |path| match path {
        "/end" => (200, Vec::new()),
        _ => (302, vec![("location", next.clone())]),
    })
    .await;
    *back.lock().unwrap() = to(&here, "end");
    let (_home, _, client) = client();
    let request = Request::get(here.clone()).credentials(login(), &here);
    assert_eq!(client.send(&request).await.unwrap().status().as_u16(), 200);
    let logins: Vec<bool> = seen.lock().unwrap().iter().map(|(_, _, login, _)| *login).collect();
    assert_eq!(logins, [true, false]);
    // And it never goes to whom it is not for.
    let request = Request::get(here.join("end").unwrap()).credentials(login(), &there);
    client.send(&request).await.unwrap();
    assert!(!seen.lock().unwrap().last().unwrap().2);
}

#[tokio::test]
async fn a_write_never_becomes_a_read() {
    let (here, seen) = server(|_| (303, vec![("location", "/other".to_owned())])).await;
    let (_home, _, client) = client();
    let answer = client.send(&Request::new(Method::POST, here)).await.unwrap();
    assert_eq!(answer.status().as_u16(), 303);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn redirects_have_bounds() {
    let (here, seen) = server(|_| (302, vec![("location", "/again".to_owned())])).await;
    let (_home, _, client) = client();
    let error = client.send(&Request::get(here)).await.unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Redirect);
    assert!(error.to_string().ends_with("redirects more than 10 times"), "{error}");
    assert_eq!(seen.lock().unwrap().len(), 11);

    let (there, saw) = server(|_| (200, Vec::new())).await;
    let next = to(&there, "x?token=1");
    let (here, _) = server(move |_| (307, vec![("location", next.clone())])).await;
    let request = Request::get(here).redirects(Redirects::SameOrigin);
    let error = client.send(&request).await.unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Redirect);
    assert!(!error.to_string().contains("token"), "{error}");
    assert!(saw.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_status_says_whether_to_try_again() {
    let (_home, _, client) = client();
    for (status, again) in [(503, true), (429, true), (408, true), (404, false), (501, false)] {
        let (here, _) = server(move |_| (status, vec![("retry-after", "7".to_owned())])).await;
        let mut answer = client.send(&Request::get(here)).await.unwrap();
        assert_eq!(answer.error_body().await.len(), 16 << 10, "only its beginning is read");
        let error = answer.status_error("h", "DENIED");
        assert_eq!(error.kind(), HttpErrorKind::Status(status));
        let after = Some(std::time::Duration::from_secs(7));
        assert_eq!(error.as_transient(), again.then_some(Transient { after }), "{status}");
        assert!(error.to_string().contains(&format!("h answers {status}")), "{error}");
    }
}

#[tokio::test]
async fn bodies_have_bounds() {
    let (here, _) = server(|_| (200, Vec::new())).await;
    let (_home, _, client) = client();
    let answer = client.send(&Request::get(here.clone())).await.unwrap();
    assert_eq!(answer.bytes(20_000).await.unwrap().len(), 20_000);
    let answer = client.send(&Request::get(here)).await.unwrap();
    assert_eq!(answer.bytes(19_999).await.unwrap_err().kind(), HttpErrorKind::Body);
}

#[tokio::test]
async fn a_source_that_fails_is_the_reason() {
    let (here, _) = server(|_| (201, Vec::new())).await;
    let (_home, _, client) = client();
    for (source, len, message) in
        [(Text(Err("disk gone")), 5, "disk gone"), (Text(Ok("short")), 9, "4 bytes")]
    {
        let body = Body::Piece { source: &source, from: 0, len };
        let request = Request::new(Method::PUT, here.clone()).body(body);
        let error = client.send(&request).await.unwrap_err();
        assert_eq!((error.kind(), error.as_transient()), (HttpErrorKind::Source, None));
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.into_source().is_some());
    }
}

#[tokio::test]
async fn tells_what_keeps_from_connecting() {
    let (_home, cancel, client) = client();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}/x?token=1", listener.local_addr().unwrap());
    drop(listener);
    let (plain, _) = server(|_| (200, Vec::new())).await;
    let tls = plain.as_str().replace("http:", "https:");
    for (url, kind, again) in
        [(closed, HttpErrorKind::Connect, true), (tls, HttpErrorKind::Tls, false)]
    {
        let error = client.send(&Request::get(url.parse().unwrap())).await.unwrap_err();
        assert_eq!((error.kind(), error.as_transient().is_some()), (kind, again), "{error}");
        assert!(!error.to_string().contains("token"), "{error}");
    }
    cancel.cancel();
    let error = client.send(&Request::get(plain)).await.unwrap_err();
    assert_eq!(error.kind(), HttpErrorKind::Cancelled);
}
