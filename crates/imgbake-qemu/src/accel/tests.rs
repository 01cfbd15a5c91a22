//! The proof, with TCG as its control: what fails under KVM must be KVM's fault.

use imgbake_build::BuildErrorKind;
use imgbake_runtime::{Cancel, Events, Home, Secrets};

use super::*;

fn job() -> (tempfile::TempDir, Job) {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(Utf8PathBuf::from_path_buf(dir.path().join("home")).unwrap());
    let (events, _) = Events::channel("test", Secrets::default());
    let job = Job::begin(&home, "test", Cancel::new(), events, Secrets::default()).unwrap();
    (dir, job)
}

fn qemu() -> Qemu {
    Qemu {
        version: "10.0.2".into(),
        full_version: "10.0.2".into(),
        machine: None,
        pvpanic: true,
        vmgenid: true,
    }
}

#[tokio::test]
async fn the_stubs_get_through_where_guests_run() {
    let (_dir, job) = job();
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let cpu = cpu_model(arch, Engine::Tcg, None);
        let verdict = prove(&job, arch, Engine::Tcg, &cpu).await.unwrap();
        assert!(verdict.works, "{arch}: {}", verdict.reason);
    }
}

#[tokio::test]
async fn what_cannot_start_is_no_with_qemus_message() {
    let (_dir, job) = job();
    let verdict = prove(&job, Arch::X86_64, Engine::Tcg, "no-such-model").await.unwrap();
    assert!(!verdict.works);
    assert!(verdict.reason.contains("no-such-model"), "{}", verdict.reason);
}

/// Whatever this host can do, the verdict is the same twice, and the second one is cached.
#[tokio::test]
async fn a_verdict_is_cached_until_the_host_boots() {
    let (_dir, job) = job();
    let qemu = qemu();
    let first = kvm(&job, Arch::host(), None, &qemu).await.unwrap();
    assert_eq!(kvm(&job, Arch::host(), None, &qemu).await.unwrap(), first);
    let mut cache = ProofCache::load(&job);
    if Utf8Path::new("/dev/kvm").exists() && device(Utf8Path::new("/dev/kvm")).is_ok() {
        assert_eq!(cache.proofs.len(), 1);
        assert_eq!(cache.proofs[0].1, first);
    }
    cache.boot_id = "another".into();
    cache.save(&job);
    assert!(ProofCache::load(&job).proofs.is_empty());
}

#[tokio::test]
async fn the_other_architecture_has_no_kvm() {
    let (_dir, job) = job();
    let other = if Arch::host() == Arch::X86_64 { Arch::Aarch64 } else { Arch::X86_64 };
    let qemu = qemu();
    let spec = |accel| QemuSpec { accel, ..QemuSpec::default() };
    assert_eq!(engine(&job, other, &spec(Accel::Auto), &qemu).await.unwrap(), Engine::Tcg);
    let error = engine(&job, other, &spec(Accel::Kvm), &qemu).await.unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Lacking);
}

#[test]
fn a_missing_device_is_named() {
    assert_eq!(
        device(Utf8Path::new("/nonexistent/kvm")).unwrap_err(),
        "there is no /nonexistent/kvm"
    );
}

/// `stub.bin` is what `stub.s` says.
#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn the_stub_is_its_source() {
    let (_dir, job) = job();
    let (object, binary) = (job.work().join("stub.o"), job.work().join("stub.bin"));
    let source = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("src/accel/stub.s");
    let run = |tool: imgbake_runtime::Tool, args: Vec<String>| {
        let job = job.clone();
        async move { tool.command().unwrap().args(args).run(&job).await.unwrap() }
    };
    let binutils = |program| imgbake_runtime::Tool::new(program, "binutils");
    run(binutils("as"), vec!["--64".into(), "-o".into(), object.to_string(), source.into_string()])
        .await;
    let link = [
        "-Ttext",
        "0x7c00",
        "--oformat",
        "binary",
        "-e",
        "_start",
        "-o",
        binary.as_str(),
        object.as_str(),
    ];
    run(binutils("ld"), link.map(str::to_owned).to_vec()).await;
    assert_eq!(fs::read(&binary).unwrap(), STUB_X86_64);
}
