//! Layers that builds share through a layout.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind, LayerShare, Registry, SharedLayer};
use imgbake_registry::{Layout, LayoutShare};
use imgbake_runtime::{Cancel, Command, Events, Home, Job, Secrets};
use imgbake_types::Digest;
use serde_json::{Value, json};

use crate::common::{Fixture, MIB, disk, names_in, scribble};
use crate::processes::{STRACE, exe};
use crate::skopeo::skopeo;

const CHILD: [&str; 3] = ["--ignored", "--exact", "shared::child_pushes"];

fn share(fixture: &Fixture) -> LayoutShare {
    LayoutShare::open(fixture.layout.root()).unwrap()
}

fn key(name: &str) -> Digest {
    Digest::sha256(name)
}

fn record(name: &str) -> Value {
    json!({ "step": name, "seconds": 1.5, "nested": { "b": [1, null], "a": u64::MAX } })
}

/// A layer of one file, `disk.qcow2`, with the bytes of `disk(seed)`.
fn layer(dir: &Utf8Path, name: &str, seed: u64) -> SharedLayer {
    let path = dir.join(format!("{name}-{seed}.qcow2"));
    fs::write(&path, disk(seed)).unwrap();
    SharedLayer {
        key: key(name),
        parent: Some(key("parent")),
        record: record(name).to_string().into_bytes(),
        files: vec![("disk.qcow2".to_owned(), path)],
    }
}

/// Pulls into a new folder, which must be empty after an error.
async fn pull(
    share: &LayoutShare,
    job: &Job,
    dir: &Utf8Path,
    key: &Digest,
) -> Result<(Value, Utf8PathBuf), BuildError> {
    let folder = tempfile::Builder::new().prefix("pulled-").tempdir_in(dir).unwrap().keep();
    let folder = Utf8PathBuf::from_path_buf(folder).unwrap();
    let pulled = share.pull(job, key, &folder).await;
    if pulled.is_err() {
        assert!(names_in(&folder).is_empty(), "{:?}", names_in(&folder));
    }
    Ok((serde_json::from_slice(&pulled?).unwrap(), folder))
}

#[tokio::test]
async fn a_sparse_layer_comes_back_with_its_holes() {
    let fixture = Fixture::new();
    let (job, share) = (fixture.job(), share(&fixture));
    let big = fixture.dir.join("big");
    let file = File::create(&big).unwrap();
    // 20 MiB of a GiB and an odd byte, in four places; what it begins with makes it no other disk.
    file.set_len((1 << 30) + 1).unwrap();
    let noise = disk(7)[3 * MIB..4 * MIB].repeat(5);
    for at in [0, 300 << 20, (700 << 20) + 4096, (1 << 30) + 1 - noise.len() as u64] {
        file.write_all_at(&noise, at).unwrap();
    }
    file.write_all_at(b"QFI\xfb", 0).unwrap();
    let (small, empty) = (fixture.dir.join("small"), fixture.dir.join("empty"));
    fs::write(&small, "{}").unwrap();
    fs::write(&empty, "").unwrap();
    let files = [("disk.raw", &big), ("notes", &small), ("empty", &empty)];
    let layer = SharedLayer {
        key: key("big"),
        parent: None,
        record: record("big").to_string().into_bytes(),
        files: files.map(|(name, path)| (name.to_owned(), path.clone())).into(),
    };
    let written = share.push(&job, layer.clone()).await.unwrap();
    // The four places hold the same bytes, which are stored once.
    assert!((1 << 20..2 << 20).contains(&written), "{written}");
    assert_eq!(names_in(job.work()), Vec::<String>::new());
    for name in fixture.blobs() {
        assert!(fixture.path("blobs/sha256").join(name).metadata().unwrap().len() <= 64 << 20);
    }
    assert_eq!(share.push(&job, layer.clone()).await.unwrap(), 0, "it is there already");
    let again = SharedLayer { key: key("same disk"), ..layer };
    assert!(share.push(&job, again).await.unwrap() < 64 << 10, "equal blobs are stored once");

    let (reported, folder) = pull(&share, &job, &fixture.dir, &key("big")).await.unwrap();
    assert_eq!(reported, record("big"));
    assert_eq!(names_in(&folder), ["disk.raw", "empty", "notes"]);
    assert_eq!(fs::read(folder.join("notes")).unwrap(), b"{}");
    assert_eq!(fs::read(folder.join("empty")).unwrap(), b"");
    let pulled = folder.join("disk.raw").metadata().unwrap();
    assert_eq!((pulled.len(), pulled.mode() & 0o777), ((1 << 30) + 1, 0o600));
    assert!(pulled.blocks() * 512 < 24 << 20, "{} blocks", pulled.blocks());
    let digest = |path: &Utf8Path| {
        let mut hasher = imgbake_disk::DiskHasher::new();
        let (file, mut buffer) = (File::open(path).unwrap(), vec![0; MIB]);
        for at in (0..pulled.len()).step_by(MIB) {
            let count = file.read_at(&mut buffer, at).unwrap();
            hasher.update(&buffer[..count]);
        }
        hasher.finish()
    };
    assert_eq!(digest(&big), digest(&folder.join("disk.raw")));
    let full = share.pull(&job, &key("big"), &folder).await.unwrap_err();
    assert_eq!(full.kind(), BuildErrorKind::Usage);
    assert_eq!(names_in(&folder).len(), 3, "what was there stays");
    job.end().unwrap();
}

#[tokio::test]
async fn layers_are_found_by_key_beside_versions() {
    let fixture = Fixture::new();
    let (job, share) = (fixture.job(), share(&fixture));
    let version = fixture.publish("web", 1).await;
    for name in ["a", "b"] {
        share.push(&job, layer(&fixture.dir, name, 1)).await.unwrap();
    }
    let keys = ["none", "a", "other", "b"].map(key);
    assert_eq!(share.has(&job, &keys).await.unwrap(), [key("a"), key("b")]);
    let reader = LayoutShare::open_existing(fixture.layout.root()).unwrap();
    assert_eq!(reader.has(&job, &keys).await.unwrap().len(), 2);
    let versions = fixture.listed(None).await;
    assert_eq!(versions, [fixture.resolve("web").await.unwrap()]);
    fixture.layout.sweep().await.unwrap();
    assert!(fixture.restore(&version.digest).await.unwrap() == disk(1));
    let (_, folder) = pull(&share, &job, &fixture.dir, &key("b")).await.unwrap();
    assert!(fs::read(folder.join("disk.qcow2")).unwrap() == disk(1));
    let error = pull(&share, &job, &fixture.dir, &key("none")).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::NotFound);
    let error = LayoutShare::open_existing(fixture.dir.join("nowhere")).unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::NotFound);
    assert!(!fixture.dir.join("nowhere").exists());
    // A key that begins alike is another key.
    let mut hex = key("a").hex().to_owned();
    hex.replace_range(60.., "0000");
    assert!(share.has(&job, &[Digest::from_hex(&hex).unwrap()]).await.unwrap().is_empty());
    job.end().unwrap();
}

#[tokio::test]
async fn damage_is_told_once_and_mended_by_a_push() {
    let fixture = Fixture::new();
    let job = fixture.job();
    share(&fixture).push(&job, layer(&fixture.dir, "a", 1)).await.unwrap();
    for name in fixture.blobs() {
        let path = fixture.path("blobs/sha256").join(&name);
        let good = fs::read(&path).unwrap();
        for damage in ["flip", "cut", "remove"] {
            match damage {
                "flip" => scribble(&path, good.len() as u64 / 2, b"\x00damaged"),
                "cut" => {
                    File::options().write(true).open(&path).unwrap().set_len(100).unwrap();
                }
                _ => fs::remove_file(&path).unwrap(),
            }
            let share = share(&fixture);
            let error = pull(&share, &job, &fixture.dir, &key("a")).await.unwrap_err();
            let text = error.to_string();
            assert_eq!(error.kind(), BuildErrorKind::Failed, "{text}");
            assert!(text.contains(&name) && text.contains("layer-"), "{damage}: {text}");
            assert!(error.help_text().is_some_and(|help| help.contains("--cache-to")));
            assert!(share.has(&job, &[key("a")]).await.unwrap().is_empty(), "{damage}");
            share.push(&job, layer(&fixture.dir, "a", 1)).await.unwrap();
            assert_eq!(share.has(&job, &[key("a")]).await.unwrap(), [key("a")]);
            let (_, folder) = pull(&share, &job, &fixture.dir, &key("a")).await.unwrap();
            assert!(fs::read(folder.join("disk.qcow2")).unwrap() == disk(1), "{damage}");
        }
    }
    job.end().unwrap();
}

/// Puts another config into the layout's only layer, with the digests that it asks for.
fn forge(fixture: &Fixture, change: impl Fn(&mut Value)) {
    let put = |value: &Value| {
        let bytes = value.to_string();
        let digest = Digest::sha256(&bytes);
        fs::write(fixture.blob(&digest), &bytes).unwrap();
        (json!(digest.to_string()), json!(bytes.len()))
    };
    let read = |digest: &Value| -> Value {
        let digest = digest.as_str().unwrap().parse().unwrap();
        serde_json::from_slice(&fs::read(fixture.blob(&digest)).unwrap()).unwrap()
    };
    let path = fixture.path("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut manifest = read(&index["manifests"][0]["digest"]);
    let mut config = read(&manifest["config"]["digest"]);
    change(&mut config["io.imgbake.files"][0]);
    (manifest["config"]["digest"], manifest["config"]["size"]) = put(&config);
    (index["manifests"][0]["digest"], index["manifests"][0]["size"]) = put(&manifest);
    fs::write(path, index.to_string()).unwrap();
}

#[tokio::test]
async fn a_file_leads_nowhere_else() {
    let fixture = Fixture::new();
    let (job, share) = (fixture.job(), share(&fixture));
    let names = ["", ".", "..", "../x", "a/b", "/etc/x", "a\0b", "a\nb", &"a".repeat(256)];
    for name in names {
        let mut layer = layer(&fixture.dir, "a", 1);
        layer.files[0].0 = name.to_owned();
        let error = share.push(&job, layer).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Usage, "{name:?}");
    }
    let mut twice = layer(&fixture.dir, "a", 1);
    twice.files.push(twice.files[0].clone());
    assert_eq!(share.push(&job, twice).await.unwrap_err().kind(), BuildErrorKind::Usage);
    let mut no_json = layer(&fixture.dir, "a", 1);
    no_json.record = b"{".to_vec();
    assert!(share.push(&job, no_json).await.is_err());
    assert!(fixture.blobs().is_empty());

    let lies: Vec<(&str, Value)> = names
        .iter()
        .map(|name| ("name", json!(name)))
        .chain([("size", json!(0)), ("size", json!(u64::MAX)), ("layers", json!(7))])
        .chain([("layers", json!(0)), ("disk", json!({}))])
        .collect();
    for (field, lie) in lies {
        share.push(&job, layer(&fixture.dir, "a", 1)).await.unwrap();
        forge(&fixture, |file| file[field] = lie.clone());
        let error = pull(&share, &job, &fixture.dir, &key("a")).await.unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Failed, "{field} {lie}: {error}");
    }
    // Sizes that agree with each other and not with the bytes.
    share.push(&job, layer(&fixture.dir, "a", 1)).await.unwrap();
    forge(&fixture, |file| {
        (file["size"], file["disk"]["virtual_size"]) = (json!(7 << 20), json!(7 << 20));
    });
    assert!(pull(&share, &job, &fixture.dir, &key("a")).await.is_err());
    job.end().unwrap();
}

#[tokio::test]
async fn writers_at_once_lose_nothing() {
    let fixture = Fixture::new();
    let job = fixture.job();
    let pushes = (0..8_u64).map(|number| {
        let (share, name) = (share(&fixture), format!("layer {}", number % 4));
        let dir = tempfile::Builder::new().tempdir_in(&fixture.dir).unwrap().keep();
        let layer = layer(&Utf8PathBuf::from_path_buf(dir).unwrap(), &name, number % 2);
        let job = &job;
        async move { share.push(job, layer).await.unwrap() }
    });
    futures::future::join_all(pushes).await;
    let share = share(&fixture);
    for number in 0..4 {
        let wanted = key(&format!("layer {number}"));
        let (reported, folder) = pull(&share, &job, &fixture.dir, &wanted).await.unwrap();
        assert_eq!(reported["step"], format!("layer {number}"));
        assert!(fs::read(folder.join("disk.qcow2")).unwrap() == disk(number % 2));
    }
    assert!(names_in(&fixture.path("publishing")).is_empty());
    job.end().unwrap();
}

/// `kill -9` as a process is about to make something durable, name it or take it away.
#[tokio::test]
async fn a_push_that_is_killed_leaves_nothing_or_the_layer() {
    let fixture = Fixture::new();
    let (job, share) = (fixture.job(), share(&fixture));
    share.push(&job, layer(&fixture.dir, "first", 1)).await.unwrap();
    let (mut seed, mut kills) = (1, 0);
    for call in ["fsync", "?rename", "?renameat", "?renameat2", "?unlink", "unlinkat"] {
        for number in 1.. {
            seed += 1;
            fs::write(fixture.dir.join("child"), seed.to_string()).unwrap();
            let inject = format!("inject={call}:signal=SIGKILL:when={number}");
            let command =
                STRACE.command().unwrap().args(["-f", "-qq", "-o", "/dev/null", "-e", &inject]);
            let command: Command = command.arg(exe()).args(CHILD).current_dir(fixture.dir.clone());
            let survived = command.output(&job).await.unwrap().status.success();
            fixture.layout.sweep().await.unwrap();
            assert!(names_in(&fixture.path("publishing")).is_empty());
            let pushed = key(&seed.to_string());
            let there = !share.has(&job, std::slice::from_ref(&pushed)).await.unwrap().is_empty();
            assert!(there || !survived);
            for (wanted, seed) in [(pushed, seed), (key("first"), 1)] {
                if there || seed == 1 {
                    let (_, folder) = pull(&share, &job, &fixture.dir, &wanted).await.unwrap();
                    assert!(fs::read(folder.join("disk.qcow2")).unwrap() == disk(seed));
                    fs::remove_dir_all(folder).unwrap();
                }
            }
            if survived {
                break;
            }
            kills += 1;
            assert!(kills < 100, "it ends");
        }
    }
    assert!(kills >= 12, "only {kills} kills: was the push traced?");
    job.end().unwrap();
}

/// Pushes one layer: started by the test above in its folder.
#[tokio::test]
#[ignore = "started by another test"]
async fn child_pushes() {
    let Ok(seed) = fs::read_to_string("child") else { return };
    let dir = Utf8PathBuf::from_path_buf(std::env::current_dir().unwrap()).unwrap();
    let home = Home::new(dir.join("child-home"));
    let id = imgbake_runtime::job::new_id("child");
    let (events, _) = Events::channel(&id, Secrets::default());
    let job = Job::begin(&home, &id, Cancel::new(), events, Secrets::default()).unwrap();
    let share = LayoutShare::open(dir.join("registry")).unwrap();
    share.push(&job, layer(&dir, &seed, seed.parse().unwrap())).await.unwrap();
    job.end().unwrap();
}

#[tokio::test]
async fn a_cancelled_pull_leaves_nothing() {
    let fixture = Fixture::new();
    let (job, share) = (fixture.job(), share(&fixture));
    share.push(&job, layer(&fixture.dir, "a", 1)).await.unwrap();
    job.cancel().cancel();
    let ended = pull(&share, &job, &fixture.dir, &key("a")).await;
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == BuildErrorKind::Cancelled));
    let pushed = share.push(&job, layer(&fixture.dir, "b", 2)).await;
    assert_eq!(pushed.unwrap_err().kind(), BuildErrorKind::Cancelled);
    assert_eq!(share.has(&job, &[key("a"), key("b")]).await.unwrap(), [key("a")]);
    job.end().unwrap();
}

#[tokio::test]
async fn skopeo_reads_and_copies_layers() {
    let fixture = Fixture::new();
    let (job, share) = (fixture.job(), share(&fixture));
    share.push(&job, layer(&fixture.dir, "a", 1)).await.unwrap();
    let tag = format!("layer-{}", &key("a").hex()[..40]);
    let from = format!("oci:{}:{tag}", fixture.layout.root());
    let shown = skopeo(&job, &["inspect", &from]).await;
    let shown: Value = serde_json::from_slice(&shown).unwrap();
    assert!(shown["Layers"].as_array().is_some_and(|layers| !layers.is_empty()), "{shown}");
    let raw = skopeo(&job, &["inspect", "--raw", &from]).await;
    let raw: Value = serde_json::from_slice(&raw).unwrap();
    assert_eq!(raw["artifactType"], "application/vnd.imgbake.layer.v1+json");
    assert_eq!(raw["annotations"]["io.imgbake.layer.key"], key("a").to_string());
    assert_eq!(raw["annotations"]["io.imgbake.layer.parent"], key("parent").to_string());
    let copy = fixture.dir.join("copy");
    skopeo(&job, &["copy", &from, &format!("oci:{copy}:{tag}")]).await;
    Layout::open(copy.clone()).unwrap();
    let copied = LayoutShare::open_existing(copy).unwrap();
    assert_eq!(copied.has(&job, &[key("a")]).await.unwrap(), [key("a")]);
    let (reported, folder) = pull(&copied, &job, &fixture.dir, &key("a")).await.unwrap();
    assert_eq!(reported, record("a"));
    assert!(fs::read(folder.join("disk.qcow2")).unwrap() == disk(1));
    job.end().unwrap();
}
