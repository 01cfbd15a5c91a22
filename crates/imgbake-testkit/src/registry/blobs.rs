//! Blobs of the test registry: given, cut, uploaded, mounted.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use imgbake_types::Digest;

use super::call::Call;
use super::habits::{Habits, Odd};
use super::responses::{empty, error};
use super::shared::Shared;
use crate::lock::lock;

/// Bytes that are sent at a time.
const PIECE: usize = 64 << 10;
/// Long enough for bytes to leave before the connection is cut.
const FLUSH: Duration = Duration::from_millis(10);

pub(super) async fn answer(shared: &Shared, habits: &Habits, call: Call) -> Response {
    let rest = call.rest.strip_prefix("blobs/").unwrap().to_owned();
    match (rest.strip_prefix("uploads/"), &call.method) {
        (Some(""), &Method::POST)
            if habits.odd == Some(Odd::UploadRedirected) && call.query("via").is_none() =>
        {
            let query = call.uri.query().map_or_else(String::new, |query| format!("&{query}"));
            Response::builder()
                .status(StatusCode::TEMPORARY_REDIRECT)
                .header(header::LOCATION, format!("{}?via=1{query}", call.uri.path()))
                .body(Body::empty())
                .unwrap()
        }
        (Some(""), &Method::POST) => begin(shared, habits, &call),
        (Some(id), &Method::PATCH | &Method::PUT) => upload(shared, habits, call, id).await,
        (Some(id), &Method::GET) => state(shared, &call.name, id, StatusCode::NO_CONTENT),
        (Some(id), &Method::DELETE) => {
            lock(&shared.store).uploads.remove(id);
            empty(StatusCode::NO_CONTENT)
        }
        (None, &Method::GET | &Method::HEAD) => get(shared, habits, &call, &rest),
        _ => empty(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn get(shared: &Shared, habits: &Habits, call: &Call, digest: &str) -> Response {
    let Some(bytes) = lock(&shared.store).repository(&call.name).blobs.get(digest).cloned() else {
        return error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "no such blob");
    };
    let path = call.uri.path();
    let target = match (habits.redirects, habits.redirects_here, call.query("here")) {
        (true, ..) => Some(format!("http://{}{path}?signature=secret", shared.addresses[1])),
        (false, true, None) => Some(format!("http://{}{path}?here=yes", shared.addresses[0])),
        _ => None,
    };
    if let Some(target) = target.filter(|_| call.method == Method::GET) {
        return Response::builder()
            .status(StatusCode::TEMPORARY_REDIRECT)
            .header(header::LOCATION, target)
            .body(Body::empty())
            .unwrap();
    }
    let mut bytes = bytes.to_vec();
    if habits.wrong_blobs && !bytes.is_empty() {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }
    let total = bytes.len();
    let asked = call.header(header::RANGE).and_then(|range| range_of(range, total));
    let asked = asked.filter(|_| !habits.ignores_range);
    let range = asked.clone().unwrap_or(0..total);
    let mut response = Response::builder()
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_LENGTH, range.len());
    if asked.is_some() {
        let said = format!("bytes {}-{}/{total}", range.start, range.end - 1);
        response = response.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, said);
    }
    if call.method == Method::HEAD {
        return response.body(Body::empty()).unwrap();
    }
    let bytes = Bytes::from(bytes).slice(range);
    let cut = cut(shared, bytes.len());
    shared.sent.fetch_add(cut.unwrap_or(bytes.len()) as u64, Ordering::SeqCst);
    response.body(pieces(bytes, cut, habits.slow)).unwrap()
}

/// Where this answer is cut, if it is.
fn cut(shared: &Shared, length: usize) -> Option<usize> {
    let mut habits = lock(&shared.habits);
    if habits.cuts == 0 || length < 2 {
        return None;
    }
    habits.cuts -= 1;
    // Each cut leaves something for those to come, and gives something: a registry that never gives a
    // byte is a dead one.
    let most = (length as u64 - 1) / (habits.cuts + 1);
    let place = 1 + lock(&shared.dice).below(most.max(1));
    Some(usize::try_from(place).unwrap().min(length - 1))
}

/// A body in pieces; a cut one ends with an error, which ends the connection.
fn pieces(bytes: Bytes, cut: Option<usize>, slow: Duration) -> Body {
    let end = cut.unwrap_or(bytes.len());
    let starts = (0..end).step_by(PIECE);
    let whole = starts.map(move |start| Ok(bytes.slice(start..(start + PIECE).min(end))));
    let broken = cut.map(|_| Err(std::io::Error::other("cut")));
    let all = futures::stream::iter(whole.chain(broken).collect::<Vec<_>>());
    Body::from_stream(all.then(move |piece: std::io::Result<Bytes>| async move {
        // What came before a cut reaches the other side first.
        let wait = if piece.is_err() { slow.max(FLUSH) } else { slow };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        piece
    }))
}

/// `bytes=FIRST-LAST`, where the last may be left out.
fn range_of(header: &str, total: usize) -> Option<Range<usize>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let first: usize = first.parse().ok()?;
    let end = last.parse().map_or(total, |last: usize| last + 1).min(total);
    (first < end).then_some(first..end)
}

fn begin(shared: &Shared, habits: &Habits, call: &Call) -> Response {
    let mut store = lock(&shared.store);
    if let (Some(digest), Some(from)) = (call.query("mount"), call.query("from"))
        && !habits.never_mounts
        && let Some(bytes) = store.repository(&from).blobs.get(&digest).cloned()
    {
        store.put_blob(&call.name, bytes);
        return created(&call.name, &digest);
    }
    store.next_upload += 1;
    let id = format!("upload-{}", store.next_upload);
    store.uploads.insert(id.clone(), Vec::new());
    drop(store);
    state(shared, &call.name, &id, StatusCode::ACCEPTED)
}

/// How far an upload is.
fn state(shared: &Shared, name: &str, id: &str, status: StatusCode) -> Response {
    let Some(length) = lock(&shared.store).uploads.get(id).map(Vec::len) else {
        return error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload");
    };
    let elsewhere = lock(&shared.habits).uploads_elsewhere;
    let place = if elsewhere { format!("http://{}", shared.addresses[1]) } else { String::new() };
    Response::builder()
        .status(status)
        .header(header::LOCATION, format!("{place}/v2/{name}/blobs/uploads/{id}?_state={length}"))
        .header(header::RANGE, format!("0-{}", length.saturating_sub(1)))
        .body(Body::empty())
        .unwrap()
}

async fn upload(shared: &Shared, habits: &Habits, call: Call, id: &str) -> Response {
    let (name, method) = (call.name.clone(), call.method.clone());
    let digest = call.query("digest");
    let length = call.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if habits.largest_upload != 0 && length.is_some_and(|length| length > habits.largest_upload) {
        let out_of_range = habits.odd == Some(Odd::PieceOutOfRange) && method == Method::PATCH;
        let status = if out_of_range {
            StatusCode::RANGE_NOT_SATISFIABLE
        } else {
            StatusCode::PAYLOAD_TOO_LARGE
        };
        return error(status, "SIZE_INVALID", "too much at once");
    }
    let first =
        call.header(header::CONTENT_RANGE).and_then(|range| range.split('-').next()?.parse().ok());
    let there = lock(&shared.store).uploads.get(id).map(Vec::len);
    let Some(there) = there else {
        return error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload");
    };
    if first.is_some_and(|first: usize| first != there) {
        return error(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", "out of order");
    }
    if !receive(shared, call.body, id, length.unwrap_or(0)).await {
        return error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the upload was cut");
    }
    if method == Method::PATCH {
        return state(shared, &name, id, StatusCode::ACCEPTED);
    }
    let mut store = lock(&shared.store);
    let bytes = Bytes::from(store.uploads.remove(id).unwrap_or_default());
    match digest {
        Some(digest) if Digest::sha256(&bytes).to_string() == digest => {
            store.put_blob(&name, bytes);
            created(&name, &digest)
        }
        _ => error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "these are other bytes"),
    }
}

/// Takes a body in; `false` where it was cut: what came so far is kept.
async fn receive(shared: &Shared, body: Body, id: &str, length: u64) -> bool {
    let cut = {
        let mut habits = lock(&shared.habits);
        let cut = habits.upload_cuts > 0 && length > 1;
        habits.upload_cuts -= u64::from(cut);
        cut
    };
    let mut came = 0;
    let mut body = body.into_data_stream();
    while let Some(Ok(bytes)) = body.next().await {
        came += bytes.len() as u64;
        if let Some(upload) = lock(&shared.store).uploads.get_mut(id) {
            upload.extend_from_slice(&bytes);
        }
        if cut && came >= length / 2 {
            return false;
        }
    }
    came >= length
}

fn created(name: &str, digest: &str) -> Response {
    Response::builder()
        .status(StatusCode::CREATED)
        .header(header::LOCATION, format!("/v2/{name}/blobs/{digest}"))
        .header("docker-content-digest", digest)
        .body(Body::empty())
        .unwrap()
}
