//! What sources are right now: answers that change, servers that fail, and what they said before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use imgbake_build::{BuildError, BuildErrorKind, Pin, SourceProvider};
use imgbake_runtime::{Events, Home, Job};
use imgbake_types::plan::{Checksum, Source};
use imgbake_types::{Arch, Digest, EventKind, secret};

use super::server::{Reply, Server};
use super::{Bench, impatient, noise, proved, url};
use crate::pin::Limits;

impl Bench {
    /// Asks what a source is, as a new process would; gives the warnings as well.
    pub(super) async fn pin(
        &self,
        provider: &dyn SourceProvider,
        source: &Source,
    ) -> (Result<Pin, BuildError>, Vec<String>) {
        let home = Home::new(self.path().join("home"));
        let id = imgbake_runtime::job::new_id("test");
        let (events, mut receiver) = Events::channel(&id, self.secrets.clone());
        let job =
            Job::begin(&home, &id, self.cancel.clone(), events, self.secrets.clone()).unwrap();
        let pin = provider.pin(&job, source, Arch::X86_64).await;
        assert_eq!(job.work().read_dir_utf8().unwrap().count(), 0, "nothing is left behind");
        job.end().unwrap();
        let mut warnings = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            let EventKind::Notice { message, .. } = event.kind else { panic!("{event:?}") };
            warnings.push(message);
        }
        (pin, warnings)
    }

    async fn ask(&self, location: &str, checksum: Checksum) -> Pin {
        let (pin, warnings) = self.pin(&impatient(), &url(location, checksum)).await;
        assert!(warnings.is_empty(), "{warnings:?}");
        pin.unwrap()
    }
}

fn file(etag: Option<&str>, time: Option<&str>, length: Option<&str>) -> Reply {
    let reply = Reply::new(200, b"").header("content-length", length.unwrap_or("0"));
    let reply = [("etag", etag), ("last-modified", time)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .fold(reply, |reply, (name, value)| reply.header(name, value));
    if length.is_some() { reply } else { reply.without("content-length") }
}

#[tokio::test]
async fn what_the_template_proves_is_asked_of_nobody() {
    let server = Server::start(|_| Reply::new(500, b"")).await;
    let bench = Bench::new();
    assert_eq!(bench.ask(&server.url("/d.raw"), proved(b"x")).await, Pin::Fixed);
    let path = bench.file("d.raw", noise(1));
    assert_eq!(bench.ask(path.as_str(), Checksum::Unverified).await, Pin::Fixed);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_checksum_file_gives_the_digest() {
    let (one, two) = (Digest::sha256("one"), Digest::sha256("two"));
    let lines =
        [one.clone(), two.clone(), one.clone()].map(|digest| format!("{}  d.raw\n", digest.hex()));
    let server = Server::start(move |request| {
        let other = format!("{}  e.raw\n", Digest::sha256("other").hex());
        Reply::new(
            200,
            (lines[request.number.min(2)].clone() + &other.repeat(request.number)).as_bytes(),
        )
    })
    .await;
    let bench = Bench::new();
    let sums = || Checksum::Sums { location: server.url("/SHA256SUMS") };
    let disk = server.url("/x/d.raw");
    for expected in [&one, &two, &one] {
        assert_eq!(bench.ask(&disk, sums()).await, Pin::Now(expected.to_string()));
    }
    // A file without its line is an answer, and no reason to go on with the one before.
    let gone = url(&server.url("/x/f.raw"), sums());
    assert_eq!(
        bench.pin(&impatient(), &gone).await.0.unwrap_err().kind(),
        BuildErrorKind::NotFound
    );
    let local = bench.file("SUMS", format!("{}  d.raw\n", two.hex()));
    let local = Checksum::Sums { location: local.to_string() };
    assert_eq!(bench.ask(&disk, local).await, Pin::Now(two.to_string()));
}

#[tokio::test]
async fn an_unverified_file_is_known_by_what_its_server_says() {
    let answers = [
        (file(Some("\"a\""), Some("Mon"), Some("5")), "a"),
        (file(Some("\"a\""), Some("Tue"), Some("7")), "a"),
        (file(Some("\"b\""), None, None), "b"),
        (file(Some("W/\"a\""), Some("Mon"), Some("5")), "Mon 5"),
        (file(None, Some("Mon"), Some("5")), "Mon 5"),
        (file(None, Some("Tue"), Some("5")), "Tue 5"),
        (file(None, Some("Mon"), Some("6")), "Mon 6"),
        (file(None, Some("Mon"), None), "?"),
        (file(None, None, Some("5")), "?"),
        (file(Some("W/\"a\""), None, Some("5")), "?"),
        (Reply::new(405, b""), "?"),
        (Reply::new(403, b""), "?"),
        (Reply::new(501, b""), "?"),
    ];
    let replies = answers.clone();
    let server = Server::start(move |request| match request.path.as_str() {
        "/d.raw" => Reply::new(302, b"").header("location", "/moved"),
        _ => replies[request.number / 2].0.clone(),
    })
    .await;
    let bench = Bench::new();
    let mut pins = Vec::new();
    for (_, name) in &answers {
        pins.push((bench.ask(&server.url("/d.raw"), Checksum::Unverified).await, *name));
    }
    for (pin, name) in &pins {
        assert_eq!(matches!(pin, Pin::Unknown(_)), *name == "?", "{pin:?} {name}");
        for (other, theirs) in pins.iter().filter(|(_, theirs)| *theirs != "?" && *name != "?") {
            assert_eq!(pin == other, name == theirs, "{name} {theirs}");
        }
    }
    assert!(server.seen().iter().all(|request| request.method == "HEAD"));
}

#[tokio::test]
async fn a_server_that_fails_is_bridged_by_what_it_said_before() {
    let hung = Limits { time: std::time::Duration::from_millis(300), ..Limits::default() };
    let mut late = impatient();
    late.pin_limits = Limits { retries: late.retries, ..hung };
    let big = vec![b'a'; 5 << 20];
    let failures = [
        ("/down", Reply::new(503, b""), "503"),
        ("/silent", Reply::new(200, b"").cut_head().hang(), "no answer within 0.3 seconds"),
        ("/huge", Reply::new(200, &big), "no checksum file"),
        ("/page", Reply::new(200, b"<html>log in</html>"), "no checksum for `d.raw`"),
    ];
    for (path, reply, words) in failures {
        let up = Arc::new(AtomicBool::new(false));
        let switch = up.clone();
        let server = Server::start(move |_| {
            let line = format!("{}  d.raw\n", Digest::sha256("disk").hex());
            if switch.load(Ordering::SeqCst) {
                Reply::new(200, line.as_bytes())
            } else {
                reply.clone()
            }
        })
        .await;
        let bench = Bench::new();
        let sums = Checksum::Sums { location: server.url(path) };
        let source = url(&server.url("/d.raw"), sums);
        let error = bench.pin(&late, &source).await.0.unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(path), "{path}: {error}");
        up.store(true, Ordering::SeqCst);
        let pin = bench.pin(&late, &source).await.0.unwrap();
        up.store(false, Ordering::SeqCst);
        let (again, warnings) = bench.pin(&late, &source).await;
        assert_eq!(again.unwrap(), pin, "{path}");
        assert!(warnings.len() == 1 && warnings[0].contains(words), "{path}: {warnings:?}");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_is_reported() {
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => file(Some("\"a\""), None, Some("5")),
        _ => Reply::new(404, b""),
    })
    .await;
    let bench = Bench::new();
    let source = url(&server.url("/d.raw"), Checksum::Unverified);
    bench.pin(&impatient(), &source).await.0.unwrap();
    let error = bench.pin(&impatient(), &source).await.0.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::NotFound);
    assert!(error.to_string().contains(&server.url("/d.raw")), "{error}");
}

#[tokio::test]
async fn secrets_are_in_no_answer() {
    let server = Server::start(|_| Reply::new(503, b"")).await;
    let bench = Bench::new();
    bench.secrets.add("token", "s3cr3t-token-value");
    let marker = secret::marker("token");
    for checksum in
        [Checksum::Unverified, Checksum::Sums { location: server.url(&format!("/{marker}/SUMS")) }]
    {
        let source = url(&server.url(&format!("/{marker}/d.raw?{marker}")), checksum);
        let error = bench.pin(&impatient(), &source).await.0.unwrap_err();
        assert!(!format!("{error:?}").contains("s3cr3t"), "{error}");
    }
    assert!(server.seen().iter().any(|request| request.path.contains("s3cr3t-token-value")));
}
