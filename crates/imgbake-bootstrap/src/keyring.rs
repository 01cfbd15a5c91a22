//! The keys that sign a distribution's archive.

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_types::spec::{BootstrapSpec, Distribution};

/// Where Debian and Ubuntu keep archive keyrings.
const FOLDER: &str = "/usr/share/keyrings";

/// The keyring's file: the template's, or the distribution's.
pub(crate) fn find(spec: &BootstrapSpec) -> Result<Utf8PathBuf, BuildError> {
    find_in(Utf8Path::new(FOLDER), spec)
}

fn find_in(folder: &Utf8Path, spec: &BootstrapSpec) -> Result<Utf8PathBuf, BuildError> {
    if let Some(file) = &spec.keyring {
        if file.is_file() {
            return Ok(file.clone());
        }
        return Err(BuildError::new(
            BuildErrorKind::Usage,
            format!("there is no keyring at {file}"),
        ));
    }
    let (name, package) = match spec.distribution {
        Distribution::Debian => ("debian-archive-keyring", "debian-archive-keyring"),
        Distribution::Ubuntu => ("ubuntu-archive-keyring", "ubuntu-keyring"),
    };
    ["gpg", "pgp"]
        .map(|kind| folder.join(format!("{name}.{kind}")))
        .into_iter()
        .find(|file| file.is_file())
        .ok_or_else(|| {
            let what = format!("the keys of the archive are not installed ({folder}/{name}.gpg)");
            BuildError::new(BuildErrorKind::Lacking, what)
                .help(format!("apt-get install {package}"))
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tests::spec;

    #[test]
    fn a_missing_keyring_names_its_package() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(dir.path()).unwrap();
        let mut spec = spec(Distribution::Ubuntu, "noble");
        let error = find_in(folder, &spec).unwrap_err();
        assert_eq!(error.kind(), BuildErrorKind::Lacking);
        assert!(error.help_text().is_some_and(|help| help.contains("ubuntu-keyring")));

        let file = folder.join("ubuntu-archive-keyring.pgp");
        fs::write(&file, "").unwrap();
        assert_eq!(find_in(folder, &spec).unwrap(), file);

        spec.keyring = Some(folder.join("mine.gpg"));
        assert_eq!(find_in(folder, &spec).unwrap_err().kind(), BuildErrorKind::Usage);
    }
}
