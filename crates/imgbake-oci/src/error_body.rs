//! What a server says of an error.

use imgbake_http::Response;
use serde::Deserialize;

/// How much of an error's message is shown, in characters.
const SHOWN: usize = 300;

/// distribution-spec v1.1, "Error Codes"; or a token server's (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a registry says of an error, short and without what would move the terminal's cursor.
pub(crate) async fn message_of(answer: &mut Response) -> String {
    parse(&answer.error_body().await)
}

/// The message of an error's body; empty where it has none.
pub(crate) fn parse(body: &[u8]) -> String {
    let Ok(body) = serde_json::from_slice::<ErrorBody>(body) else { return String::new() };
    let one = |error: ErrorEntry| match (error.code.as_str(), error.message.as_str()) {
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{code}, {message}"),
    };
    let token = ErrorEntry { code: body.error, message: body.error_description };
    let all = body.errors.into_iter().chain([token]).map(one).filter(|text| !text.is_empty());
    let all = all.collect::<Vec<_>>().join("; ");
    all.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_short_and_plain() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"no"},{"message":"x"}]}"#, "DENIED, no; x"),
            (r#"{"errors":[{"code":"A"}]}"#, "A"),
            (r#"{"error":"invalid_grant","error_description":"old"}"#, "invalid_grant, old"),
            ("{\"errors\":[{\"message\":\"a\\u001b[2Jb\"}]}", "a[2Jb"),
            ("<html>", ""),
            ("", ""),
        ] {
            assert_eq!(parse(body.as_bytes()), expected, "{body}");
        }
        let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(1000));
        assert_eq!(parse(long.as_bytes()).len(), SHOWN);
    }
}
