//! Steps that need no tool of configuration management in the machine: packages, repositories, users, services,
//! kernel settings, files, the locale, certificates.
//!
//! Each looks at what is there, and changes what is not as declared: a shell script for any POSIX shell, made of
//! common functions, those of its kind, and a call for each resource.

mod certificate;
mod files;
mod locale;
mod packages;
mod pem;
mod repository;
mod rules;
mod script;
mod service;
mod step;
mod sysctl;
mod user;

use std::sync::Arc;

use imgbake_build::Provisioner;

use self::step::Native;
pub use certificate::CertificateSpec;
pub use files::{FileEntry, FilesSpec};
pub use locale::LocaleSpec;
pub use packages::PackagesSpec;
pub use repository::RepositorySpec;
pub use service::ServiceSpec;
pub use sysctl::SysctlSpec;
pub use user::{Sudo, UserSpec};

/// Every native step.
pub(crate) fn provisioners() -> Vec<Arc<dyn Provisioner>> {
    vec![
        Arc::new(Native::<PackagesSpec>::NEW),
        Arc::new(Native::<RepositorySpec>::NEW),
        Arc::new(Native::<UserSpec>::NEW),
        Arc::new(Native::<ServiceSpec>::NEW),
        Arc::new(Native::<SysctlSpec>::NEW),
        Arc::new(Native::<FilesSpec>::NEW),
        Arc::new(Native::<LocaleSpec>::NEW),
        Arc::new(Native::<CertificateSpec>::NEW),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test that starts a shell has no job")]
    fn every_function_is_one_for_any_posix_shell() {
        for (name, text) in [
            ("common", include_str!("common.sh")),
            ("refresh", include_str!("refresh.sh")),
            ("packages", include_str!("packages/packages.sh")),
            ("repository", include_str!("repository/repository.sh")),
            ("user", include_str!("user/user.sh")),
            ("service", include_str!("service/service.sh")),
            ("sysctl", include_str!("sysctl/sysctl.sh")),
            ("files", include_str!("files/files.sh")),
            ("locale", include_str!("locale/locale.sh")),
            ("certificate", include_str!("certificate/certificate.sh")),
        ] {
            for shell in [&["dash"][..], &["busybox", "sh"], &["bash", "--posix"]] {
                let mut command = std::process::Command::new(shell[0]);
                let read = command.args(&shell[1..]).args(["-n", "-c", text]).output().unwrap();
                let errors = String::from_utf8_lossy(&read.stderr);
                assert!(read.status.success() && errors.is_empty(), "{shell:?} {name}: {errors}");
            }
        }
    }
}
