//! Other machines than the default: a build user, further disks and arguments, another architecture.

use imgbake_testkit::{Arch, TestHome, lock_guests, tiny_template, tiny_template_for};

#[test]
fn a_build_user_leaves_no_trace() {
    let home = TestHome::new();
    let template = tiny_template(
        &home,
        "tiny",
        "extra_disks = [\"8MiB\"]\nargs = [\"-rtc\", \"base=utc\"]\ndisk = \"256MiB\"\n[ssh]\nuser = \"baker\"\n\
         [[provision]]\nname = \"as root\"\ntype = \"shell\"\ninline = [\"[ $(id -un) = root ]\", \
         \"grep -q baker /etc/passwd\", \"[ $(cat /sys/block/vda/size) = 524288 ]\", \
         \"grep -c '^16384$' /sys/block/vd*/size | grep -q :1\"]\n\
         [[provision]]\nname = \"as the user\"\ntype = \"shell\"\nuser = \"baker\"\n\
         inline = [\"[ $(id -un) = baker ]\", \"echo mine > ~/mine\"]\n\
         [[provision]]\nname = \"a file\"\ntype = \"file\"\ncontent = \"x\"\ndestination = \"/etc/owned\"\nowner = \"nobody\"\n\
         mode = \"0600\"\n\
         [[provision]]\nname = \"down\"\ntype = \"file\"\ndirection = \"download\"\nsource = \"/etc/os-release\"\n\
         destination = \"os-release\"\n\
         [[test]]\nname = \"no baker\"\nrun = \"! grep -r baker /etc/passwd /etc/shadow /etc/group /etc/sudoers* && [ ! -e /home/baker ]\"\n\
         [[test]]\nname = \"the file is nobody's\"\nrun = \"[ $(stat -c %U%a /etc/owned) = nobody600 ]\"\n",
    );
    let _lock = lock_guests();
    home.run(&["build", template.as_str()]).exits(0);
    assert!(
        std::fs::read_to_string(home.dir().join("os-release"))
            .is_ok_and(|text| text.contains("NAME"))
    );
    assert_eq!(home.leftovers(), Vec::<String>::new());
}

#[test]
fn an_aarch64_image_is_built_and_verified_under_emulation() {
    let home = TestHome::new();
    let template = tiny_template_for(
        &home,
        Arch::Aarch64,
        "tiny-arm",
        "[[provision]]\ntype = \"shell\"\ninline = [\"uname -m > /etc/arch\"]\n\
         [[test]]\nname = \"is aarch64\"\nrun = \"grep -qx aarch64 /etc/arch && [ $(uname -m) = aarch64 ]\"\n\
         [publish]\nchannel = \"dev\"\n",
    );
    let _lock = lock_guests();
    home.run(&["build", template.as_str()]).exits(0);
    let shown = home.run(&["show", "tiny-arm:dev", "--json"]).json();
    assert_eq!(
        (shown["arch"].as_str(), shown["verify"]["status"].as_str()),
        (Some("aarch64"), Some("passed"))
    );
}
