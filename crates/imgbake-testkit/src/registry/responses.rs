//! Responses that several kinds of requests get.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;

/// A response without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

/// An error as in distribution-spec v1.1, "Error Codes".
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}
