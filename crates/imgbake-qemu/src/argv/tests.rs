//! QEMU's arguments as snapshots: one argument with its value a line.

use super::*;

fn argv<'a>(uefi: Option<&'a UefiFiles>, kernel: Option<&'a KernelFiles>) -> Argv<'a> {
    Argv {
        name: "build",
        uuid: Uuid::from_u128(0x0a1b_2c3d_4e5f_4000_8000_0000_0000_0001),
        arch: Arch::X86_64,
        engine: Engine::Tcg,
        cpu: None,
        cpus: 2,
        memory: 1 << 30,
        uefi,
        kernel,
        root: Utf8Path::new("/w/build.qcow2"),
        extra_disks: &[],
        seed: Some(Utf8Path::new("/w/build-seed.img")),
        strings: &[],
        qmp: "build.qmp",
        console: "build.console",
        login: "build.login",
        pvpanic: true,
        vmgenid: true,
        incoming: false,
        extra: &[],
    }
}

fn lines(args: &[String]) -> String {
    let mut text = String::new();
    for arg in args {
        let option = arg.starts_with('-');
        text.push_str(if option { "\n" } else { " " });
        text.push_str(arg);
    }
    text
}

#[test]
fn x86_64_bios_emulated() {
    insta::assert_snapshot!(lines(&argv(None, None).build()));
}

#[test]
fn x86_64_uefi_kvm_direct_kernel() {
    let uefi = UefiFiles { code: "/f/CODE.fd".into(), vars: "/w/build-vars.fd".into() };
    let kernel = KernelFiles {
        kernel: "/w/build-vmlinuz".into(),
        initrd: Some("/w/build-initrd".into()),
        cmdline: "root=UUID=1 ro console=ttyS0".into(),
    };
    let strings = ["/w/build-credential-1".into(), "/w,/build-credential-2".into()];
    let extra_disks = ["/w/build-extra-1.qcow2".into()];
    let extra = ["-device".to_owned(), "usb-ehci".to_owned()];
    let argv = Argv {
        engine: Engine::Kvm,
        extra_disks: &extra_disks,
        strings: &strings,
        extra: &extra,
        cpu: Some("Nehalem"),
        ..argv(Some(&uefi), Some(&kernel))
    };
    insta::assert_snapshot!(lines(&argv.build()));
}

#[test]
fn aarch64_uefi_emulated() {
    let uefi = UefiFiles { code: "/f/AAVMF_CODE.fd".into(), vars: "/w/build-vars.fd".into() };
    insta::assert_snapshot!(lines(
        &Argv { arch: Arch::Aarch64, ..argv(Some(&uefi), None) }.build()
    ));
}

#[test]
fn every_extra_disk_has_a_slot_of_its_own() {
    let disks: Vec<Utf8PathBuf> = (0..MOST_EXTRA_DISKS).map(|n| format!("/w/{n}").into()).collect();
    let args = Argv { extra_disks: &disks, ..argv(None, None) }.build();
    let mut slots: Vec<&str> = args.iter().filter_map(|arg| arg.split("addr=").nth(1)).collect();
    let all = slots.len();
    slots.sort_unstable();
    slots.dedup();
    assert_eq!(slots.len(), all);
    assert_eq!(args.iter().filter(|arg| arg.contains("serial=extra-")).count(), MOST_EXTRA_DISKS);
}

#[test]
fn a_saved_machine_goes_on_in_one_that_differs_by_nothing_else() {
    let (boots, goes_on) = (argv(None, None), Argv { incoming: true, ..argv(None, None) });
    let (boots, goes_on) = (boots.build(), goes_on.build());
    let more: Vec<&String> = goes_on.iter().filter(|arg| !boots.contains(arg)).collect();
    assert_eq!(more, ["-incoming", "defer"]);
    assert_eq!(goes_on.len(), boots.len() + 2);
}
