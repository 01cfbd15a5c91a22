//! A registry in this process, with habits that others have only on bad days.

mod auth;
mod blobs;
mod call;
mod habits;
mod manifests;
mod pause;
mod responses;
mod saved;
mod shared;
mod store;
mod tokens;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::Response;
use tokio::task::JoinHandle;

use self::call::Call;
pub use self::habits::{Accepts, Habits, Odd};
use self::pause::Barrier;
pub use self::pause::Pause;
use self::responses::{empty, error};
use self::shared::Shared;
use crate::Random;
use crate::lock::lock;

/// A running registry; it ends when it is dropped.
#[derive(Debug)]
pub struct TestRegistry {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl TestRegistry {
    /// Starts one on a port of its own.
    pub async fn start(habits: Habits) -> Self {
        let bind = || tokio::net::TcpListener::bind(("127.0.0.1", 0));
        let (main, other) = (bind().await.unwrap(), bind().await.unwrap());
        let address = main.local_addr().unwrap();
        let shared = Arc::new(Shared {
            habits: Mutex::new(habits),
            barrier: Barrier::default(),
            store: Mutex::default(),
            tokens: Mutex::default(),
            dice: Mutex::new(Random::new()),
            log: Mutex::default(),
            count: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            leaked: AtomicBool::new(false),
            addresses: [address, other.local_addr().unwrap()],
        });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let elsewhere = Router::new().fallback(elsewhere).with_state(Arc::clone(&shared));
        let serve = |listener, app: Router| {
            tokio::spawn(async move { axum::serve(listener, app).await.unwrap() })
        };
        Self { shared, address, tasks: vec![serve(main, app), serve(other, elsewhere)] }
    }

    /// `127.0.0.1:PORT`
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `localhost:PORT`: the same registry, by another name.
    pub fn other_host(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// Accepts some requests wait from now on. Those that wait already go on waiting.
    pub fn pause(&self, pause: Pause) {
        self.shared.barrier.set(Some(pause));
    }

    /// Accepts no more requests wait; those that wait already go on waiting.
    pub fn end_pause(&self) {
        self.shared.barrier.set(None);
    }

    /// Accepts all requests go on.
    pub fn resume(&self) {
        self.shared.barrier.open();
    }

    /// Returns when so many requests wait.
    pub async fn paused(&self, count: usize) {
        self.shared.barrier.filled(count).await;
    }

    /// Changes its habits.
    pub fn change(&self, change: impl FnOnce(&mut Habits)) {
        change(&mut lock(&self.shared.habits));
    }

    /// Its habits as they are now: cuts are counted down.
    pub fn habits(&self) -> Habits {
        lock(&self.shared.habits).clone()
    }

    /// Method and path of each request so far, without the query.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared.log).clone()
    }

    /// Bytes of blobs that it sent so far.
    pub fn sent_bytes(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Whether a login came to where its redirects lead.
    pub fn leaked(&self) -> bool {
        self.shared.leaked.load(Ordering::SeqCst)
    }

    /// The tags of a repository, in order.
    pub fn tags(&self, name: &str) -> Vec<String> {
        lock(&self.shared.store).tags(name)
    }

    /// The digests of a repository's blobs, in order.
    pub fn blobs(&self, name: &str) -> Vec<String> {
        lock(&self.shared.store).blobs(name)
    }

    /// Stores a blob without asking; gives its digest.
    pub fn put_blob(&self, name: &str, bytes: &[u8]) -> String {
        lock(&self.shared.store).put_blob(name, bytes.to_vec().into())
    }

    /// Stores a manifest without looking at it; gives its digest.
    pub fn put_manifest(&self, name: &str, tag: &str, media_type: &str, bytes: &[u8]) -> String {
        let mut store = lock(&self.shared.store);
        store.put_manifest(name, Some(tag), media_type, bytes.to_vec().into())
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    shared.barrier.pass(&parts).await;
    lock(&shared.log).push(format!("{} {path}", parts.method));
    if path == "/token" {
        return auth::token(&shared, &parts.uri, &parts.headers, body).await;
    }
    let habits = lock(&shared.habits).clone();
    let number = shared.count.fetch_add(1, Ordering::SeqCst) + 1;
    if habits.busy_every != 0 && number.is_multiple_of(habits.busy_every) {
        let mut busy = error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "not so fast");
        busy.headers_mut().insert(header::RETRY_AFTER, "0".parse().unwrap());
        return busy;
    }
    let below = path.strip_prefix("/v2/").map(str::to_owned);
    let split = below.as_deref().and_then(split);
    let scopes = auth::needed(&habits, &parts.method, split, &parts.uri);
    if let Err(refused) = auth::check(&shared, &habits, &parts.headers, &scopes) {
        return *refused;
    }
    let Some((name, rest)) = split else {
        if habits.odd == Some(Odd::PingForbidden) {
            return error(StatusCode::FORBIDDEN, "DENIED", "not for you");
        }
        return match below.as_deref() {
            Some("") => empty(StatusCode::OK),
            _ => error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such thing"),
        };
    };
    let call = Call {
        method: parts.method,
        name: name.to_owned(),
        rest: rest.to_owned(),
        uri: parts.uri,
        headers: parts.headers,
        body,
    };
    match rest.split('/').next() {
        Some("blobs") => blobs::answer(&shared, &habits, call).await,
        _ => manifests::answer(&shared, &habits, call).await,
    }
}

/// The repository and the rest of a path.
fn split(path: &str) -> Option<(&str, &str)> {
    ["/blobs/", "/manifests/", "/referrers/", "/tags/"]
        .iter()
        .find_map(|part| path.find(part))
        .map(|at| (&path[..at], &path[at + 1..]))
}

/// Where redirects lead: blobs by path, and no login.
async fn elsewhere(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if request.headers().contains_key(header::AUTHORIZATION) {
        shared.leaked.store(true, Ordering::SeqCst);
        return empty(StatusCode::BAD_REQUEST);
    }
    let habits = Habits { redirects: false, ..lock(&shared.habits).clone() };
    let (parts, body) = request.into_parts();
    let (name, rest) = split(parts.uri.path().strip_prefix("/v2/").unwrap()).unwrap();
    let (name, rest) = (name.to_owned(), rest.to_owned());
    let (method, headers, uri) = (parts.method, parts.headers, parts.uri);
    blobs::answer(&shared, &habits, Call { method, name, rest, uri, headers, body }).await
}
