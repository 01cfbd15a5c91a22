//! Small texts and records: references, digests, sizes, times, events, a layer's record, a journal.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a target that lacks its ground has failed")]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use camino::{Utf8Component, Utf8Path};
use imgbake_build::fuzzing::layer_files;
use imgbake_fuzz::{choose, seed, tagged};
use imgbake_runtime::fuzzing::swept_paths;
use imgbake_runtime::{Home, retry};
use imgbake_types::reference::is_name;
use imgbake_types::version::is_tag;
use imgbake_types::{Digest, Event, Reference, Size, Target, VersionName};
use libfuzzer_sys::fuzz_target;

const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const JOB: &str = "web-4711";

fn sound() -> Vec<Vec<u8>> {
    let file = |name: &str| format!(r#"{{"file":"{name}","allocated":1,"digest":"sha256:{HEX}"}}"#);
    let layer = format!(
        r#"{{"format":1,"key":"sha256:{HEX}","parent":{{"key":"sha256:{HEX}","disk":"sha256:{HEX}"}},"stage":"provision","name":"x","image":"web","arch":"x86_64","created":"2026-11-23T10:00:00Z","tool":"0.1.0","seconds":1.5,"bytes":1,"shareable":true,"disk":{{"file":"disk.qcow2","allocated":1,"digest":"sha256:{HEX}","format":"qcow2","virtual_size":512}},"base":{{"parent":{{"digest":"sha256:{HEX}","kind":"url"}},"kernel":{{"kernel":{},"initrd":{},"cmdline":"x"}}}}}}"#,
        file("kernel"),
        file("/srv/initrd")
    );
    let event = r#"{"time":"2026-11-23T10:00:00Z","job":"web-1","event":"notice","level":"warning","message":"x"}"#;
    let journal = format!(
        "{{\"made\":\"process\",\"program\":\"qemu\"}}\n{{\"made\":\"path\",\"path\":\"/home/work/x\"}}\n{{\"made\":\"path\",\"path\":\"/elsewhere/{JOB}.part\"}}\n{{\"made\":\"kept\"}}\n"
    );
    vec![
        tagged(0, "registry.example:5000/team/web:prod"),
        tagged(0, format!("localhost/a__b/c-d@sha256:{HEX}")),
        tagged(1, format!("sha256:{HEX}")),
        tagged(1, format!("sha512:{HEX}{HEX}")),
        tagged(2, "2026.11.23-1"),
        tagged(3, "1.5 GiB"),
        tagged(4, "Fri, 27 Nov 2026 04:00:00 GMT"),
        tagged(4, "120"),
        tagged(5, event),
        tagged(6, layer),
        tagged(7, journal),
    ]
}

/// What is read and written again is the same.
fn again<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let read: T = text.parse().ok()?;
    let again: T = read.to_string().parse().unwrap();
    assert_eq!(again, read, "{text}");
    Some(read)
}

fn reference(text: &str) {
    let Some(reference) = again::<Reference>(text) else { return };
    assert!(is_name(&reference.name) && !reference.name.contains(".."));
    if let Some(Target::Tag(tag)) = &reference.target {
        assert!(is_tag(tag) && !tag.contains('/'));
    }
    let wrong = |c: char| c == '/' || c == '@' || c.is_whitespace() || c.is_control();
    assert!(reference.host.is_none_or(|host| !host.contains(wrong)), "{text} has no such host");
}

fn event(bytes: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Event>(bytes) else { return };
    let once = serde_json::to_string(&event).unwrap();
    assert!(!once.contains('\n'), "an event is one line");
    let again: Event = serde_json::from_str(&once).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), once);
}

/// Nothing below a layer's folder leads out of it. A source's file may be elsewhere, by its whole path.
fn layer(record: &str) {
    let dir = Utf8Path::new("/home/cache/layers/x");
    let json = format!("{{\"digest\":\"{}\",\"layer\":{record}}}\n", Digest::sha256(record));
    for path in layer_files(json.as_bytes(), dir).unwrap_or_default() {
        let beside = path.strip_prefix(dir).is_ok_and(|name| name.components().count() == 1);
        assert!(beside || !path.starts_with(dir), "{path}");
        assert!(path.is_absolute());
    }
}

/// A sweep removes what is below the home, and elsewhere only what the job's name is on.
fn journal(text: &str) {
    let home = Home::new("/home");
    for path in swept_paths(&home, JOB, text) {
        assert!(!path.components().any(|part| part == Utf8Component::ParentDir), "{path}");
        let inside = path.starts_with(home.root()) && path != home.root();
        assert!(inside || path.file_name().unwrap().contains(JOB), "{path} is another's");
    }
}

fuzz_target!(init: seed(sound()), |input: &[u8]| {
    let Some((choice, bytes)) = choose(input, 8) else { return };
    let Ok(text) = str::from_utf8(bytes) else { return };
    match choice {
        0 => reference(text),
        1 => drop(again::<Digest>(text).map(|digest| digest.bytes())),
        2 => drop(again::<VersionName>(text)),
        3 => drop(again::<Size>(text)),
        4 => drop(retry::after(text)),
        5 => event(bytes),
        6 => layer(text),
        _ => journal(text),
    }
});
