//! Which parts of a sensitive value are secret.
//!
//! A value of one line is secret as a whole. A document (JSON, YAML as a kubeconfig, dotenv, INI, PEM) also
//! holds words that every such document has: to mask `apiVersion: v1` hides honest output and fails honest
//! images. Of a document the values count whose key says so, and those that look like random.

use serde_json::Value;

use super::pieces::{self, unquoted};

/// What is secret in a value, and what is not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// The secret ones.
    pub(super) secret: Vec<Part>,
    /// Where in the document the others are.
    pub(super) open: Vec<String>,
    /// Whether the value is a document at all.
    pub(super) document: bool,
}

/// A secret part of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Where in the document: `users.user.token`; empty for the value as a whole.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
    /// Whether it is one line of a PEM block's base64.
    pub(super) pem: bool,
}

/// A line without a key is secret from this length on: shorter ones are punctuation.
const SHORTEST_LINE: usize = 4;

/// What a key's name ends with where its value is secret.
const SECRET_KEYS: [&str; 24] = [
    "apikey",
    "auth",
    "authorization",
    "community",
    "cookie",
    "credential",
    "credentials",
    "key",
    "otp",
    "pass",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwort",
    "pin",
    "privatekey",
    "psk",
    "pw",
    "pwd",
    "salt",
    "secret",
    "secretkey",
    "token",
];

/// Keys that end so and name no secret.
const OPEN_KEYS: [&str; 4] = ["publickey", "authorizedkey", "sortkey", "foreignkey"];

/// The parts of a value.
pub(super) fn split(value: &str) -> Parts {
    let mut parts = Parts::default();
    let trimmed = value.trim();
    match serde_json::from_str(trimmed) {
        Ok(document @ (Value::Object(_) | Value::Array(_))) => {
            parts.document = true;
            json(&document, "", &mut parts);
        }
        _ if trimmed.lines().count() > 1 => text(trimmed, "", &mut parts),
        _ => {}
    }
    if parts.secret.is_empty() {
        // Nothing in it looks like a secret, and all of it was said to be one.
        parts.open.clear();
        parts.document = false;
        let lines = trimmed.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
        let lines: Vec<&str> = if trimmed.lines().count() > 1 { lines.collect() } else { vec![] };
        parts.secret.extend(lines.into_iter().map(|line| part("", line)));
    }
    if !parts.document {
        parts.secret.push(part("", value));
        if trimmed != value {
            parts.secret.push(part("", trimmed));
        }
    }
    parts.secret.retain(|part| !part.text.is_empty());
    parts
}

fn part(path: &str, text: &str) -> Part {
    Part { path: path.to_owned(), text: text.to_owned(), pem: false }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn json(value: &Value, path: &str, parts: &mut Parts) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                json(value, &below(path, key), parts);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| json(item, path, parts)),
        Value::String(text) => leaf(path, text, parts),
        Value::Number(number) => leaf(path, &number.to_string(), parts),
        Value::Bool(_) | Value::Null => {}
    }
}

/// A value of a document with where it is.
fn leaf(path: &str, value: &str, parts: &mut Parts) {
    let value = value.trim();
    if value.lines().count() > 1 {
        // A document in the document: a service account's key, a certificate.
        return text(value, path, parts);
    }
    if value.is_empty() || matches!(value, "true" | "false" | "null" | "~") {
        return;
    }
    if value.starts_with(['{', '['])
        && let Ok(document @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(value)
    {
        return json(&document, path, parts);
    }
    let before = parts.secret.len();
    if let Some(password) = password_of_url(value) {
        add(path, password, parts);
    }
    for (key, piece) in pieces::of(value) {
        if key.is_some_and(names_secret) || is_random(piece) {
            add(path, piece, parts);
        }
    }
    if parts.secret.len() > before {
        return;
    }
    if !is_certificate(value) && (names_secret(path) || is_random(value)) {
        add(path, value, parts);
    } else {
        parts.open.push(path.to_owned());
    }
}

/// A secret value of a document, and what programs read it as.
fn add(path: &str, value: &str, parts: &mut Parts) {
    parts.secret.push(part(path, value));
    parts.secret.extend(pieces::read_as(value).iter().map(|text| part(path, text)));
}

/// Lines: of PEM blocks, of keys with values, or of neither.
fn text(value: &str, path: &str, parts: &mut Parts) {
    let lines: Vec<&str> = value.lines().collect();
    let private = |line: &str| !line.contains("CERTIFICATE") && !line.contains("PUBLIC KEY");
    let only_public = !lines.iter().any(|line| line.starts_with("-----BEGIN ") && private(line))
        && lines
            .iter()
            .all(|line| line.trim().is_empty() || !line.contains([':', '=']) || is_base64(line));
    let mut block = None;
    // The indentation and path of keys whose values are on later lines.
    let mut above: Vec<(usize, String)> = Vec::new();
    for line in lines {
        let content = line.trim();
        if let Some(label) = content.strip_prefix("-----BEGIN ") {
            block = Some(private(label) || only_public);
            parts.document = true;
            continue;
        }
        if content.starts_with("-----END ") {
            block = None;
            continue;
        }
        if content.is_empty() {
            continue;
        }
        match block {
            Some(true) if key_and_value(content).is_none() => {
                let text = content.to_owned();
                parts.secret.push(Part { path: below(path, "PEM"), text, pem: true });
                continue;
            }
            Some(false) => continue,
            _ => {}
        }
        let plain = content.strip_prefix("- ").unwrap_or(content).trim_start();
        // An item of a list is below a key that is as far in as its dash.
        let indent = line.trim_end().len() - plain.len();
        above.retain(|(outer, _)| *outer < indent);
        let path = above.last().map_or(path, |(_, path)| path).to_owned();
        if plain.starts_with(['#', ';']) || matches!(plain, "---" | "...") {
            parts.document = true;
        } else if let Some((key, value)) = key_and_value(plain) {
            parts.document = true;
            let path = below(&path, key);
            if value.is_empty() || matches!(value, "|" | ">" | "|-" | ">-" | "|+" | ">+") {
                above.push((indent, path));
            } else if value.starts_with(['{', '[']) {
                flow(value, &path, parts);
            } else {
                leaf(&path, pieces::without_comment(value), parts);
            }
        } else if plain.starts_with('[') && plain.ends_with(']') {
            // A section of an INI file.
            above.clear();
        } else if names_secret(&path)
            || (!parts.document && plain.len() >= SHORTEST_LINE)
            || is_random(plain)
        {
            parts.secret.push(part(&path, plain));
        }
    }
}

/// The values of a flow mapping or sequence: `{cluster: ci, token: abc}`.
fn flow(value: &str, path: &str, parts: &mut Parts) {
    if let Ok(document @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(value) {
        return json(&document, path, parts);
    }
    for piece in pieces::unnested(value) {
        match key_and_value(piece) {
            Some((key, value)) => leaf(&below(path, key), unquoted(value), parts),
            None => leaf(path, unquoted(piece), parts),
        }
    }
}

/// `KEY: VALUE` and `KEY=VALUE`, also with `export ` before it.
fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let end = line.find([':', '='])?;
    let (key, rest) = line.split_at(end);
    let key = unquoted(key.trim());
    let value = &rest[1..];
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    // `https://…` and `a:b` are no keys.
    let separated = rest.starts_with('=') || value.is_empty() || value.starts_with([' ', '\t']);
    (!key.is_empty() && key.len() <= 64 && key.chars().all(is_word) && separated)
        .then(|| (key, value.trim()))
}

/// Whether the last key of a path names a secret: `db_password`, `client-key-data`, `apiToken`, `password2`; or one
/// above it names many: `passwords.root`.
fn names_secret(path: &str) -> bool {
    let mut keys = path.rsplit('.');
    let last = keys.next().unwrap_or_default();
    let many = |key: &str| {
        let letters = letters(key);
        letters.strip_suffix('s').is_some_and(|one| {
            ["password", "passphrase", "secret", "token", "apikey"].iter().any(|s| one.ends_with(s))
        })
    };
    let letters = letters(last);
    let letters = letters.strip_suffix("data").unwrap_or(&letters);
    let one = letters.strip_suffix('s').unwrap_or(letters);
    let secret = SECRET_KEYS.iter().any(|key| letters.ends_with(key) || one.ends_with(key));
    let open = OPEN_KEYS.iter().any(|key| letters.ends_with(key) || one.ends_with(key));
    (secret && !open) || keys.any(many)
}

/// A key's letters, without what numbers it.
fn letters(key: &str) -> String {
    let key: String = key.chars().filter(|c| c.is_alphanumeric()).collect();
    key.trim_end_matches(|c: char| c.is_ascii_digit()).to_lowercase()
}

/// Whether a value looks like random: one of its words has letters and digits mixed, changes its case
/// often, or is long and of many different characters. Names, versions, paths and addresses are none.
pub(super) fn is_random(value: &str) -> bool {
    if value.contains(char::is_whitespace) || value.contains("://") {
        return false;
    }
    let count = |word: &str, kind: fn(&u8) -> bool| word.bytes().filter(kind).count();
    let mixed = |word: &str| {
        word.len() >= 10
            && count(word, u8::is_ascii_alphabetic) > 0
            && count(word, u8::is_ascii_digit) * 10 >= word.len()
    };
    let cased = |word: &str| {
        let change = |two: &&[u8]| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase();
        word.len() >= 12 && word.as_bytes().windows(2).filter(change).count() * 6 >= word.len()
    };
    let varied = |word: &str| {
        word.len() >= 16 && count(word, u8::is_ascii_lowercase) < word.len() && entropy(word) >= 3.6
    };
    let words = value.split(['-', '_', '.', '/', ':', '@', '=', '+']);
    words.into_iter().any(|word| mixed(word) || cased(word) || varied(word))
}

/// Shannon's entropy of a text's bytes, in bits per byte.
fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    #[expect(clippy::cast_precision_loss, reason = "a secret is shorter than 2^52 bytes")]
    let all = text.len() as f64;
    let share = |count: &u32| f64::from(*count) / all;
    counts.iter().filter(|count| **count > 0).map(share).map(|p| -p * p.log2()).sum()
}

fn is_base64(line: &str) -> bool {
    let digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    line.len() >= SHORTEST_LINE && line.trim().bytes().all(digit)
}

/// Base64 of a PEM block or DER structure that anyone may see: `LS0tLS1CRUdJTiBD` is `-----BEGIN C`.
fn is_certificate(value: &str) -> bool {
    value.starts_with("LS0tLS1CRUdJTiBD") || value.starts_with("LS0tLS1CRUdJTiBQVUJMSUMg")
}

/// The password of `scheme://user:password@host`.
fn password_of_url(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let (user, _) = rest.split(['/', '?', '#']).next()?.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (!password.is_empty()).then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &str) -> Vec<(String, String)> {
        split(value).secret.into_iter().map(|part| (part.path, part.text)).collect()
    }

    fn texts(value: &str) -> Vec<String> {
        secret(value).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_line_is_secret_as_a_whole() {
        assert_eq!(secret("hunter2"), [(String::new(), "hunter2".to_owned())]);
        assert_eq!(texts(" a b \n"), [" a b \n", "a b"]);
        assert_eq!(texts("password=x"), ["password=x"]);
    }

    #[test]
    fn of_documents_what_is_secret_counts() {
        let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: ci\nclusters:\n- cluster:\n    \
            certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJlRENDQVIr\n    \
            server: https://10.0.0.1:6443\n  name: ci\ncontexts:\n- name: ci\n  context: {cluster: ci, user: ci}\n\
            users:\n- name: ci\n  user:\n    token: 9fH2kPq81LmZx77Tt0aVbW3eYc\npin: 48291\n";
        let expected = [("users.user.token", "9fH2kPq81LmZx77Tt0aVbW3eYc"), ("pin", "48291")];
        assert_eq!(secret(kubeconfig), expected.map(|(p, t)| (p.to_owned(), t.to_owned())));
        assert!(split(kubeconfig).open.contains(&"current-context".to_owned()));

        let account = r#"{"type": "service_account", "project_id": "web-prod", "private_key_id": "0f1e2d3c4b5a69788796",
            "private_key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----\n",
            "auth_uri": "https://accounts.example/o/oauth2/auth", "deep": [{"password": "a"}]}"#;
        assert_eq!(texts(account), ["a", "MIIEvQIBADANBgkq", "0f1e2d3c4b5a69788796"]);

        let dotenv = "# settings\nexport DEBUG=true\nDB_HOST=db.internal\nDB_PASSWORD='s3cr3t pass'\n\
            URL=postgres://app:Pa55w0rd@db.internal:5432/app\nREGION=eu-central-1\n";
        assert_eq!(texts(dotenv), ["s3cr3t pass", "Pa55w0rd"]);

        let ini = "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n\
            aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\nregion = us-east-1\n";
        let expected = ["AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"];
        assert_eq!(texts(ini), expected);

        let block = "data:\n  note: two words\n  tls.key: |\n    correct horse\n    battery staple\nkind: Secret\n";
        assert_eq!(texts(block), ["correct horse", "battery staple"]);
    }

    #[test]
    fn a_secret_is_what_programs_read() {
        for (document, value) in [
            ("password: hunter2 # prod db\nname: x", "hunter2"),
            ("password: \"hunter2!\" # c\nname: x", "hunter2!"),
            ("password: \"hun\\\"ter2\"\nname: x", "hun\"ter2"),
            ("password: 'hun''ter2'\nname: x", "hun'ter2"),
            ("password: &anchor hunter2\nname: x", "hunter2"),
            ("password: !!str hunter2\nname: x", "hunter2"),
            ("A_TOKEN=hunter2 # c\nB=x", "hunter2"),
            ("export A_TOKEN=hunter2; echo\nB=x", "hunter2"),
            ("[a]\npassword = hunter2 ; c\nb = x", "hunter2"),
            ("db: {password: \"hunter,2\", name: x}\nb: x", "hunter,2"),
            ("data:\n  password: aHVudGVyMjI=\nkind: Secret", "hunter22"),
            ("{\"auths\": {\"h\": {\"auth\": \"Y2k6aHVudGVyMg==\"}}}", "hunter2"),
            ("URL=postgres://app:p%40ss@db/app\nB=x", "p@ss"),
            ("CONFIG='{\"password\": \"hunter2\"}'\nB=x", "hunter2"),
            ("passwords:\n  root: hunter2\nname: x", "hunter2"),
            ("password2: hunter2\nname: x", "hunter2"),
            ("{\"secrets\": [\"hunter2\"], \"b\": \"x\"}", "hunter2"),
            ("url: https://ghp_16C7e42F292c6912E7@github.com/x\nb: x", "ghp_16C7e42F292c6912E7"),
            (
                "url: https://h/services/T00000000/B00000000/XXq2Zz81LmZx77Tt0a\nb: x",
                "XXq2Zz81LmZx77Tt0a",
            ),
            ("url: https://h/x?sig=abc&password=hunter2\nb: x", "hunter2"),
            ("c: Server=db;User=app;Password=hunter2;\nb: x", "hunter2"),
        ] {
            let found = texts(document);
            assert!(found.contains(&value.to_owned()), "{document}: {found:?}");
        }
    }

    #[test]
    fn of_pem_the_private_lines_count() {
        let both = "-----BEGIN CERTIFICATE-----\nMIIBeDCCAR+gAwIBAgIB\n-----END CERTIFICATE-----\n\
            -----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\n";
        assert_eq!(texts(both), ["MIIEpAIBAAKCAQEA"]);
        let public =
            "-----BEGIN CERTIFICATE-----\nMIIBeDCCAR+gAwIBAgIB\n-----END CERTIFICATE-----\n";
        assert_eq!(texts(public), ["MIIBeDCCAR+gAwIBAgIB"]);
    }

    #[test]
    fn what_is_no_document_is_secret_line_by_line() {
        let lines = texts(
            "alpha-key1\nbeta-key22\n-----BEGIN X-----\nQ8wq-unlikely-line-77\n-----END X-----",
        );
        assert!(lines[..2] == ["alpha-key1", "beta-key22"], "{lines:?}");
        assert!(lines.contains(&"Q8wq-unlikely-line-77".to_owned()), "{lines:?}");
        // Nothing in it looks secret: all of it is.
        let lines = texts("kind: Config\nname: ci");
        assert!(lines.contains(&"kind: Config".to_owned()), "{lines:?}");
        assert_eq!(texts("1234\n5678"), ["1234", "5678", "1234\n5678"]);
    }

    #[test]
    fn names_are_not_random() {
        for name in [
            "service_account",
            "web-frontend-2",
            "eu-central-1",
            "client.authentication.k8s.io/v1beta1",
            "x86_64",
            "2026-01-01T00:00:00Z",
            "/var/lib/postgresql/15/main",
            "https://10.0.0.1:6443",
            "registry.internal:5000",
            "debian-12-generic-amd64",
            "arn:aws:iam::role/build",
            "kubernetes-admin@kubernetes",
            "10.20.30.40",
        ] {
            assert!(!is_random(name), "{name}");
        }
        for secret in [
            "9fH2kPq81LmZx77Tt0aVbW3eYc",
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "0f1e2d3c4b5a69788796",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "s.7J2kQpXvB1mN4tR8",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.abc",
            "Xq$w!zR^tY&uI*oP",
        ] {
            assert!(is_random(secret), "{secret}");
        }
    }
}
