//! Certificates that are trusted beside those of this machine.

use std::io::Read;

use camino::Utf8Path;
use reqwest::Certificate;

use crate::Result;
use crate::error::{HttpError, HttpErrorKind};

/// The largest file of certificates that is read, in bytes: all of a distribution's are 250 KiB.
const LARGEST: u64 = 8 << 20;

/// Reads a file of certificates in PEM form.
pub(crate) fn read(path: &Utf8Path) -> Result<Vec<Certificate>> {
    let wrong = |why: &str| {
        let context = format!("cannot use the certificates in {path}: {why}");
        HttpError::new(HttpErrorKind::Usage, context)
            .help("give a file of certificates in PEM form")
    };
    let mut bytes = Vec::new();
    match imgbake_runtime::regular::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
    {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(wrong("there is no such file"));
        }
        Err(error) => return Err(wrong("the file cannot be read").because(error)),
        Ok(_) if bytes.len() as u64 > LARGEST => return Err(wrong("the file is too long")),
        Ok(_) => {}
    }
    match Certificate::from_pem_bundle(&bytes) {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(wrong("there are none")),
        Err(error) => Err(wrong("they are not PEM").because(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(temp.path()).unwrap().join("ca.pem");
        let message = || {
            let error = read(&path).unwrap_err();
            assert_eq!(error.kind(), HttpErrorKind::Usage);
            error.to_string()
        };
        assert!(message().ends_with("there is no such file"), "{}", message());
        std::fs::write(&path, "nothing of the kind").unwrap();
        assert!(message().ends_with("there are none"), "{}", message());
    }
}
