//! The keys that sign a distribution's archive.

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_types::spec::{BootstrapSpec, Distribution};

use crate::error::BootstrapError;

/// Where Debian and Ubuntu keep archive keyrings.
const FOLDER: &str = "/usr/share/keyrings";

/// The keyring's file: the template's, or the distribution's.
pub(crate) fn find(spec: &BootstrapSpec) -> Result<Utf8PathBuf, BootstrapError> {
    find_in(Utf8Path::new(FOLDER), spec)
}

fn find_in(folder: &Utf8Path, spec: &BootstrapSpec) -> Result<Utf8PathBuf, BootstrapError> {
    if let Some(file) = &spec.keyring {
        if file.is_file() {
            return Ok(file.clone());
        }
        return Err(BootstrapError::NoKeyring(file.clone()));
    }
    let (name, package) = match spec.distribution {
        Distribution::Debian => ("debian-archive-keyring", "debian-archive-keyring"),
        Distribution::Ubuntu => ("ubuntu-archive-keyring", "ubuntu-keyring"),
    };
    ["gpg", "pgp"]
        .map(|kind| folder.join(format!("{name}.{kind}")))
        .into_iter()
        .find(|file| file.is_file())
        .ok_or_else(|| BootstrapError::NoKeys { file: folder.join(format!("{name}.gpg")), package })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use imgbake_build::{BuildError, BuildErrorKind};

    use super::*;
    use crate::tests::spec;

    #[test]
    fn a_missing_keyring_names_its_package() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(dir.path()).unwrap();
        let mut spec = spec(Distribution::Ubuntu, "noble");
        let error = BuildError::from(find_in(folder, &spec).unwrap_err());
        assert_eq!(error.kind(), BuildErrorKind::Lacking);
        assert!(error.help_text().is_some_and(|help| help.contains("ubuntu-keyring")));

        let file = folder.join("ubuntu-archive-keyring.pgp");
        fs::write(&file, "").unwrap();
        assert_eq!(find_in(folder, &spec).unwrap(), file);

        spec.keyring = Some(folder.join("mine.gpg"));
        let error = BuildError::from(find_in(folder, &spec).unwrap_err());
        assert_eq!(error.kind(), BuildErrorKind::Usage);
    }
}
