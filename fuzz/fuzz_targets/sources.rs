//! Where disks and packages come from: checksum files, locations, packed images, Release files, apt's
//! words.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a target that lacks its ground has failed")]

use std::fs::{self, File};
use std::io::Write;
use std::sync::LazyLock;

use camino::Utf8PathBuf;
use flate2::write::GzEncoder;
use imgbake_bootstrap::fuzzing as bootstrap;
use imgbake_fuzz::{choose, folder, seed, tagged};
use imgbake_source::fuzzing as source;
use imgbake_types::spec::{BootstrapSpec, Distribution};
use libfuzzer_sys::fuzz_target;

/// More than this is not unpacked.
const MOST: u64 = 4 << 20;
const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
/// `xz` of "hello\n".
const XZ: &[u8] = b"\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\x01\x00\x05hello\x0a\x00\x00\x00\xa5`\x97\xf1\x94\xf6\xfd\xe0\x00\x01\x1e\x06\xc1/\xa4\x1d\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ";

static DIR: LazyLock<Utf8PathBuf> = LazyLock::new(folder);
static SPEC: LazyLock<BootstrapSpec> = LazyLock::new(|| {
    let spec = serde_json::json!({ "distribution": "debian", "suite": "bookworm" });
    serde_json::from_value(spec).unwrap()
});

fn sound() -> Vec<Vec<u8>> {
    let release = format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: Debian\nNo-Support-for-Architecture-all: Packages\nSHA256:\n {HEX} 12 main/binary-amd64/Packages\n {HEX} 5 contrib/binary-amd64/Packages.xz\n-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n"
    );
    let sums =
        format!("{HEX}  disk.img\n{HEX} *other\n\\{HEX}  a\\nb\nSHA256 (disk.img) = {HEX}\n");
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&[7; 3000]).unwrap();
    let zstd = zstd::bulk::compress(&[[0; 2000], [7; 2000]].concat(), 3).unwrap();
    vec![
        tagged(0, sums),
        tagged(1, "https://user:pw@example.com:8080/a%20b/disk.img?token=x#y"),
        tagged(1, "file:///srv/disk%2fx.img"),
        tagged(2, "//other.example/x"),
        tagged(2, "http://example.com/"),
        tagged(3, "bytes 5-9/10"),
        tagged(4, XZ),
        tagged(4, gzip.finish().unwrap()),
        tagged(4, zstd),
        tagged(5, [b"KDMV".as_slice(), &[0; 600]].concat()),
        tagged(5, [7; 1024]),
        tagged(6, release),
        tagged(
            7,
            "deb [signed-by=/x] https://u:p%40w@mirror.example/debian/ bookworm main\ndeb http://m/d bookworm-updates main contrib\n# x\n",
        ),
        tagged(
            8,
            "Packages|Debian|Debian|bookworm|http://m.example/debian/\nimgbake|Debian|Debian-Security|bookworm-security|http://m.example/debian-security\n",
        ),
    ]
}

fn location(text: &str) {
    let Some((shown, name)) = source::location(text) else { return };
    assert!(!name.contains('/') || !shown.starts_with('/'), "{name} is one name");
    assert!(shown.starts_with('/') || !shown.contains(['?', '#']), "{shown} may hold a secret");
}

fn unpack(bytes: &[u8]) {
    let (packed, path) = (DIR.join("packed"), DIR.join("disk"));
    fs::write(&packed, bytes).unwrap();
    let disk = File::create(&path).unwrap();
    let size = source::unpack(&packed, (&disk, &path), MOST);
    let found = disk.metadata().unwrap().len();
    // A megabyte is unpacked at once.
    assert!(found <= MOST + (1 << 20), "{found} bytes");
    assert!(size.is_none_or(|size| size == found));
}

fn image(bytes: &[u8]) {
    let path = DIR.join("image");
    fs::write(&path, bytes).unwrap();
    let size = source::virtual_size(&path);
    assert!(size != Some(0), "a disk has bytes");
}

fn suites(list: &str) {
    for (shown, name, netrc) in bootstrap::suites(list, &SPEC) {
        assert!(!shown.contains(char::is_whitespace) && !name.contains(char::is_whitespace));
        let Some(netrc) = netrc else { continue };
        assert_eq!(netrc.split_whitespace().count(), 6, "one machine, one login");
        let authority = shown.split("://").nth(1).and_then(|rest| rest.split('/').next());
        assert!(authority.is_some_and(|authority| !authority.contains('@')), "a login is shown");
    }
}

fuzz_target!(init: seed(sound()), |input: &[u8]| {
    let Some((choice, bytes)) = choose(input, 9) else { return };
    let text = str::from_utf8(bytes).unwrap_or_default();
    match choice {
        0 => drop(source::checksum(text, "disk.img")),
        1 => location(text),
        2 => {
            let next = source::redirect("https://example.com/a/", text);
            assert!(next.is_none_or(|next| next.scheme() == "https"), "a way out of TLS");
        }
        3 => drop(source::content_range(text)),
        4 => unpack(bytes),
        5 => image(bytes),
        6 => {
            for line in bootstrap::indices(text).unwrap_or_default() {
                assert_eq!(line.split_ascii_whitespace().count(), 3, "{line}");
            }
        }
        7 => suites(text),
        _ => {
            let mirror = bootstrap::host_mirror(text, Distribution::Debian);
            assert!(mirror.is_none_or(|mirror| mirror.starts_with("http") && !mirror.contains('@')));
        }
    }
});
