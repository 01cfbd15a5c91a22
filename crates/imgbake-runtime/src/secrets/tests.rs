use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;

const TOKEN: &str = "Zq7-kLm0pWy9vT3s";

fn secrets(values: &[&str]) -> Secrets {
    let secrets = Secrets::default();
    for (number, value) in values.iter().enumerate() {
        secrets.add(&format!("v{number}"), value);
    }
    secrets
}

/// Whether a text shows seven characters of a secret in a row.
fn shows(text: &str, secret: &str) -> bool {
    secret.as_bytes().windows(7).any(|part| text.as_bytes().windows(7).any(|seen| seen == part))
}

#[test]
fn masks_a_secret_as_it_is_shown() {
    let secrets = secrets(&[TOKEN]);
    let (a, b) = TOKEN.split_at(8);
    for text in [
        format!("csi {a}\x1b[0m{b}."),
        format!("osc {a}\x1b]0;x\x07{b}."),
        format!("string {a}\x1bPq\x1b\\{b}."),
        format!("charset {a}\x1b(B{b}."),
        format!("nul {a}\0{b}."),
        format!("{a}\x08{b}"),
        format!("inside \x1b]0;{TOKEN}\x07."),
        format!("never ends \x1b]0;{TOKEN}"),
        TOKEN.chars().flat_map(|c| [c, '\0']).collect(),
        TOKEN.chars().flat_map(|c| [c, ' ', ' ']).collect(),
        format!("only the end: {}", &TOKEN[5..]),
        format!("only the start: {}", &TOKEN[..9]),
        format!("{}\n{}", &TOKEN[..5], &TOKEN[5..]),
        format!("ü{TOKEN}ü"),
    ] {
        let shown = secrets.redact(&text);
        let plain: String = shown.chars().filter(|c| !c.is_control() && *c != ' ').collect();
        assert!(shown.contains(MASK) && !shows(&plain, TOKEN), "{text:?}: {shown:?}");
    }
    assert_eq!(secrets.redact(&format!("ü{TOKEN}ü")), "ü***ü");
    assert_eq!(secrets.redact(&format!("a {a}\x1b[0m{b} b")), "a *** b");
    assert_eq!(secrets.redact("nothing"), "nothing");
}

#[test]
fn masks_every_form() {
    for secret in [
        TOKEN,
        "s3cr/t \"va\\lue\" is & here",
        "correct horse battery staple",
        "hunter2",
        "ünïcødé-pässwörd",
    ] {
        let secrets = secrets(&[secret]);
        let json = serde_json::to_string(secret).unwrap();
        let each = |bytes: &[u8], form: &dyn Fn(u8) -> String| {
            bytes.iter().map(|byte| form(*byte)).collect::<Vec<_>>().concat()
        };
        let units = secret.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        let ascii = units.collect::<Vec<_>>().concat();
        let percent = |upper: bool| -> String {
            secret
                .bytes()
                .map(|b| if upper { format!("%{b:02X}") } else { format!("%{b:02x}") })
                .collect()
        };
        let dump = |separator: &str| {
            secret.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(separator)
        };
        let pairs = |swapped: bool| -> String {
            let pair = |two: &[u8]| match (two, swapped) {
                ([a, b], false) => format!("{a:02x}{b:02x} "),
                ([a, b], true) => format!("{b:02x}{a:02x} "),
                ([a], true) => format!("00{a:02x} "),
                ([a], false) => format!("{a:02x} "),
                _ => unreachable!("pairs have two"),
            };
            secret.as_bytes().chunks(2).map(pair).collect()
        };
        let mut texts = vec![
            json,
            ascii,
            percent(true),
            percent(false),
            dump(""),
            dump(" "),
            dump(":"),
            dump(", 0x"),
            dump("\\x"),
            dump("").to_uppercase(),
            pairs(false),
            pairs(true),
            secret.replace('&', "&amp;").replace('"', "&quot;"),
            each(secret.as_bytes(), &|byte| format!("\\{byte:03o}")),
            STANDARD.encode(STANDARD.encode(secret)),
            STANDARD.encode(dump("")),
        ];
        for around in ["", "x", "xy", "xyz"] {
            let text = format!("{around}{secret} and more");
            texts.extend([STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)]);
            let wrapped = STANDARD.encode(format!("{}{text}", "a".repeat(50)));
            texts.push([&wrapped[..76], "\n", &wrapped[76..]].concat());
        }
        for text in texts {
            let shown = secrets.redact(&format!("before ({text}) after"));
            assert!(shown.contains(MASK), "{secret}: {text:?}: {shown:?}");
            assert!(shown.starts_with("before") && shown.ends_with("after"), "{text:?}: {shown:?}");
            assert!(secrets.found_in(&text));
        }
    }
}

#[test]
fn a_dump_shows_no_line_of_a_secret() {
    let secret = "q7Hx2Lr9ZkVn4TsW8bYc1MdPf6JgAe3RuOiXh5KoBtNvCzGyQwEl0SjUaDpFmIr7q7Hx2Lr9ZkVn4TsW8bYc1MdPf6";
    let secrets = secrets(&[secret]);
    for (number, row) in secret.as_bytes().chunks(16).enumerate() {
        let bytes: Vec<String> = row.iter().map(|byte| format!(" {byte:02x}")).collect();
        let bytes = bytes.concat();
        let text = String::from_utf8_lossy(row);
        let shown = secrets.redact(&format!("{:08x} {bytes}  |{text}|", number * 16));
        assert!(!shown.contains(&*text) && !shown.contains(bytes.trim()), "{shown}");
    }
    for line in STANDARD.encode(secret).as_bytes().chunks(76) {
        let shown = secrets.redact(&String::from_utf8_lossy(line));
        assert!(shown.len() < 12, "{shown}");
    }
}

#[test]
fn honest_text_stays() {
    let kubeconfig = "apiVersion: v1\nkind: Config\ncurrent-context: ci\nusers:\n- name: ci\n  user:\n    \
        token: 9fH2kPq81LmZx77Tt0aVbW3eYc\npin: 48291\n";
    let secrets = secrets(&[kubeconfig, "correct horse battery staple"]);
    for text in [
        "apiVersion: v1",
        "kind: Config",
        "the battery of a horse",
        "current-context: ci",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "00000000  7f 45 4c 46 02 01 01 00  00 00 00 00 00 00 00 00  |.ELF............|",
    ] {
        assert_eq!(secrets.redact(text), text);
    }
    assert_eq!(
        secrets.redact("token: 9fH2kPq81LmZx77Tt0aVbW3eYc, pin 48291"),
        "token: ***, pin ***"
    );
    assert_eq!(secrets.redact("say correct horse battery staple!"), "say ***!");
    let [document] = &secrets.documents()[..] else { panic!("one is a document") };
    assert_eq!(
        (document.name.as_str(), &document.secret[..]),
        ("v0", &["users.user.token".into(), "pin".into()][..])
    );
    assert!(secrets.patterns().iter().all(|(_, form)| !b"apiVersion: v1".starts_with(form)));
    assert!(secrets.patterns().iter().any(|(_, form)| form == b"9fH2kPq81LmZx77Tt0aVbW3eYc"));
}

#[test]
fn short_secrets_are_masked_as_a_whole() {
    let secrets = secrets(&["x9", "true"]);
    assert_eq!(secrets.redact("short x9 end, untrue"), "short *** end, un***");
    assert_eq!(secrets.short(), ["v0", "v1"]);
    assert!(secrets.patterns().is_empty());
}

#[test]
fn a_disk_is_searched_for_wrapped_and_dumped_forms() {
    let secret = "q7Hx2Lr9ZkVn4TsW8bYc1MdPf6";
    let patterns = secrets(&[secret]).patterns();
    let found = |text: &str| {
        patterns.iter().any(|(_, form)| text.as_bytes().windows(form.len()).any(|at| at == form))
    };
    for before in 0..76 {
        let text = format!("{}{secret} and so on", "a".repeat(before));
        let wrapped: Vec<String> = STANDARD
            .encode(&text)
            .as_bytes()
            .chunks(76)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        assert!(found(&wrapped.join("\n")), "base64 after {before}");
        let dumped = |row: usize, group: usize, gap: usize| -> String {
            let byte = |(at, byte): (usize, &u8)| {
                let end = match (at + 1) % row {
                    0 => "\n",
                    after if gap > 0 && after % gap == 0 => "  ",
                    after if after % group == 0 => " ",
                    _ => "",
                };
                format!("{byte:02x}{end}")
            };
            text.bytes().collect::<Vec<u8>>().iter().enumerate().map(byte).collect()
        };
        for (row, group, gap) in [(16, 1, 0), (16, 1, 8), (16, 2, 0), (30, 30, 0)] {
            assert!(found(&dumped(row, group, gap)), "rows of {row} by {group} after {before}");
        }
    }
    assert!(!found("a text without it"));
}

#[test]
fn reveals_markers() {
    let secrets = secrets(&["abc"]);
    let text = format!("T={}", imgbake_types::secret::marker("v0"));
    assert_eq!(secrets.reveal(&text).expose_secret(), "T=abc");
    assert!(!format!("{secrets:?}").contains("abc"));
}
