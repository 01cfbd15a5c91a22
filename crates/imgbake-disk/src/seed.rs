//! Seed media: the small disks that give a guest its identity at first boot.

use camino::Utf8Path;

use crate::{
    Result,
    bytes::to_u64,
    fat::{FatSpec, create_fat},
    guid,
};

/// Writes a NoCloud volume (cloud-init, "NoCloud", "Source 2: Drive with labelled filesystem"):
/// FAT with the label `CIDATA` and the files `user-data`, `meta-data` and `network-config`.
/// It is as small as its content lets it be, from 1 MiB on.
pub fn nocloud(
    path: &Utf8Path,
    user_data: &str,
    meta_data: &str,
    network_config: Option<&str>,
) -> Result<()> {
    let mut files = vec![("user-data", user_data.as_bytes()), ("meta-data", meta_data.as_bytes())];
    files.extend(network_config.map(|text| ("network-config", text.as_bytes())));
    let content: u64 = files.iter().map(|(_, bytes)| to_u64(bytes.len())).sum();
    let spec = FatSpec {
        offset: 0,
        len: (content + content / 16 + (128 << 10)).next_multiple_of(1 << 20),
        label: "CIDATA".into(),
        volume_id: guid::derive_u32(meta_data, "nocloud"),
    };
    create_fat(path, &spec, &files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn small_and_large_seeds_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = camino::Utf8Path::from_path(dir.path()).unwrap().join("seed.img");
        for (len, size) in [(0, 1 << 20), (900, 1 << 20), (1 << 20, 2 << 20), (5 << 20, 6 << 20)] {
            super::nocloud(&path, &"x".repeat(len), "instance-id: a\n", Some("version: 2\n"))
                .unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), size, "{len}");
        }
    }
}
