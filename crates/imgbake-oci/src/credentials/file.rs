//! A file of logins: containers-auth.json(5), which is also Docker's `config.json`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretString;
use serde::Deserialize;

use crate::document::or_default;

/// Names of Docker Hub in these files.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
/// What Docker itself writes for its hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Some tools leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys of the file that are read; there are more.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct AuthFile {
    #[serde(default, deserialize_with = "or_default")]
    auths: BTreeMap<String, Option<Entry>>,
    #[serde(default, rename = "credHelpers", deserialize_with = "or_default")]
    helpers: BTreeMap<String, Option<String>>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default, rename = "identitytoken")]
    identity: Option<String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

/// A user and what proves it.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// The user's name; empty beside an identity token.
    pub(crate) user: String,
    /// The password, or the identity token.
    pub(crate) secret: SecretString,
    /// Whether the secret is a token to be exchanged (distribution's OAuth2 specification).
    pub(crate) is_identity: bool,
}

/// What a file says of a repository.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Nothing.
    Nothing,
    /// A program knows: its name after `docker-credential-`, and what it is asked for.
    Helper { helper: String, server: String },
    /// A login, and the key under which it is.
    Login { login: Login, key: String },
}

impl AuthFile {
    /// Reads a file's text. Errors never show it: it holds passwords.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
        if text.trim_ascii().is_empty() {
            return Some(Self::default());
        }
        serde_json::from_slice(text).ok()
    }

    /// The helper of this very host, which is asked first.
    pub(crate) fn helper(&self, host: &str) -> Option<Lookup> {
        let named = |name: &str| {
            let by_url = || self.helpers.iter().find(|(known, _)| bare(known) == name);
            self.helpers.get_key_value(name).or_else(by_url)?.1.as_ref()
        };
        names(host).find_map(named).map(|helper| asking(helper, host))
    }

    /// What it says of a repository beside that: the longest key that leads to the repository, then the
    /// store of all.
    pub(crate) fn look_up(&self, host: &str, repository: &str) -> Lookup {
        let mut keys = keys(host, repository).into_iter();
        let login = keys.find_map(|key| {
            let (key, entry) = self.entry(&key)?;
            Some((key.to_owned(), entry.login()?))
        });
        match (login, &self.store) {
            (Some((key, login)), _) => Lookup::Login { login, key },
            (None, Some(helper)) => asking(helper, host),
            (None, None) => Lookup::Nothing,
        }
    }

    /// An entry and its key as the file has it.
    fn entry(&self, key: &str) -> Option<(&String, &Entry)> {
        // Older tools wrote URLs.
        let by_url = || self.auths.iter().find(|(known, _)| bare(known) == key);
        let (key, entry) = self.auths.get_key_value(key).or_else(by_url)?;
        Some((key, entry.as_ref()?))
    }
}

/// A question for a helper.
fn asking(helper: &str, host: &str) -> Lookup {
    let server = if HUB.contains(&host) { HUB_KEY } else { host };
    Lookup::Helper { helper: helper.to_owned(), server: server.to_owned() }
}

/// The names of one host.
fn names(host: &str) -> impl Iterator<Item = &str> {
    let others = if HUB.contains(&host) { &[HUB_KEY, HUB[0], HUB[1]][..] } else { &[] };
    std::iter::once(host).chain(others.iter().copied())
}

/// The keys that lead to a repository, the longest first.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut rest = Some(repository).filter(|rest| !rest.is_empty());
    while let Some(path) = rest {
        keys.push(format!("{host}/{path}"));
        rest = path.rsplit_once('/').map(|(above, _)| above);
    }
    keys.extend(names(host).map(str::to_owned));
    keys
}

/// A key without what makes a URL of it: a scheme, `/v1/`, `/v2/`.
fn bare(key: &str) -> &str {
    let scheme = ["https://", "http://"].iter().find_map(|scheme| key.strip_prefix(scheme));
    let key = scheme.unwrap_or(key).trim_end_matches('/');
    ["/v1", "/v2"].iter().find_map(|version| key.strip_suffix(version)).unwrap_or(key)
}

impl Entry {
    fn login(&self) -> Option<Login> {
        let (user, password) = self.pair().unwrap_or_default();
        if let Some(token) = self.identity.clone().filter(|token| !token.is_empty()) {
            return Some(Login { user, secret: token.into(), is_identity: true });
        }
        (!user.is_empty()).then(|| Login { user, secret: password.into(), is_identity: false })
    }

    /// The user and the password.
    fn pair(&self) -> Option<(String, String)> {
        let Some(auth) = self.auth.as_deref().filter(|auth| !auth.is_empty()) else {
            return Some((self.username.clone()?, self.password.clone().unwrap_or_default()));
        };
        let plain = String::from_utf8(BASE64.decode(auth.trim()).ok()?).ok()?;
        let (user, password) = plain.split_once(':')?;
        Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn file(text: &str) -> AuthFile {
        AuthFile::parse(text.as_bytes()).unwrap()
    }

    fn text_of(found: &Lookup) -> String {
        match found {
            Lookup::Nothing => "nothing".to_owned(),
            Lookup::Helper { helper, server } => format!("ask {helper} for {server}"),
            Lookup::Login { login, key } => {
                let kind = if login.is_identity { "identity" } else { "login" };
                format!("{kind} {}:{} of {key}", login.user, login.secret.expose_secret())
            }
        }
    }

    #[test]
    fn the_longest_key_wins() {
        let auth = |text: &str| BASE64.encode(text);
        let file = file(&format!(
            r#"{{"auths": {{
                "r.example": {{"auth": "{}"}}, "r.example/team": {{"auth": "{}"}},
                "r.example/team/web": {{"auth": "{}"}},
                "https://old.example/v1/": {{"auth": "{}"}}, "plain.example": {{"username": "u", "password": "p"}},
                "token.example": {{"auth": "", "identitytoken": "tok"}}, "empty.example": {{}},
                "slash.example/": {{"auth": "dTpw"}}, "bare.example": {{"auth": "dTpwcA"}}, "null.example": null,
                "odd.example": {{"auth": "no base64", "identitytoken": "tok"}},
                "https://index.docker.io/v1/": {{"auth": "{}"}}
            }}, "credHelpers": {{"h.example": "pass", "https://u.example": "pass", "n.example": null}}}}"#,
            auth("host:1"),
            auth("team:2"),
            auth("web:3"),
            auth("old:4"),
            auth("hub:5:6"),
        ));
        for (host, repository, expected) in [
            ("r.example", "web", "login host:1 of r.example"),
            ("r.example", "team", "login team:2 of r.example/team"),
            ("r.example", "team/other", "login team:2 of r.example/team"),
            ("r.example", "team/web", "login web:3 of r.example/team/web"),
            ("r.example", "team/web/x", "login web:3 of r.example/team/web"),
            ("r.example", "teams/web", "login host:1 of r.example"),
            ("old.example", "x", "login old:4 of https://old.example/v1/"),
            ("plain.example", "x", "login u:p of plain.example"),
            ("token.example", "x", "identity :tok of token.example"),
            ("odd.example", "x", "identity :tok of odd.example"),
            ("empty.example", "x", "nothing"),
            ("docker.io", "library/x", "login hub:5:6 of https://index.docker.io/v1/"),
            ("slash.example", "x", "login u:p of slash.example/"),
            ("bare.example", "x", "login u:pp of bare.example"),
            ("null.example", "x", "nothing"),
            ("h.example", "x", "nothing"),
            ("other.example", "x", "nothing"),
        ] {
            assert_eq!(text_of(&file.look_up(host, repository)), expected, "{host}/{repository}");
        }
        for host in ["h.example", "u.example"] {
            let helper = file.helper(host).map(|found| text_of(&found));
            assert_eq!(helper, Some(format!("ask pass for {host}")));
        }
        for host in ["n.example", "r.example"] {
            assert!(file.helper(host).is_none(), "{host}");
        }
    }

    #[test]
    fn what_says_nothing_is_no_error() {
        for text in
            ["", " \n", "\u{feff}{}", r#"{"auths": null, "credHelpers": null, "credsStore": null}"#]
        {
            let file = AuthFile::parse(text.as_bytes()).unwrap();
            assert_eq!(text_of(&file.look_up("r.example", "x")), "nothing", "{text}");
        }
    }

    #[test]
    fn a_store_is_asked_last() {
        let file = file(r#"{"auths": {"a.example": {"auth": "YTpi"}}, "credsStore": "desktop"}"#);
        assert_eq!(text_of(&file.look_up("a.example", "x")), "login a:b of a.example");
        assert_eq!(text_of(&file.look_up("b.example", "x")), "ask desktop for b.example");
        let hub = text_of(&file.look_up("docker.io", "x"));
        assert_eq!(hub, "ask desktop for https://index.docker.io/v1/");
    }

    #[test]
    fn shows_no_secret() {
        let file = file(r#"{"auths": {"a.example": {"username": "u", "password": "hunter2"}}}"#);
        assert!(!format!("{file:?}{:?}", file.look_up("a.example", "x")).contains("hunter2"));
        assert!(AuthFile::parse(b"[").is_none());
    }
}
