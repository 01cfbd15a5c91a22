//! Machines that are saved and resumed: a boot sector that counts, and writes its count to the disk.

use std::os::unix::fs::PermissionsExt;

use imgbake_build::{LocalDisk, MachineDisk, SavedMachine, extra_beside};
use imgbake_disk::{DiskFormat, DiskImage, DiskSource, overlay::create_overlay};
use imgbake_types::{MachineSpec, Size};

use super::*;

/// A boot sector's code: for ever, counts in memory, writes the count to the disk's second sector through
/// the firmware, prints a sign and dawdles.
///
/// `xor ax,ax; mov ds,ax; mov es,ax; mov ss,ax; mov sp,0x7c00; mov dword [0x7e00],0; next:
/// inc dword [0x7e00]; mov ax,0x4300; mov dl,0x80; mov si,packet; int 0x13; mov dx,0x3f8; mov al,'@';
/// out dx,al; mov al,10; out dx,al; mov bx,40; outer: xor cx,cx; loop $; dec bx; jnz outer; jmp next;
/// packet: db 16,0; dw 1,0x7e00,0; dq 1`
const COUNT: &[u8] = &[
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0x66, 0xc7, 0x06, 0x00, 0x7e,
    0x00, 0x00, 0x00, 0x00, 0x66, 0xff, 0x06, 0x00, 0x7e, 0xb8, 0x00, 0x43, 0xb2, 0x80, 0xbe, 0x38,
    0x7c, 0xcd, 0x13, 0xba, 0xf8, 0x03, 0xb0, 0x40, 0xee, 0xb0, 0x0a, 0xee, 0xbb, 0x28, 0x00, 0x31,
    0xc9, 0xe2, 0xfe, 0x4b, 0x75, 0xf9, 0xeb, 0xdc, 0x10, 0x00, 0x01, 0x00, 0x00, 0x7e, 0x00, 0x00,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
];

/// The count on a disk.
fn count(disk: &Utf8Path) -> u32 {
    let mut sector = [0; 4];
    DiskImage::open(disk).unwrap().read_at(512, &mut sector).unwrap();
    u32::from_le_bytes(sector)
}

/// Waits until a machine has counted further.
async fn keeps_counting(world: &World, machine: &dyn Machine) {
    // The firmware prints no such sign.
    let signs = || machine.console().matches('@').count();
    let before = signs();
    let more = || async { (signs() > before + 2).then_some(()) };
    let counted = retry::poll(world.job.cancel(), LIMIT, "its count", more);
    tokio::select! {
        error = machine.failure() => panic!("{error}"),
        counted = counted => counted.unwrap(),
    }
}

/// Where a machine is saved.
#[derive(Clone)]
struct Layer {
    disk: Utf8PathBuf,
    state: Option<Utf8PathBuf>,
}

/// Saves a machine; gives whether its state was written.
async fn save(
    machine: &mut dyn Machine,
    layer: &Layer,
) -> Result<Result<(), String>, imgbake_build::BuildError> {
    let saved = async {
        match &layer.state {
            Some(state) => machine.save().unwrap().save_to(&layer.disk, state).await,
            None => machine.freeze().unwrap().freeze_to(&layer.disk).await.map(Ok),
        }
    };
    within(saved).await
}

/// The file of a machine's disk.
fn disk(machine: &dyn Machine) -> Utf8PathBuf {
    match machine.disk() {
        Some(MachineDisk::File { path, .. }) => path,
        _ => panic!("no file"),
    }
}

/// A layer's folder.
fn folder(world: &World, name: &str) -> Layer {
    let dir = world.job.work().join(name);
    fs::create_dir(&dir).unwrap();
    Layer { disk: dir.join("disk.qcow2"), state: Some(dir.join("state")) }
}

/// A machine of another name that resumes from a layer.
fn resumed(from: &MachineRequest, layer: &Layer, name: &str) -> MachineRequest {
    let mut request = from.clone();
    request.name = name.into();
    let booted_from = std::mem::replace(
        &mut request.disk,
        from.disk.frozen_to(layer.disk.clone(), from.machine.extra_disks.len()).unwrap(),
    );
    let state = layer.state.clone().unwrap();
    request.saved = Some(SavedMachine { state, booted_from });
    request
}

fn mode(path: &Utf8Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn two_machines_resume_from_one_state_while_the_first_runs() {
    let world = World::new();
    let request = world.request(COUNT);
    let mut first = world.builder.boot(&world.job, request.clone()).await.unwrap();
    keeps_counting(&world, &*first).await;
    let layer = folder(&world, "layer");
    assert_eq!(save(&mut *first, &layer).await.unwrap(), Ok(()));
    assert_eq!((mode(layer.state.as_ref().unwrap()), mode(&layer.disk)), (0o600, 0o600));
    let frozen = fs::read(&layer.disk).unwrap();
    let counted = count(&layer.disk);
    assert!(counted > 2, "{counted}");

    let boot = |name| world.builder.boot(&world.job, resumed(&request, &layer, name));
    let (second, third) = within(async { tokio::join!(boot("second"), boot("third")) }).await;
    let mut machines = [first, second.unwrap(), third.unwrap()];
    for machine in &mut machines {
        keeps_counting(&world, &**machine).await;
        machine.end().await;
        let now = count(&disk(&**machine));
        assert!(now > counted, "{now}");
    }
    let [_, second, third] = &machines;
    for machine in [second, third] {
        let console = machine.console();
        assert!(!console.contains("SeaBIOS"), "it did not boot: {console}");
    }
    assert_ne!(second.access(), third.access());
    assert_eq!(fs::read(&layer.disk).unwrap(), frozen);
}

#[tokio::test]
async fn a_machine_is_saved_again_and_again() {
    let world = World::new();
    let request = world.request(COUNT);
    let mut machine = world.builder.boot(&world.job, request.clone()).await.unwrap();
    let mut counts = Vec::new();
    let mut layers = Vec::new();
    for name in ["one", "two", "three"] {
        keeps_counting(&world, &*machine).await;
        let layer = folder(&world, name);
        assert_eq!(save(&mut *machine, &layer).await.unwrap(), Ok(()));
        counts.push(count(&layer.disk));
        layers.push(layer);
    }
    machine.end().await;
    assert!(counts.is_sorted_by(|a, b| a < b), "{counts:?}");
    // A resumed machine is saved as well, and so is one from that.
    for number in 0..2 {
        let from = resumed(&request, &layers[2 + number], &format!("next-{number}"));
        let mut next = world.builder.boot(&world.job, from).await.unwrap();
        keeps_counting(&world, &*next).await;
        let layer = folder(&world, &format!("layer-{number}"));
        assert_eq!(save(&mut *next, &layer).await.unwrap(), Ok(()));
        next.end().await;
        assert!(count(&layer.disk) > counts[2 + number]);
        counts.push(count(&layer.disk));
        layers.push(layer);
    }
    // Each layer is still what it was.
    let now: Vec<u32> = layers.iter().map(|layer| count(&layer.disk)).collect();
    assert_eq!(now, counts);
}

#[tokio::test]
async fn what_cannot_be_saved_leaves_the_machine_as_it_was() {
    let world = World::new();
    let request = world.request(COUNT);
    let mut machine = world.builder.boot(&world.job, request).await.unwrap();
    keeps_counting(&world, &*machine).await;
    let good = folder(&world, "layer");
    let nowhere = world.job.work().join("nowhere");

    let no_disk = Layer { disk: nowhere.join("disk"), ..good.clone() };
    let error = save(&mut *machine, &no_disk).await.unwrap_err();
    assert!(error.to_string().contains("move the disk to"), "{error}");
    assert!(!good.state.as_ref().unwrap().exists());
    keeps_counting(&world, &*machine).await;

    let no_state = Layer { state: Some(nowhere.join("state")), ..good };
    let saved = save(&mut *machine, &no_state).await.unwrap();
    let reason = saved.unwrap_err();
    assert!(reason.contains("nowhere/state"), "{reason}");
    let counted = count(&no_state.disk);
    keeps_counting(&world, &*machine).await;
    machine.end().await;
    assert!(counted > 2 && count(&disk(&*machine)) > counted);
}

#[tokio::test]
async fn a_state_that_cannot_be_loaded_is_reported_and_the_disk_boots() {
    let world = World::new();
    let request = world.request(COUNT);
    let mut machine = world.builder.boot(&world.job, request.clone()).await.unwrap();
    keeps_counting(&world, &*machine).await;
    let layer = folder(&world, "layer");
    save(&mut *machine, &layer).await.unwrap().unwrap();
    machine.end().await;
    let state = layer.state.clone().unwrap();
    let whole = fs::metadata(&state).unwrap().len();

    // What follows the devices is a description for people, which no load needs.
    for (what, bytes) in
        [("devices", whole - (128 << 10)), ("memory", whole / 2), ("head", 100), ("all", 0)]
    {
        let cut = state.with_file_name(format!("without-its-{what}"));
        fs::copy(&state, &cut).unwrap();
        fs::File::options().write(true).open(&cut).unwrap().set_len(bytes).unwrap();
        let bad = Layer { state: Some(cut), ..layer.clone() };
        refuses(&world, resumed(&request, &bad, "build")).await;
    }
    let garbage = state.with_file_name("garbage");
    fs::write(&garbage, vec![0x5a; 1 << 20]).unwrap();
    for state in [garbage, state.with_file_name("no-such-file")] {
        let bad = Layer { state: Some(state), ..layer.clone() };
        refuses(&world, resumed(&request, &bad, "build")).await;
    }
    let mut other = resumed(&request, &layer, "build");
    other.machine.memory = Some(Size::mib(96));
    refuses(&world, other).await;

    let boots = MachineRequest { saved: None, ..resumed(&request, &layer, "build") };
    let mut machine = world.builder.boot(&world.job, boots).await.unwrap();
    keeps_counting(&world, &*machine).await;
    machine.end().await;
}

async fn refuses(world: &World, request: MachineRequest) {
    let state = request.saved.as_ref().unwrap().state.clone();
    let refused = within(world.builder.boot(&world.job, request)).await.err();
    let error = refused.unwrap_or_else(|| panic!("{state} was loaded"));
    assert_eq!(error.kind(), BuildErrorKind::Machine, "{error}");
    let message = error.to_string();
    let expected = format!("the saved machine {state} cannot be resumed: ");
    assert!(message.starts_with(&expected), "{message}");
    assert!(qemus(world.job.work()).is_empty(), "{message}");
}

#[tokio::test]
async fn storage_beside_the_root_disk_keeps_a_machine_from_being_saved() {
    let world = World::new();
    let mut request = world.request(COUNT);
    let drive = world.job.work().join("drive.raw");
    fs::File::create(&drive).unwrap().set_len(1 << 20).unwrap();
    let args = ["-drive".to_owned(), format!("file={drive},format=raw,if=none,id=x")];
    request.machine.settings.insert("args".to_owned(), serde_json::json!(args));
    let reason = world.builder.saves(&request.machine).unwrap_err();
    let mut machine = world.builder.boot(&world.job, request).await.unwrap();
    let error = save(&mut *machine, &folder(&world, "layer")).await.unwrap_err();
    assert!(error.to_string().contains(&reason), "{error}");
    keeps_counting(&world, &*machine).await;
    machine.end().await;
}

#[tokio::test]
async fn extra_disks_are_saved_and_resumed_with_the_machine() {
    let world = World::new();
    let mut request = world.request(COUNT);
    request.machine.extra_disks = vec![Size::mib(1), Size::mib(2)];
    let mut first = world.builder.boot(&world.job, request.clone()).await.unwrap();
    keeps_counting(&world, &*first).await;
    let layer = folder(&world, "layer");
    assert_eq!(save(&mut *first, &layer).await.unwrap(), Ok(()));
    let frozen = [1, 2].map(|number| extra_beside(&layer.disk, number));
    let sizes = frozen.each_ref().map(|path| DiskImage::open(path).unwrap().virtual_size());
    assert_eq!(sizes, [1 << 20, 2 << 20]);
    keeps_counting(&world, &*first).await;
    first.end().await;
    let mut second =
        world.builder.boot(&world.job, resumed(&request, &layer, "second")).await.unwrap();
    keeps_counting(&world, &*second).await;
    second.end().await;
    let above = second.extra_disks();
    let below = above
        .iter()
        .map(|path| DiskImage::open(path).unwrap().backing().unwrap().path().to_owned());
    assert_eq!(below.collect::<Vec<_>>(), frozen);
}

#[tokio::test]
async fn a_machine_is_backed_by_fifty_layers() {
    let world = World::new();
    let mut request = world.request(COUNT);
    let (mut below, mut format) = (request.disk.local().unwrap().path.clone(), DiskFormat::Raw);
    for number in 0..50 {
        let dir = world.job.work().join(format!("layer-{number}"));
        fs::create_dir(&dir).unwrap();
        let disk = dir.join("disk.qcow2");
        // Named from the layer's own folder, or from the root.
        let name = match (number, number % 2) {
            (1.., 1) => format!("../layer-{}/disk.qcow2", number - 1).into(),
            _ => below.clone(),
        };
        create_overlay(&disk, &name, format, 1 << 20, 12).unwrap();
        (below, format) = (disk, DiskFormat::Qcow2);
    }
    let base = request.disk.local().unwrap().clone();
    request.disk.location = LocalDisk { path: below, format, ..base }.into();
    let mut machine = world.builder.boot(&world.job, request).await.unwrap();
    keeps_counting(&world, &*machine).await;
    let layer = folder(&world, "top");
    assert_eq!(save(&mut *machine, &layer).await.unwrap(), Ok(()));
    machine.end().await;
    assert!(count(&layer.disk) > 2);
}

#[tokio::test]
async fn the_signature_names_what_a_state_depends_on() {
    let world = World::new();
    let spec = small().machine();
    let more = MachineSpec { memory: Some(Size::mib(2048)), ..spec.clone() };
    let world = &world;
    let sign = async |spec, firmware| {
        world.builder.signature(&world.job, Arch::X86_64, spec, firmware).await.unwrap()
    };
    let (bios, again) = (sign(&spec, Firmware::Bios).await, sign(&spec, Firmware::Bios).await);
    assert_eq!(bios, again);
    let version = world.builder.version(&world.job, Arch::X86_64).await.unwrap();
    assert!(bios.starts_with(&format!("qemu {version}")), "{bios}");
    assert!(
        bios.contains(", pc-q35-")
            && bios.contains(", tcg, max,la57=off,erms=off,fsrm=off, bios, "),
        "{bios}"
    );
    assert!(!bios.contains('\n'));
    assert_ne!(bios, sign(&more, Firmware::Bios).await);
    let uefi = sign(&spec, Firmware::Uefi).await;
    assert!(uefi.contains(", uefi, /") && uefi.contains(" bytes of "), "{uefi}");
}

#[tokio::test]
async fn a_uefi_machine_resumes_with_its_firmware() {
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let world = World::new();
        let mut request = world.request(b"");
        (request.arch, request.firmware) = (arch, Firmware::Uefi);
        let mut machine = world.builder.boot(&world.job, request.clone()).await.unwrap();
        let console = || async { machine.console().contains("BdsDxe").then_some(()) };
        retry::poll(world.job.cancel(), LIMIT * 2, "UEFI's message", console).await.unwrap();
        let layer = folder(&world, "layer");
        assert_eq!(save(&mut *machine, &layer).await.unwrap(), Ok(()));
        machine.end().await;
        let request = resumed(&request, &layer, "next");
        let mut next = within(world.builder.boot(&world.job, request)).await.unwrap();
        // It answers, and is saved as any other.
        let saved = Layer { disk: layer.disk.with_file_name("next"), state: None };
        assert_eq!(save(&mut *next, &saved).await.unwrap(), Ok(()));
        next.end().await;
    }
}
