//! The journal ends what a killed job left, and nothing else.
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_runtime::journal::{Cleaners, Entry, Swept};
use imgbake_runtime::{Cancel, Command, Events, Home, Job, Secrets};

fn job(home: &Home, id: &str) -> Job {
    let (events, _) = Events::channel(id, Secrets::default());
    Job::begin(home, id, Cancel::new(), events, Secrets::default()).unwrap()
}

fn home(temp: &tempfile::TempDir) -> Home {
    Home::new(Utf8Path::from_path(temp.path()).unwrap().join("home"))
}

/// What a kill does: the job's processes go on, its lock is free, its journal and folder stay.
fn killed(job: Job, running: imgbake_runtime::Running) -> u32 {
    let pid = running.id().unwrap();
    std::mem::forget(running);
    drop(job);
    pid
}

async fn sweep(home: &Home, kept: bool) -> Vec<Swept> {
    imgbake_runtime::journal::sweep(home, kept, &Cleaners::default()).await.unwrap()
}

/// Sweeps until there is something: a process that another test of this binary has just forked holds a
/// copy of every lock until it runs its program.
async fn swept(home: &Home) -> Vec<Swept> {
    loop {
        let swept = sweep(home, true).await;
        if !swept.is_empty() {
            return swept;
        }
        std::thread::yield_now();
    }
}

/// How many processes carry a job's mark.
fn marked(job: &str) -> usize {
    let mark = format!("IMGBAKE_JOB={job}\0");
    let environ =
        |entry: std::fs::DirEntry| std::fs::read(entry.path().join("environ")).unwrap_or_default();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok()))
        .map(environ)
        .filter(|environ| String::from_utf8_lossy(environ).contains(&mark))
        .count()
}

fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test]
async fn a_killed_job_is_ended() {
    let temp = tempfile::tempdir().unwrap();
    let home = home(&temp);
    let outside = Utf8PathBuf::from_path_buf(temp.path().join(".disk.qcow2.build-1")).unwrap();
    let theirs = Utf8PathBuf::from_path_buf(temp.path().join("theirs")).unwrap();
    let job = job(&home, "build-1");
    for path in [&outside, &theirs] {
        std::fs::write(path, "x").unwrap();
        job.record(&Entry::Path { path: path.clone() }).unwrap();
    }
    std::fs::write(job.work().join("disk"), "x").unwrap();
    // Its own child, and a grandchild in a session of its own.
    let running =
        Command::new("/bin/sh").args(["-c", "setsid sleep 1000 & sleep 1000"]).spawn(&job).unwrap();
    while marked("build-1") < 3 {
        std::thread::yield_now();
    }
    let pid = killed(job, running);
    let swept = swept(&home).await;
    assert_eq!((swept.len(), marked("build-1")), (1, 0));
    assert!(swept[0].processes >= 3, "{swept:?}");
    assert!(!alive(pid));
    assert!(!outside.exists() && theirs.exists());
    assert!(!home.work().join("build-1").exists());
    assert_eq!(std::fs::read_dir(home.journal()).unwrap().count(), 0);
    assert!(sweep(&home, false).await.is_empty());
}

#[tokio::test]
async fn a_running_job_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let home = home(&temp);
    let job = job(&home, "build-2");
    let mut running = Command::new("/bin/sleep").arg("1000").spawn(&job).unwrap();
    assert!(sweep(&home, true).await.is_empty());
    assert!(alive(running.id().unwrap()));
    running.end().await;
    job.end().unwrap();
    assert!(!home.work().join("build-2").exists());
}

#[tokio::test]
async fn a_kept_job_waits_for_its_user() {
    let temp = tempfile::tempdir().unwrap();
    let home = home(&temp);
    let job = job(&home, "build-3");
    let running = Command::new("/bin/sleep").arg("1000").spawn(&job).unwrap();
    job.keep().unwrap();
    let pid = killed(job, running);
    assert!(sweep(&home, false).await.is_empty());
    assert!(alive(pid));
    assert_eq!(swept(&home).await.len(), 1);
    assert!(!alive(pid));
}

#[tokio::test]
async fn cancelling_ends_a_command_and_its_children() {
    let temp = tempfile::tempdir().unwrap();
    let home = home(&temp);
    let job = job(&home, "build-4");
    let cancel = job.cancel().clone();
    let command = Command::new("/bin/sh").args(["-c", "echo ready; sleep 1000 & wait"]);
    let running = command.run_lines(&job, move |_, line| {
        assert_eq!(line, "ready");
        cancel.cancel();
    });
    let error = running.await.unwrap_err();
    assert_eq!(error.kind(), imgbake_runtime::RuntimeErrorKind::Cancelled);
    job.end().unwrap();
}

#[tokio::test]
async fn a_failed_command_gives_its_last_words() {
    let temp = tempfile::tempdir().unwrap();
    let home = home(&temp);
    let job = job(&home, "build-5");
    let error =
        Command::new("/bin/sh").args(["-c", "echo why >&2; exit 3"]).run(&job).await.unwrap_err();
    assert!(
        error.to_string().contains("exit status: 3") && error.to_string().contains("why"),
        "{error}"
    );
    let out = Command::new("/bin/cat").stdin("through").run(&job).await.unwrap();
    assert_eq!(out, b"through");
    job.end().unwrap();
}
