//! Many at once: nothing is lost.

use std::fs;

use camino::Utf8PathBuf;
use imgbake_oci::{Remote, RemoteOptions};
use imgbake_registry::Layout;
use imgbake_registry::transfer::{End, copy};
use imgbake_runtime::Command;
use imgbake_testkit::{DockerRegistry, DockerSettings, Habits, TestRegistry};
use imgbake_types::Target;

use crate::fixture::{
    Fixture, INDEX, MANIFEST, VERSION, job, put_untagged, referrer, seed, version,
};

const CHILD: [&str; 3] = ["--ignored", "--exact", "many::child_pushes"];

/// Ten statements about one version, from ten registries into one repository at once.
#[tokio::test]
async fn ten_writers_lose_no_referrer() {
    let docker = DockerRegistry::start(DockerSettings::default());
    let own = TestRegistry::start(Habits { no_referrers: true, ..Habits::default() }).await;
    for host in [docker.host(), own.host()] {
        let fixture = Fixture::new();
        let mut writers = Vec::new();
        for number in 0..10 {
            let source = TestRegistry::start(Habits::default()).await;
            seed(&source, "web", VERSION, 7);
            let (statement, layer) = referrer(INDEX, &version(VERSION, 7).index, 20 + number);
            source.put_blob("web", &layer);
            put_untagged(&source, "web", MANIFEST, &statement);
            let (from, to) =
                (fixture.remote(&source.host(), "web").await, fixture.remote(&host, "web").await);
            let job = fixture.job.clone();
            writers.push(tokio::spawn(async move {
                let _source = source;
                copy(&job, &from, &Target::Tag(VERSION.to_owned()), &to, None).await.unwrap()
            }));
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let all =
            fixture.copy(&fixture.remote(&host, "web").await, &fixture.local("web")).await.unwrap();
        assert_eq!(all.referrers, 2 + 10, "{host}");
    }
}

/// Ten processes push ten versions, each with two statements.
#[tokio::test]
async fn ten_processes_push_into_one_repository() {
    let docker = DockerRegistry::start(DockerSettings::default());
    let fixture = Fixture::new();
    let source = TestRegistry::start(Habits::default()).await;
    let tags: Vec<String> = (1..=10).map(|number| format!("2026.11.23-{number}")).collect();
    for (tag, number) in tags.iter().zip(1..) {
        seed(&source, "web", tag, number);
    }
    let exe = Utf8PathBuf::from_path_buf(std::env::current_exe().unwrap()).unwrap();
    let children = tags.iter().map(|tag| {
        let dir = fixture.dir.join(tag);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("child"), format!("{} {} {tag}", source.host(), docker.host())).unwrap();
        let command = Command::new(exe.clone()).args(CHILD).current_dir(dir);
        let job = fixture.job.clone();
        tokio::spawn(async move { command.run(&job).await.unwrap() })
    });
    for child in children.collect::<Vec<_>>() {
        child.await.unwrap();
    }
    // The registry's own clean-up takes nothing of it.
    docker.collect_garbage();
    let from = fixture.remote(&docker.host(), "web").await;
    let local = fixture.local("web");
    for (tag, number) in tags.iter().zip(1..) {
        let copied =
            copy(&fixture.job, &from, &Target::Tag(tag.clone()), &local, None).await.unwrap();
        assert_eq!((copied.digest, copied.referrers), (version(tag, number).digest, 2), "{tag}");
    }
    fixture.blobs();
}

/// Pushes one version: started by the test above in a folder of its own.
#[tokio::test]
#[ignore = "started by other tests"]
async fn child_pushes() {
    let Ok(reported) = fs::read_to_string("child") else { return };
    let [from, to, tag] = reported.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let dir = Utf8PathBuf::from_path_buf(std::env::current_dir().unwrap()).unwrap();
    let job = job(&dir);
    let place = async |host: &str| {
        let remote = Remote::connect(&job, host, &RemoteOptions::default()).await.unwrap();
        End::remote(&job, remote.repository("web").unwrap())
    };
    let layout = Layout::open(dir.join("registry")).unwrap();
    let local = End::local(&layout, "web").unwrap();
    let target = Target::Tag(tag.to_owned());
    copy(&job, &place(from).await, &target, &local, None).await.unwrap();
    copy(&job, &local, &target, &place(to).await, None).await.unwrap();
    job.end().unwrap();
}
