//! Manifests, tags and referrers of the test registry.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use imgbake_types::Digest;
use serde_json::{Value, json};

use super::call::Call;
use super::habits::{Habits, Odd};
use super::responses::{empty, error};
use super::shared::Shared;
use super::store::Store;
use crate::lock::lock;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(super) async fn answer(shared: &Shared, habits: &Habits, call: Call) -> Response {
    let (kind, reference) = call.rest.split_once('/').unwrap();
    let reference = reference.to_owned();
    match (kind, &call.method) {
        ("tags", _) if habits.no_tag_list => error(StatusCode::FORBIDDEN, "DENIED", "no list"),
        ("tags", _) => tags(&mut lock(&shared.store), habits, &call, shared),
        ("referrers", _) if habits.odd == Some(Odd::ReferrersUnauthorized) => {
            error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "not for you")
        }
        ("referrers", _) if habits.no_referrers || habits.odd == Some(Odd::DashIsDigest) => {
            error(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such path")
        }
        ("referrers", _) => referrers(&mut lock(&shared.store), habits, &call.name, &reference),
        ("manifests", &Method::GET | &Method::HEAD) => get(shared, habits, &call, &reference),
        ("manifests", &Method::DELETE) if habits.never_deletes => {
            error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "nothing is deleted here")
        }
        ("manifests", &Method::DELETE) => {
            let deleted = lock(&shared.store).delete_manifest(&call.name, &reference);
            empty(if deleted { StatusCode::ACCEPTED } else { StatusCode::NOT_FOUND })
        }
        ("manifests", &Method::PUT) => put(shared, habits, call, &reference).await,
        _ => empty(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn get(shared: &Shared, habits: &Habits, call: &Call, reference: &str) -> Response {
    let dashed = reference.replacen("sha256-", "sha256:", 1);
    let is_digest = habits.odd == Some(Odd::DashIsDigest) && dashed.len() == 71;
    let reference = if is_digest { &dashed } else { reference };
    let found = lock(&shared.store).manifest(&call.name, reference);
    let accepted = |media_type: &String| {
        let first = call.header(header::ACCEPT).unwrap_or_default();
        habits.odd != Some(Odd::OneAcceptLine) || first.contains(media_type.as_str())
    };
    let found = found.filter(|(_, (media_type, _))| accepted(media_type));
    let Some((digest, (media_type, bytes))) = found else {
        return error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "no such manifest");
    };
    let mut bytes = bytes.to_vec();
    if habits.wrong_manifests && reference == digest {
        // White space is no part of a document's meaning, but of its digest.
        bytes.push(b' ');
    }
    let said = if habits.wrong_headers { Digest::sha256("lie").to_string() } else { digest };
    Response::builder()
        .header(header::CONTENT_TYPE, media_type)
        .header("docker-content-digest", said)
        .body(Body::from(if call.method == Method::HEAD { Vec::new() } else { bytes }))
        .unwrap()
}

async fn put(shared: &Shared, habits: &Habits, call: Call, reference: &str) -> Response {
    let media_type = call.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
    let Ok(bytes) = axum::body::to_bytes(call.body, 64 << 20).await else {
        return empty(StatusCode::BAD_REQUEST);
    };
    if habits.largest_manifest != 0 && bytes.len() > habits.largest_manifest {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", "the manifest is too long");
    }
    let Ok(document) = serde_json::from_slice::<Value>(&bytes) else {
        return error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", "no JSON");
    };
    let mut store = lock(&shared.store);
    if let Some(missing) = missing(&mut store, &call.name, &document) {
        return error(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", &missing);
    }
    if habits.odd == Some(Odd::DashIsDigest)
        && reference.starts_with("sha256-")
        && reference.len() == 71
    {
        return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "another digest");
    }
    let tag = Some(reference).filter(|reference| !reference.starts_with("sha256:"));
    if tag.is_none() && Digest::sha256(&bytes).to_string() != reference {
        return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "another digest");
    }
    let digest = store.put_manifest(&call.name, tag, &media_type, bytes);
    let mut response = Response::builder()
        .status(StatusCode::CREATED)
        .header(header::LOCATION, format!("/v2/{}/manifests/{digest}", call.name));
    if let Some(subject) =
        document["subject"]["digest"].as_str().filter(|_| lists_referrers(habits))
    {
        response = response.header("oci-subject", subject);
    }
    response.body(Body::empty()).unwrap()
}

/// Whether it says that it lists a stored manifest as a referrer.
fn lists_referrers(habits: &Habits) -> bool {
    let odd = [Odd::ReferrersUnauthorized, Odd::DashIsDigest].map(Some);
    !habits.no_referrers && !odd.contains(&habits.odd)
}

/// What a manifest needs and the repository lacks.
fn missing(store: &mut Store, name: &str, document: &Value) -> Option<String> {
    let digests = |key: &str| {
        let all = document[key].as_array().cloned().unwrap_or_default();
        all.iter()
            .map(|one| one["digest"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let repository = store.repository(name);
    let config = document["config"]["digest"].as_str().map(str::to_owned);
    let mut blobs = digests("layers").into_iter().chain(config);
    let blob = blobs.find(|digest| !repository.blobs.contains_key(digest));
    let mut manifests = digests("manifests").into_iter();
    let manifest = manifests.find(|digest| !repository.manifests.contains_key(digest));
    blob.or(manifest)
}

fn tags(store: &mut Store, habits: &Habits, call: &Call, shared: &Shared) -> Response {
    let all = store.tags(&call.name);
    if all.is_empty() {
        return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such repository");
    }
    let most = call.query("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    // A page of a registry is as long as it likes.
    let most = if habits.ignores_pages { usize::MAX } else { most.min(7) };
    let last = call.query("last").filter(|_| !habits.ignores_pages).unwrap_or_default();
    let empty = habits.odd == Some(Odd::EmptyPage) && last.is_empty() && call.query("e").is_none();
    let most = if empty { 0 } else { most };
    let page: Vec<&String> = all.iter().filter(|tag| **tag > last).take(most).collect();
    let mut response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    if empty {
        let next = format!("</v2/{}/tags/list?e=1>; rel=\"next\"", call.name);
        response = response.header(header::LINK, next);
    }
    if let Some(end) = page.last().filter(|end| all.last() != Some(**end)) {
        let host = call
            .header(header::HOST)
            .map_or_else(|| shared.addresses[0].to_string(), str::to_owned);
        let next = format!("http://{host}/v2/{}/tags/list", call.name);
        let link = if habits.odd == Some(Odd::ManyLinks) {
            format!("<{next}?n=1>; rel=\"first\", <{next}?n={most}&last={end}>; rel = next")
        } else {
            format!("<{next}?n={most}&last={end}>; rel=\"next\"")
        };
        response = response.header(header::LINK, link);
    }
    response.body(Body::from(json!({ "name": call.name, "tags": page }).to_string())).unwrap()
}

fn referrers(store: &mut Store, habits: &Habits, name: &str, subject: &str) -> Response {
    let of = |bytes: &Bytes| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let manifests: Vec<Value> = store
        .repository(name)
        .manifests
        .iter()
        .map(|(digest, (media_type, bytes))| (digest, media_type, bytes.len(), of(bytes)))
        .filter(|(.., document)| document["subject"]["digest"] == subject)
        .map(|(digest, media_type, size, document)| {
            json!({
                "mediaType": media_type, "digest": digest, "size": size,
                "artifactType": document["artifactType"], "annotations": document["annotations"]
            })
        })
        .collect();
    let none = habits.odd == Some(Odd::NullReferrers) && manifests.is_empty();
    let manifests = if none { Value::Null } else { manifests.into() };
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    Response::builder()
        .header(header::CONTENT_TYPE, INDEX)
        .body(Body::from(index.to_string()))
        .unwrap()
}
