//! Folders that cannot be used are reported with a message that helps.

use std::fs;

use imgbake_build::LayerCache;
use imgbake_build::cache::CacheErrorKind::{Format, InUse, Unusable};
use imgbake_runtime::{Command, Tool};
use imgbake_types::Size;

use crate::common::{Fixture, key, names_in};

fn open(fixture: &Fixture) -> Result<LayerCache, imgbake_build::cache::CacheError> {
    LayerCache::open(&fixture.home, Size::mib(1))
}

#[test]
fn a_cache_of_another_format_is_left_alone_until_it_is_cleared() {
    for (format, said) in [("0\n", "format 0"), ("2", "format 2"), ("", "format unknown")] {
        let fixture = Fixture::new();
        let layers = fixture.home.cache().join("layers");
        drop(fixture.source("source"));
        fs::write(layers.join("format"), format).unwrap();
        fs::create_dir(layers.join("something")).unwrap();
        let error = open(&fixture).unwrap_err();
        assert_eq!(error.kind(), Format);
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.help_text().unwrap().contains("cache prune --all"));
        assert_eq!(names_in(&layers).len(), 3);

        // A newer imgbake is based on one of its layers.
        let lock = fixture.home.cache().join("locks").join("some.lock");
        let held = fs::File::create(&lock).unwrap();
        held.lock_shared().unwrap();
        assert_eq!(LayerCache::clear(&fixture.home).unwrap_err().kind(), InUse);
        assert_eq!(names_in(&layers).len(), 3);
        drop(held);
        assert_eq!(LayerCache::clear(&fixture.home).unwrap().layers, 2);
        open(&fixture).unwrap();
        assert_eq!(names_in(&layers), ["format"]);
        drop(fixture.source("source"));
    }
}

#[test]
fn layers_without_a_format_are_not_ours() {
    let fixture = Fixture::new();
    let layers = fixture.home.cache().join("layers");
    fs::remove_file(layers.join("format")).unwrap();
    open(&fixture).unwrap();
    fs::remove_file(layers.join("format")).unwrap();
    fs::create_dir(layers.join(key("a").hex())).unwrap();
    assert_eq!(open(&fixture).unwrap_err().kind(), Format);
}

#[test]
fn what_is_no_folder_is_told() {
    for path in ["cache/layers", "cache/locks", "cache"] {
        let fixture = Fixture::new();
        let path = fixture.home.root().join(path);
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        let error = open(&fixture).unwrap_err();
        assert_eq!(error.kind(), Unusable, "{error}");
        assert!(error.to_string().contains(path.as_str()), "{error}");
        assert!(error.help_text().is_some());
    }
}

/// A file system that is mounted read-only refuses root too.
#[tokio::test]
async fn a_read_only_folder_is_told() {
    let fixture = Fixture::new();
    let exe = std::env::current_exe().unwrap();
    let script = format!(
        "mount --bind home/cache home/cache && mount -o remount,bind,ro home/cache && \
         exec {} --ignored --exact unusable::child_opens",
        exe.display()
    );
    let args = ["--user", "--map-root-user", "--mount", "sh", "-ec", &script];
    let unshare: Command = Tool::new("unshare", "util-linux").command().unwrap();
    let output =
        unshare.args(args).current_dir(fixture.dir.clone()).output(&fixture.job).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", output.stderr);
}

#[test]
#[ignore = "started by a_read_only_folder_is_told"]
fn child_opens() {
    let Ok(dir) = camino::Utf8PathBuf::from("home").canonicalize_utf8() else { return };
    let error = LayerCache::open(&imgbake_runtime::Home::new(dir), Size::mib(1)).unwrap_err();
    assert_eq!(error.kind(), Unusable, "{error}");
    assert!(error.to_string().contains("Read-only"), "{error}");
}
