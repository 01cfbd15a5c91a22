//! The tokens that a registry gave out.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Tokens that were issued.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: HashMap<String, Token>,
    next: u64,
    /// The identity token that is valid now, where it is another than the first.
    identity: Option<String>,
}

/// Until when a token is valid, how often, and for what.
#[derive(Debug)]
struct Token {
    until: Instant,
    left: u64,
    scopes: Vec<String>,
}

impl Tokens {
    /// Whether a token is valid for what is needed; then it was used once more.
    pub(super) fn accepts(&mut self, token: &str, needed: &[String]) -> bool {
        let Some(token) = self.issued.get_mut(token) else { return false };
        let valid = Instant::now() < token.until
            && token.left > 0
            && needed.iter().all(|one| token.scopes.contains(one));
        token.left -= u64::from(valid);
        valid
    }

    /// A new token, valid for so long, so often, and for these scopes.
    pub(super) fn issue(&mut self, life: Duration, uses: u64, scopes: Vec<String>) -> String {
        self.next += 1;
        let text = format!("token-{}", self.next);
        let token = Token { until: Instant::now() + life, left: uses, scopes };
        self.issued.insert(text.clone(), token);
        text
    }

    /// The identity token that is valid now.
    pub(super) fn identity(&self, first: &str) -> String {
        self.identity.clone().unwrap_or_else(|| first.to_owned())
    }

    /// Replaces the identity token.
    pub(super) fn rotate_identity(&mut self) -> String {
        let next = format!("identity-{}", self.next);
        self.identity = Some(next.clone());
        next
    }
}
