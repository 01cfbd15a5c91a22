//! The order in which a publish becomes durable, as the kernel sees it.

use std::fs;

use imgbake_runtime::Command;

use crate::common::Fixture;
use crate::processes::{CHILD, STRACE, exe};

/// One call of the publish.
#[derive(Debug, PartialEq)]
enum Call {
    Sync(String),
    Rename { from: String, to: String },
}

/// Reads strace's lines: `PID fsync(3</path>) = 0`, `PID rename("from", "to") = 0`.
fn calls(log: &str) -> Vec<Call> {
    let read = |line: &str| -> Option<Call> {
        let (_, call) = line.split_once(' ')?;
        let call = call.trim_start();
        if call.starts_with("fsync(") {
            let (_, rest) = call.split_once('<')?;
            return Some(Call::Sync(rest.split_once('>')?.0.to_owned()));
        }
        let quoted: Vec<&str> = call.split('"').collect();
        (call.starts_with("rename") && quoted.len() == 5)
            .then(|| Call::Rename { from: quoted[1].to_owned(), to: quoted[3].to_owned() })
    };
    log.lines().filter_map(read).collect()
}

#[tokio::test]
async fn each_part_is_durable_before_what_names_it() {
    let fixture = Fixture::new();
    let job = fixture.job();
    fs::write(fixture.dir.join("child"), "1").unwrap();
    let log = fixture.dir.join("calls");
    let args = [
        "-f",
        "-y",
        "-qq",
        "-s",
        "4096",
        "-e",
        "trace=fsync,?rename,?renameat,?renameat2",
        "-o",
        log.as_str(),
    ];
    let command: Command = STRACE.command().unwrap().args(args).arg(exe()).args(CHILD);
    command.current_dir(fixture.dir.clone()).run(&job).await.unwrap();
    let calls = calls(&fs::read_to_string(log).unwrap());

    let root = fixture.layout.root().canonicalize_utf8().unwrap();
    let blobs = root.join("blobs/sha256").to_string();
    let synced = |path: &str, between: std::ops::Range<usize>| {
        calls[between].iter().any(|call| matches!(call, Call::Sync(synced) if synced == path))
    };
    let renames: Vec<(usize, &str, &str)> = calls
        .iter()
        .enumerate()
        .filter_map(|(at, call)| match call {
            Call::Rename { from, to } => Some((at, from.as_str(), to.as_str())),
            Call::Sync(_) => None,
        })
        .collect();
    for (at, from, to) in &renames {
        assert!(synced(from, 0..*at), "{to} was named before its bytes were durable: {calls:?}");
    }
    let moved: Vec<usize> =
        renames.iter().filter(|(_, _, to)| to.starts_with(&blobs)).map(|r| r.0).collect();
    // Pack, chunk table, config, manifest, the version's index.
    let [first, .., config, manifest, last] = moved[..] else { panic!("{calls:?}") };
    let index = renames.iter().find(|(_, _, to)| *to == root.join("index.json")).unwrap().0;
    let intent =
        |call: &Call| matches!(call, Call::Sync(path) if path.contains("/publishing/intent-"));
    assert!(calls[..first].iter().any(intent), "the intent comes first: {calls:?}");
    assert!(synced(root.join("publishing").as_str(), 0..first), "so does its name: {calls:?}");
    assert!(synced(&blobs, config..manifest), "blobs come before the manifest: {calls:?}");
    assert!(synced(&blobs, manifest..last), "the manifest comes before the index: {calls:?}");
    assert!(synced(&blobs, last..index), "the index comes before the tag: {calls:?}");
    assert!(synced(root.as_str(), index..calls.len()), "the tag is durable at the end: {calls:?}");
    job.end().unwrap();
}
