//! Downloads that are cut, lied about, refused, interrupted, and resumed.

use imgbake_build::BuildErrorKind;
use imgbake_types::Digest;
use imgbake_types::plan::Checksum;

use super::server::{Reply, Server};
use super::{Bench, impatient, noise, proved, url};

#[tokio::test]
async fn a_body_cut_at_many_places_is_whole_at_the_end() {
    let body = noise(600);
    let cuts = [1, 511, 512, 4097, 70_000, 3, 100_000, 65_536];
    let file = body.clone();
    let server = Server::start(move |request| {
        let reply = Reply::ranged(request, &file).header("etag", "\"one\"");
        cuts.get(request.number).map_or(reply.clone(), |&cut| reply.cut(cut))
    })
    .await;
    let bench = Bench::new();
    let disk = bench.fetch(&server.url("/d.raw"), proved(&body)).await.unwrap();
    assert_eq!(std::fs::read(&disk.local().unwrap().path).unwrap(), body);
    assert_eq!(
        (disk.local().unwrap().virtual_size, disk.bytes, disk.cached),
        (body.len() as u64, body.len() as u64, false)
    );
    assert_eq!(disk.parent.digest, Digest::sha256(&body));
    let seen = server.seen();
    let firsts: Vec<_> = seen.iter().map(|request| request.first().unwrap_or(0)).collect();
    assert!(firsts.is_sorted(), "each attempt resumes where the last stopped: {firsts:?}");
    assert!(firsts.last() > Some(&200_000), "{firsts:?}");
    assert!(
        seen[1..].iter().all(|r| r.headers.get("if-range").is_some_and(|tag| tag == "\"one\""))
    );
    // The second time there is no request.
    let again = bench.fetch(&server.url("/d.raw"), proved(&body)).await.unwrap();
    assert!(
        again.cached
            && again.local().unwrap().path == disk.local().unwrap().path
            && again.bytes == 0
    );
    assert_eq!(server.seen().len(), seen.len());
}

#[tokio::test]
async fn servers_that_misbehave_once_are_forgiven() {
    let body = noise(300);
    let full = Reply::new(200, &body);
    let other = noise(301);
    // A first answer, and what the server then says to a request for the rest.
    let cases: Vec<(&str, Reply, Option<Reply>)> = vec![
        ("it ignores Range", full.clone().cut(9000), Some(full.clone())),
        ("it says too much", full.clone().header("content-length", "999999"), None),
        ("it is busy", Reply::new(429, b"").header("retry-after", "0"), None),
        ("it is down", Reply::new(503, b"down"), None),
        ("it says nothing", full.clone().header("content-length", "5").cut(0), None),
        (
            "it resumes elsewhere",
            full.clone().cut(9000),
            Some(Reply::new(206, &body[9..109]).header("content-range", "bytes 9-108/153600")),
        ),
        (
            "it resumes with another file",
            full.clone().cut(9000),
            Some(
                Reply::new(206, &other[9000..]).header("content-range", "bytes 9000-154111/154112"),
            ),
        ),
        (
            "it resumes without saying where",
            full.clone().cut(9000),
            Some(Reply::new(206, &body[9000..])),
        ),
        (
            "it has no more",
            full.clone().cut(9000),
            Some(Reply::new(416, b"").header("content-range", "bytes */5")),
        ),
    ];
    for (what, first, second) in cases {
        let rest = body.clone();
        let server = Server::start(move |request| match (request.number, &second) {
            (0, _) => first.clone(),
            (1, Some(second)) => second.clone(),
            _ => Reply::ranged(request, &rest),
        })
        .await;
        let bench = Bench::new();
        let disk = bench.fetch(&server.url("/d.raw"), proved(&body)).await;
        let disk = disk.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(std::fs::read(&disk.local().unwrap().path).unwrap(), body, "{what}");
        assert_eq!(bench.kept().len(), 2, "{what}: {:?}", bench.kept());
    }
}

#[tokio::test]
async fn what_will_not_go_better_ends_at_once() {
    let body = noise(4);
    for (reply, kind, words, requests) in [
        (Reply::new(404, b""), BuildErrorKind::NotFound, "answers 404", 1),
        (Reply::new(403, b""), BuildErrorKind::Failed, "answers 403", 1),
        (
            Reply::new(302, b"").header("location", "file:///etc/passwd"),
            BuildErrorKind::Failed,
            "neither https nor http",
            1,
        ),
        (
            Reply::new(302, b"").header("location", "/again"),
            BuildErrorKind::Failed,
            "more than 10 times",
            11,
        ),
        (
            Reply::new(429, b"").header("retry-after", "86400"),
            BuildErrorKind::Failed,
            "asks to wait 86400 seconds",
            1,
        ),
        (Reply::new(503, b""), BuildErrorKind::Failed, "tried 3 times", 3),
        (
            Reply::new(200, &[]).header("content-length", "99999999999999999"),
            BuildErrorKind::Full,
            "needed",
            1,
        ),
    ] {
        let server = Server::start(move |_| reply.clone()).await;
        let bench = Bench::new();
        let error = bench.fetch(&server.url("/d.raw"), proved(&body)).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!((error.kind(), server.seen().len()), (kind, requests), "{error}");
    }
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = Bench::new().fetch(&format!("http://{nobody}/d"), proved(&body)).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_wrong_checksum_shows_both_digests_and_leaves_nothing() {
    let (body, other) = (noise(4), noise(5));
    let short = Reply::new(200, &body).header("content-length", "1024");
    for reply in [Reply::new(200, &body), short] {
        let server = Server::start(move |_| reply.clone()).await;
        let bench = Bench::new();
        let error = bench.fetch(&server.url("/d.raw"), proved(&other)).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(text.matches("sha256:").count(), 2, "{text}");
        assert!(text.contains(&Digest::sha256(&other).to_string()), "{text}");
        assert_eq!(error.kind(), BuildErrorKind::Failed);
        assert!(bench.kept().is_empty(), "{:?}", bench.kept());
    }
}

/// A first run that gets `cut` bytes with this tag, and then nothing.
async fn cut_run(
    bench: &Bench,
    body: &[u8],
    cut: usize,
    checksum: Checksum,
    second: impl Fn(&super::server::Request) -> Reply + Send + Sync + 'static,
) -> Server {
    let body = body.to_vec();
    let server = Server::start(move |request| match request.number {
        0 => Reply::new(200, &body).header("etag", "\"one\"").cut(cut),
        1..=3 => Reply::new(503, b""),
        _ => second(request),
    })
    .await;
    let error = bench.fetch(&server.url("/d.raw"), checksum).await.unwrap_err();
    assert!(error.help_text().is_some_and(|help| help.contains("resumes from there")), "{error}");
    assert_eq!(server.seen().len(), 4);
    server
}

#[tokio::test]
async fn the_next_run_resumes() {
    let body = noise(300);
    let bench = Bench::new();
    let file = body.clone();
    let server =
        cut_run(&bench, &body, 50_000, proved(&body), move |r| Reply::ranged(r, &file)).await;
    let disk = bench.fetch(&server.url("/d.raw"), proved(&body)).await.unwrap();
    assert_eq!(std::fs::read(&disk.local().unwrap().path).unwrap(), body);
    let seen = server.seen();
    assert_eq!(seen.len(), 5);
    assert_eq!((seen[4].first(), seen[4].headers["if-range"].as_str()), (Some(50_000), "\"one\""));
}

#[tokio::test]
async fn a_file_that_changed_between_runs_is_taken_from_its_start() {
    let (old, new) = (noise(300), [noise(1), vec![7; 512]].concat());
    for checksum in [proved(&new), Checksum::Unverified] {
        let bench = Bench::new();
        let file = new.clone();
        let server = cut_run(&bench, &old, 50_000, checksum.clone(), move |_| {
            Reply::new(200, &file).header("etag", "\"two\"")
        })
        .await;
        let disk = bench.fetch(&server.url("/d.raw"), checksum).await.unwrap();
        assert_eq!(std::fs::read(&disk.local().unwrap().path).unwrap(), new);
    }
}

#[tokio::test]
async fn bytes_that_rotted_between_runs_are_fetched_again() {
    let body = noise(300);
    let bench = Bench::new();
    let file = body.clone();
    let server =
        cut_run(&bench, &body, 50_000, proved(&body), move |r| Reply::ranged(r, &file)).await;
    let partial = bench.kept().into_iter().find(|name| !name.contains('.')).unwrap();
    std::fs::write(bench.downloads().join(partial), vec![0; 50_000]).unwrap();
    let disk = bench.fetch(&server.url("/d.raw"), proved(&body)).await.unwrap();
    assert_eq!(std::fs::read(&disk.local().unwrap().path).unwrap(), body);
    assert_eq!(server.seen()[5].first(), None);
}

#[tokio::test]
async fn two_fetches_at_once_download_once() {
    let body = noise(2000);
    let server = Server::of(body.clone()).await;
    let bench = Bench::new();
    let location = server.url("/d.raw");
    let (one, two) =
        tokio::join!(bench.fetch(&location, proved(&body)), bench.fetch(&location, proved(&body)));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.local().unwrap().path, two.local().unwrap().path);
    assert_ne!(one.cached, two.cached);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_interrupted_download_is_kept() {
    let body = noise(300);
    let file = body.clone();
    let server = Server::start(move |request| match request.number {
        0 => Reply::new(200, &file).header("etag", "\"one\"").cut(50_000).hang(),
        _ => Reply::ranged(request, &file),
    })
    .await;
    let mut bench = Bench::new();
    let (provider, source) = (impatient(), url(&server.url("/d.raw"), proved(&body)));
    let cancel = bench.cancel.clone();
    let partial = bench.downloads().join("partial");
    let interrupt = async {
        let limit = std::time::Duration::from_secs(30);
        let size = || async {
            let sizes = partial
                .read_dir_utf8()
                .ok()?
                .flatten()
                .map(|e| e.metadata().map_or(0, |m| m.len()));
            (sizes.max()? >= 50_000).then_some(())
        };
        imgbake_runtime::retry::poll(&imgbake_runtime::Cancel::new(), limit, "the bytes", size)
            .await
            .unwrap();
        cancel.cancel();
    };
    let ((got, _), ()) = tokio::join!(bench.run(&provider, &source), interrupt);
    assert_eq!(got.unwrap_err().kind(), BuildErrorKind::Cancelled);
    bench.cancel = imgbake_runtime::Cancel::new();
    let disk = bench.run(&provider, &source).await.0.unwrap();
    assert_eq!(std::fs::read(&disk.local().unwrap().path).unwrap(), body);
    assert_eq!(server.seen()[1].first(), Some(50_000));
}
