//! What a server says of an error.

use reqwest::Response;
use serde::Deserialize;

use super::http::CONNECT;

/// How much of an error's words is read, in bytes.
const READ: usize = 16 << 10;
/// How much of them is shown, in characters.
const SHOWN: usize = 300;

/// distribution-spec v1.1, "Error Codes"; or a token server's (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    errors: Vec<OneError>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

#[derive(Deserialize)]
struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a registry says of an error, short and without what would move the terminal's cursor.
pub(super) async fn words(mut answer: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(CONNECT, answer.chunk()).await {
        body.extend_from_slice(&chunk[..chunk.len().min(READ - body.len())]);
        if body.len() == READ {
            break;
        }
    }
    told(&body)
}

/// The words of an error's body.
pub(super) fn told(body: &[u8]) -> String {
    let Ok(told) = serde_json::from_slice::<Told>(body) else { return String::new() };
    let one = |error: OneError| match (error.code.as_str(), error.message.as_str()) {
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{code}, {message}"),
    };
    let token = OneError { code: told.error, message: told.error_description };
    let all = told.errors.into_iter().chain([token]).map(one).filter(|words| !words.is_empty());
    let all = all.collect::<Vec<_>>().join("; ");
    all.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}
