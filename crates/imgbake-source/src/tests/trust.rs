//! What goes to whom: headers, secrets, checksum files.

use std::collections::BTreeMap;

use imgbake_build::{BuildErrorKind, SourceProvider};
use imgbake_types::event::Level;
use imgbake_types::plan::{Checksum, Source, UrlSource as Spec};
use imgbake_types::{Digest, EventKind, secret};

use super::server::{Reply, Server};
use super::{Bench, impatient, noise, proved, url};

const TOKEN: &str = "s3cr3t-token-value";

fn with_header(location: &str, checksum: Checksum, name: &str, value: &str) -> Source {
    let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    Source::Url(Spec { location: location.to_owned(), checksum, headers })
}

#[tokio::test]
async fn headers_stay_with_the_host_that_the_template_names() {
    let body = noise(4);
    let (file, sums) = (body.clone(), format!("{}  d.raw\n", Digest::sha256(&body).hex()));
    let other = Server::start(move |request| match request.path.as_str() {
        "/SUMS" => Reply::new(200, sums.as_bytes()),
        _ => Reply::ranged(request, &file),
    })
    .await;
    let away = other.url("/d.raw");
    let server = Server::start(move |request| match request.path.as_str() {
        "/d.raw" => Reply::new(302, b"").header("location", "/moved"),
        _ => Reply::new(307, b"").header("location", &away),
    })
    .await;
    let bench = Bench::new();
    bench.secrets.add("token", TOKEN);
    let value = format!("Bearer {}", secret::marker("token"));
    let checksum = Checksum::Sums { location: other.url("/SUMS") };
    let source = with_header(&server.url("/d.raw"), checksum, "Authorization", &value);
    bench.run(&impatient(), &source).await.0.unwrap();
    let sent: Vec<_> =
        server.seen().iter().map(|r| r.headers.get("authorization").cloned()).collect();
    assert_eq!(sent, vec![Some(format!("Bearer {TOKEN}")); 2]);
    assert!(other.seen().iter().all(|r| !r.headers.contains_key("authorization")));
    assert_eq!(other.seen().len(), 2);
}

#[tokio::test]
async fn secrets_are_in_no_error() {
    let server = Server::start(|_| Reply::new(404, b"")).await;
    let bench = Bench::new();
    bench.secrets.add("token", TOKEN);
    let marker = secret::marker("token");
    let newline = format!("{marker}\nx");
    for source in [
        url(&server.url(&format!("/{marker}/d.raw?key={marker}")), proved(b"")),
        url(&server.url("/d.raw").replace("//", &format!("//user:{marker}@")), proved(b"")),
        url(&format!("ftp://{marker}/"), proved(b"")),
        with_header(&server.url("/d.raw"), proved(b""), "X-Token", &newline),
    ] {
        impatient().check(&source).err();
        let (got, mut events) = bench.run(&impatient(), &source).await;
        let error = format!("{:?}", got.unwrap_err());
        assert!(!error.contains(TOKEN), "{error}");
        while let Ok(event) = events.try_recv() {
            assert!(!format!("{event:?}").contains(TOKEN));
        }
    }
    assert!(server.seen().iter().any(|r| r.path.contains(TOKEN)), "but the server gets it");
    let source = with_header(&server.url("/"), proved(b""), "X-Token", &newline);
    assert_eq!(bench.run(&impatient(), &source).await.0.unwrap_err().kind(), BuildErrorKind::Usage);
}

#[tokio::test]
async fn checksum_files_are_found_by_name() {
    let body = noise(4);
    let line = format!("{} *d.raw\n", Digest::sha256(&body).hex());
    let file = body.clone();
    let text = line.clone();
    let server = Server::start(move |request| match request.path.as_str() {
        "/SHA256SUMS" if request.number == 0 => Reply::new(200, text.as_bytes()).cut(10),
        "/SHA256SUMS" => Reply::new(200, text.as_bytes()),
        "/OTHER" => Reply::new(200, text.replace("d.raw", "e.raw").as_bytes()),
        "/HUGE" => Reply::new(200, &vec![b'a'; 5 << 20]),
        _ => Reply::ranged(request, &file),
    })
    .await;
    let bench = Bench::new();
    let file = bench.file("SUMS", &line);
    for location in [server.url("/SHA256SUMS"), file.to_string(), format!("file:{file}")] {
        let disk =
            bench.fetch(&server.url("/x/d.raw?a=b"), Checksum::Sums { location }).await.unwrap();
        assert_eq!(disk.parent.digest, Digest::sha256(&body));
    }
    for (path, words) in
        [("/OTHER", "has no checksum for `d.raw`"), ("/HUGE", "it is no checksum file")]
    {
        let checksum = Checksum::Sums { location: server.url(path) };
        let error = bench.fetch(&server.url("/d.raw"), checksum).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn an_unverified_disk_is_warned_of() {
    let server = Server::of(noise(4)).await;
    let bench = Bench::new();
    let source = url(&server.url("/d.raw"), Checksum::Unverified);
    let (got, mut events) = bench.run(&impatient(), &source).await;
    assert_eq!(got.unwrap().parent.digest, Digest::sha256(noise(4)));
    let mut warned = false;
    while let Ok(event) = events.try_recv() {
        warned |= matches!(event.kind, EventKind::Notice { level: Level::Warning, .. });
    }
    assert!(warned);
    // Nothing says that the server's bytes are still the same.
    bench.run(&impatient(), &source).await.0.unwrap();
    assert_eq!(server.seen().len(), 2);
}
