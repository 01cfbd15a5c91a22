//! Files of this host: used where they are, and images that lie.

use std::time::{Duration, SystemTime};

use camino::Utf8Path;
use imgbake_build::{BuildErrorKind, SourceProvider};
use imgbake_runtime::Tool;
use imgbake_types::Digest;
use imgbake_types::plan::Checksum;

use super::server::Server;
use super::{Bench, impatient, noise, proved, url};

fn age(path: &Utf8Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
}

#[tokio::test]
async fn a_plain_file_is_used_where_it_is_and_hashed_once() {
    let bench = Bench::new();
    let body = noise(40);
    let path = bench.file("d.raw", &body);
    age(&path);
    for (location, cached) in
        [(path.to_string(), false), (path.to_string(), true), (format!("file:{path}"), true)]
    {
        let disk = bench.fetch(&location, proved(&body)).await.unwrap();
        assert_eq!(
            (disk.local().unwrap().path.as_path(), disk.local().unwrap().virtual_size, disk.cached),
            (path.as_path(), 20_480, cached)
        );
        assert_eq!(
            (disk.parent.kind.as_str(), &disk.parent.digest),
            ("url", &Digest::sha256(&body))
        );
    }
    // A change shows, also with the same size and an old time.
    let mut other = body.clone();
    other[7] ^= 1;
    std::fs::write(&path, &other).unwrap();
    age(&path);
    let error = bench.fetch(path.as_str(), proved(&body)).await.unwrap_err();
    assert!(error.to_string().contains(&Digest::sha256(&other).to_string()), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), other, "a user's own file is never removed");
}

#[tokio::test]
async fn check_reports_what_is_missing_before_the_build() {
    let bench = Bench::new();
    for (location, kind) in [
        (bench.path().join("none.raw").to_string(), BuildErrorKind::NotFound),
        (bench.path().to_string(), BuildErrorKind::Usage),
        ("gopher://x/y".to_owned(), BuildErrorKind::Usage),
    ] {
        let source = url(&location, Checksum::Unverified);
        assert_eq!(impatient().check(&source).unwrap_err().kind(), kind, "{location}");
        assert_eq!(
            bench.run(&impatient(), &source).await.0.unwrap_err().kind(),
            kind,
            "{location}"
        );
    }
    let sums = Checksum::Sums { location: "relative/SUMS".to_owned() };
    assert!(impatient().check(&url("https://h.example/d.raw", sums)).is_err());
    impatient().check(&url("https://h.example/d.raw", Checksum::Unverified)).unwrap();
}

async fn qemu_img(bench: &Bench, arguments: &[&str]) {
    let (events, _events) = imgbake_runtime::Events::channel("t", bench.secrets.clone());
    let home = imgbake_runtime::Home::new(bench.path().join("tools"));
    let id = imgbake_runtime::job::new_id("t");
    let job = imgbake_runtime::Job::begin(
        &home,
        &id,
        bench.cancel.clone(),
        events,
        bench.secrets.clone(),
    )
    .unwrap();
    Tool::new("qemu-img", "qemu-utils")
        .command()
        .unwrap()
        .args(arguments)
        .output(&job)
        .await
        .unwrap();
    job.end().unwrap();
}

#[tokio::test]
async fn images_that_lie_are_named() {
    let bench = Bench::new();
    let path = |name: &str| bench.path().join(name).to_string();
    bench.file("source.raw", noise(4096));
    let (source, good, cut) = (path("source.raw"), path("good.qcow2"), path("cut.qcow2"));
    qemu_img(&bench, &["convert", "-O", "qcow2", &source, &good]).await;
    let disk = bench.fetch(&good, Checksum::Unverified).await.unwrap();
    assert_eq!(disk.local().unwrap().virtual_size, 4096 * 512);
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let (backed, outside, vmdk) = (path("backed.qcow2"), path("outside.qcow2"), path("d.vmdk"));
    qemu_img(&bench, &["create", "-f", "qcow2", "-F", "raw", "-b", &source, &backed]).await;
    let data = format!("data_file={},data_file_raw=on", path("data.raw"));
    qemu_img(&bench, &["create", "-f", "qcow2", "-o", &data, &outside, "1M"]).await;
    qemu_img(&bench, &["convert", "-O", "vmdk", &source, &vmdk]).await;
    let files = [
        (cut, "truncated"),
        (backed, "backing file"),
        (outside, "its data in another file"),
        (vmdk, "VMDK"),
        (bench.file("empty", "").to_string(), "it is empty"),
        (bench.file("page", "<!DOCTYPE html><html></html>").to_string(), "a web page"),
        (bench.file("odd", &noise(1)[1..]).to_string(), "511 bytes"),
        (bench.file("head", &bytes[..60]).to_string(), ""),
    ];
    for (file, words) in files {
        let error = bench.fetch(&file, Checksum::Unverified).await.unwrap_err();
        let text = format!(
            "{error} {}",
            std::error::Error::source(&error).map_or_else(String::new, ToString::to_string)
        );
        assert!(text.contains(words) && text.contains(&file), "{text}");
        // From a server it is the same, and nothing of it stays.
        let server = Server::of(std::fs::read(&file).unwrap()).await;
        let away = Bench::new();
        let error = away.fetch(&server.url("/d.qcow2"), Checksum::Unverified).await.unwrap_err();
        assert!(error.to_string().contains("/d.qcow2"), "{error}");
        assert!(away.kept().is_empty(), "{file}: {:?}", away.kept());
    }
}
