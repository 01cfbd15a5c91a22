//! Pins of mirrors that change, fail and lie; apt-helper asks them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use camino::Utf8Path;
use imgbake_runtime::{Cancel, Events, Home, Secrets};
use imgbake_types::spec::Distribution;
use imgbake_types::{EventKind, secret};

use super::mirror::{Mirror, Reply};
use super::*;
use crate::release::tests::{framed, release};
use crate::tests::spec;

/// A home, and what the jobs in it reported.
struct Bench {
    dir: tempfile::TempDir,
    secrets: Secrets,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), secrets: Secrets::default() }
    }

    /// Asks as one process does; gives the warnings as well.
    async fn pin(
        &self,
        spec: &BootstrapSpec,
        limits: Limits,
    ) -> (Result<Pin, BuildError>, Vec<String>) {
        let home = Home::new(Utf8Path::from_path(self.dir.path()).unwrap().join("home"));
        let id = imgbake_runtime::job::new_id("test");
        let (events, mut reported) = Events::channel(&id, self.secrets.clone());
        let job = Job::begin(&home, &id, Cancel::new(), events, self.secrets.clone()).unwrap();
        let pin = pin(&job, spec, Arch::X86_64, limits).await;
        assert_eq!(job.work().read_dir_utf8().unwrap().count(), 0, "nothing is left behind");
        job.end().unwrap();
        let mut warnings = Vec::new();
        while let Ok(event) = reported.try_recv() {
            if let EventKind::Notice { message, .. } = event.kind {
                warnings.push(message);
            }
        }
        (pin, warnings)
    }

    async fn ask(&self, mirror: &str) -> Pin {
        let (pin, warnings) = self.pin(&bookworm(mirror), Limits::default()).await;
        assert!(warnings.is_empty(), "{warnings:?}");
        pin.unwrap()
    }
}

fn bookworm(mirror: &str) -> BootstrapSpec {
    let mut spec = spec(Distribution::Debian, "bookworm");
    spec.mirror = Some(mirror.to_owned());
    spec
}

/// The three suites, each with an index of its own; `main` is that of the first one.
fn archive(path: &str, date: &str, main: &str, other_arch: &str) -> Reply {
    let content = match path {
        "/debian/dists/bookworm/InRelease" => main,
        "/debian/dists/bookworm-updates/InRelease" => "updates",
        "/debian-security/dists/bookworm-security/InRelease" => "security",
        _ => return Reply::Missing,
    };
    let indices =
        [("main/binary-amd64/Packages", content), ("main/binary-arm64/Packages", other_arch)];
    Reply::Text(framed(&release(&format!("Date: {date}\n"), &indices)))
}

#[tokio::test]
async fn a_pin_changes_with_the_packages_alone() {
    let mut pins = Vec::new();
    for (date, main, other) in [
        ("today", "one", "arm"),
        ("tomorrow", "one", "arm"),
        ("today", "one", "other"),
        ("today", "two", "arm"),
    ] {
        // Every time another mirror, in another place.
        let mirror = Mirror::start(move |path| archive(path, date, main, other)).await;
        pins.push(Bench::new().ask(&mirror.address()).await);
        assert_eq!(mirror.seen().len(), 3);
    }
    assert!(matches!(&pins[0], Pin::Now(text) if text.len() == 64), "{pins:?}");
    assert_eq!(pins[0], pins[1]);
    assert_eq!(pins[0], pins[2]);
    assert_ne!(pins[0], pins[3]);
}

#[tokio::test]
async fn an_archive_without_inrelease_and_one_without_updates() {
    let whole = Mirror::start(|path| archive(path, "today", "one", "arm")).await;
    let plain = Mirror::start(|path| {
        let framed = path.replace("/Release", "/InRelease");
        match (path.ends_with("/Release"), archive(&framed, "today", "one", "arm")) {
            (true, Reply::Text(text)) => {
                let (_, fields) = text.split_once("\n\n").unwrap();
                Reply::Text(fields.split("-----").next().unwrap().to_owned())
            }
            _ => Reply::Missing,
        }
    })
    .await;
    let bench = Bench::new();
    assert_eq!(bench.ask(&plain.address()).await, bench.ask(&whole.address()).await);
    let mut spec = bookworm(&whole.address());
    spec.updates = Some(false);
    let (pin, _) = bench.pin(&spec, Limits::default()).await;
    assert_ne!(pin.unwrap(), bench.ask(&whole.address()).await);
    assert_eq!(whole.seen().len(), 7);
}

/// Its name, words of its error, and what is said in place of a good text.
type Failure = (&'static str, &'static str, fn(String) -> Reply);

#[tokio::test]
async fn what_cannot_be_asked_is_named_and_the_last_answer_taken() {
    let short = Limits { bytes: 64 << 10, time: Duration::from_millis(1500) };
    let text = |path: &str| match archive(path, "today", "one", "arm") {
        Reply::Text(text) => text,
        _ => String::new(),
    };
    let failures: [Failure; 5] = [
        ("silent", "no answer within 1.5 seconds", |_| Reply::Silence),
        ("cut by its sender", "cut short", |text| Reply::Text(text[..text.len() - 9].to_owned())),
        ("cut on the way", "", Reply::Half),
        ("without an end", "longer than 65536 bytes", |_| Reply::Endless),
        ("a login page", "no Release file", |_| Reply::Text("<html>log in</html>".to_owned())),
    ];
    for (what, words, reply) in failures {
        let good = Arc::new(AtomicBool::new(false));
        let switch = good.clone();
        let mirror = Mirror::start(move |path| {
            if path.contains("bookworm-updates") && !switch.load(Ordering::SeqCst) {
                return reply(text(path));
            }
            archive(path, "today", "one", "arm")
        })
        .await;
        let (bench, spec) = (Bench::new(), bookworm(&mirror.address()));
        let error = bench.pin(&spec, short).await.0.unwrap_err().to_string();
        assert!(
            error.contains(words) && error.contains("/dists/bookworm-updates"),
            "{what}: {error}"
        );
        good.store(true, Ordering::SeqCst);
        let pin = bench.ask(&mirror.address()).await;
        good.store(false, Ordering::SeqCst);
        let (again, warnings) = bench.pin(&spec, short).await;
        assert_eq!(again.unwrap(), pin, "{what}");
        assert!(
            matches!(&warnings[..], [one] if one.contains("bookworm-updates") && one.contains(" UTC")),
            "{what}: {warnings:?}"
        );
    }
}

#[tokio::test]
async fn a_suite_that_is_not_there_is_told() {
    let mirror = Mirror::start(|_| Reply::Missing).await;
    let (pin, _) = Bench::new().pin(&bookworm(&mirror.address()), Limits::default()).await;
    let error = pin.unwrap_err();
    assert_eq!(error.kind(), imgbake_build::BuildErrorKind::NotFound);
    assert!(error.to_string().contains(&mirror.address()), "{error}");
}

#[tokio::test]
async fn a_login_goes_to_the_mirror_and_nowhere_else() {
    let mirror = Mirror::start(|path| archive(path, "today", "one", "arm")).await;
    let bench = Bench::new();
    bench.secrets.add("password", "s3cr3t-p%word");
    let with_login = |password: &str| mirror.address().replace("//", &format!("//me:{password}@"));
    let pin = bench.ask(&with_login("s3cr3t-p%25word")).await;
    assert_eq!(pin, bench.ask(&mirror.address()).await);
    let seen = mirror.seen();
    // base64 of `me:s3cr3t-p%word`
    let reported =
        |request: &&String| request.contains("Authorization: Basic bWU6czNjcjN0LXAld29yZA==");
    assert_eq!((seen.len(), seen.iter().filter(reported).count()), (6, 3), "{seen:?}");

    // Where no login is, apt would need it on its command line.
    let address = format!("{}/{}", mirror.address(), secret::marker("token"));
    bench.secrets.add("token", "0123456789abcdef");
    assert!(matches!(
        bench.pin(&bookworm(&address), Limits::default()).await.0,
        Ok(Pin::Unknown(_))
    ));
    assert!(matches!(bench.ask(&with_login("a%20b")).await, Pin::Unknown(_)));
    assert_eq!(mirror.seen().len(), 6);
}

/// Where neither the template nor the host names a mirror.
#[tokio::test]
async fn mmdebstrap_tells_its_own_sources_without_fetching() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(Utf8Path::from_path(dir.path()).unwrap().join("home"));
    let (events, _told) = Events::channel("test", Secrets::default());
    let job = Job::begin(&home, "test-1", Cancel::new(), events, Secrets::default()).unwrap();
    let mut spec = spec(Distribution::Debian, "bookworm");
    let list = root::own_sources(&job, &spec, Arch::X86_64).await.unwrap();
    let names = |spec: &BootstrapSpec| -> Vec<String> {
        suites(&list, spec).into_iter().map(|suite| suite.name).collect()
    };
    assert_eq!(names(&spec), ["bookworm", "bookworm-updates", "bookworm-security"]);
    spec.updates = Some(false);
    assert_eq!(names(&spec), ["bookworm"]);
    assert_eq!(job.work().read_dir_utf8().unwrap().count(), 0);
    job.end().unwrap();
}
