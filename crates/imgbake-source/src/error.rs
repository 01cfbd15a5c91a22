//! This crate's error.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use camino::Utf8PathBuf;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_disk::DiskError;
use imgbake_http::{BoxError, HttpError, HttpErrorKind, Retryable, Transient, Url};
use imgbake_runtime::RuntimeError;
use imgbake_types::{Digest, Size};
use tokio::task::JoinError;

/// Why there is no base disk.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source is of another kind: the provider was asked by mistake.
    #[error("this source is no {0}")]
    OtherSource(&'static str),
    /// A location of the template that is neither a URL nor a path. It can hold a secret, and is not
    /// repeated.
    #[error("the source's location {why}")]
    Location {
        /// What is wrong with it.
        why: String,
        /// Why it cannot be read as a URL.
        source: Option<<Url as FromStr>::Err>,
    },
    /// A header of the template that HTTP does not allow. Its value can be a secret, and is not repeated.
    #[error("the {part} of the source's header `{name}` is not allowed in HTTP")]
    Header {
        /// Its name or its value.
        part: &'static str,
        /// Its name.
        name: String,
    },
    /// A file of this host cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A path of this host names something else than a file.
    #[error("{0} is not a regular file")]
    NotAFile(Utf8PathBuf),
    /// A file of this host was changed while it was read.
    #[error("{0} was changed while it was read")]
    Changed(Utf8PathBuf),
    /// A server did not answer in time.
    #[error("cannot ask {address}: no answer within {} seconds", .limit.as_secs_f64())]
    NoAnswer {
        /// What was asked for, without secrets.
        address: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A checksum file that is far too long for one.
    #[error("{0}: it is no checksum file")]
    NoChecksumFile(#[source] BoxError),
    /// A checksum file does not list the source's file.
    #[error("{sums} has no checksum for `{name}`")]
    NoChecksum {
        /// The checksum file, without secrets.
        sums: String,
        /// The source's file.
        name: String,
        /// The files that it lists; empty where it is no checksum file at all.
        listed: String,
    },
    /// A checksum file contradicts itself.
    #[error("{sums} has two different checksums for `{name}`")]
    TwoChecksums {
        /// The checksum file, without secrets.
        sums: String,
        /// The source's file.
        name: String,
    },
    /// The bytes are not those that the template names.
    #[error("{name} has the wrong checksum: expected {expected}, got {got}")]
    WrongChecksum {
        /// What the user calls the file, without secrets.
        name: String,
        /// The digest that it should have.
        expected: Digest,
        /// The digest that it has.
        got: Digest,
        /// Whether it was downloaded, and removed; a file of this host stays.
        removed: bool,
    },
    /// The data of a packed disk cannot be unpacked.
    #[error("the {packing} data {what} (after {} unpacked)", .unpacked.human())]
    Packed {
        /// How it is packed.
        packing: &'static str,
        /// What is wrong with it.
        what: &'static str,
        /// What was unpacked before.
        unpacked: Size,
        /// What the decoder reported.
        source: io::Error,
    },
    /// The data of a packed disk has no end in sight.
    #[error("the {packing} data unpack to more than {}", .limit.human())]
    TooLarge {
        /// How it is packed.
        packing: &'static str,
        /// How large a disk may be.
        limit: Size,
    },
    /// A base image of a format that is not read.
    #[error("the base image {name} cannot be used: it is {format}")]
    OtherFormat {
        /// What the user calls it, without secrets.
        name: String,
        /// What it is.
        format: &'static str,
    },
    /// A base image that no machine can start from.
    #[error("the base image {name} cannot be used: {why}")]
    Unusable {
        /// What the user calls it, without secrets.
        name: String,
        /// What is wrong with it.
        why: String,
        /// What reading it reported.
        source: Option<DiskError>,
    },
    /// A base image that failed verification.
    #[error("the base image {name}:{version} failed its tests{which}")]
    FailedTests {
        /// The image.
        name: String,
        /// Its version.
        version: String,
        /// The tests that failed, in parentheses, where they are known.
        which: String,
    },
    /// The thread that reads a file ended.
    #[error("reading a file stopped unexpectedly")]
    Stopped(#[source] JoinError),
    /// A server, or the way to it, failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A file of the cache failed, or the job was cancelled.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// An image of the cache cannot be read.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The registry failed.
    #[error(transparent)]
    Registry(BuildError),
}

impl SourceError {
    /// What the server sent is not what it should be; the next attempt may go better.
    pub(crate) fn transient(context: impl Into<String>) -> Self {
        HttpError::transient(HttpErrorKind::Body, context).into()
    }

    /// What a caller may act on.
    pub fn kind(&self) -> BuildErrorKind {
        match self {
            Self::OtherSource(_)
            | Self::Location { .. }
            | Self::Header { .. }
            | Self::NotAFile(_) => BuildErrorKind::Usage,
            Self::Open { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                BuildErrorKind::NotFound
            }
            Self::NoChecksum { listed, .. } if !listed.is_empty() => BuildErrorKind::NotFound,
            Self::TooLarge { .. } => BuildErrorKind::Full,
            Self::FailedTests { .. } => BuildErrorKind::Refused,
            Self::Http(error) => error.kind().into(),
            Self::Runtime(error) => error.kind().into(),
            Self::Registry(error) => error.kind(),
            _ => BuildErrorKind::Failed,
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Location { .. } => {
                "give an https:// or http:// URL, a file: URL, or a path".to_owned()
            }
            Self::NoChecksum { listed, .. } if listed.is_empty() => {
                "it has no line such as `DIGEST  NAME` or `SHA256 (NAME) = DIGEST` with a SHA-256 or SHA-512 digest"
                    .to_owned()
            }
            Self::NoChecksum { listed, .. } => format!("it has: {listed}"),
            Self::TwoChecksums { .. } => "give the digest itself in `checksum`".to_owned(),
            Self::WrongChecksum { removed: true, .. } => {
                "the downloaded file was removed; if the publisher changed the file, update `checksum`"
                    .to_owned()
            }
            Self::WrongChecksum { .. } => "the file was left as it is".to_owned(),
            Self::OtherFormat { .. } => {
                "raw and qcow2 images are read, plain or packed with xz, gzip or zstd (`qemu-img convert -O qcow2` makes one)"
                    .to_owned()
            }
            Self::FailedTests { name, version, .. } => format!(
                "build on another version (`imgbake images {name}` lists them), or fix it and run `imgbake test {name}:{version}`"
            ),
            Self::Http(error) => return error.help_text().map(str::to_owned),
            Self::Registry(error) => return error.help_text().map(str::to_owned),
            _ => return None,
        })
    }
}

impl Retryable for SourceError {
    fn as_transient(&self) -> Option<Transient> {
        match self {
            Self::Http(error) => error.as_transient(),
            _ => None,
        }
    }

    fn gave_up(self, context: String, help: Option<&str>) -> Self {
        match self {
            Self::Http(error) => error.gave_up(context, help).into(),
            other => other,
        }
    }
}

impl From<SourceError> for BuildError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Http(error) => error.into(),
            SourceError::Runtime(error) => error.into(),
            SourceError::Registry(error) => error,
            error => {
                let (kind, help) = (error.kind(), error.help());
                Self::of(kind, error).help_if_any(help)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn causes_and_help_reach_the_build() {
        let cause = io::Error::from(io::ErrorKind::NotFound);
        let error = BuildError::from(SourceError::Open { path: "/d.raw".into(), source: cause });
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (BuildErrorKind::NotFound, "cannot open /d.raw")
        );
        assert!(error.source().is_some_and(<dyn Error>::is::<io::Error>));

        let gone = HttpError::new(HttpErrorKind::Status(404), "h answers 404").help("is it there?");
        let error = BuildError::from(SourceError::from(gone));
        assert_eq!(
            (error.kind(), error.help_text()),
            (BuildErrorKind::NotFound, Some("is it there?"))
        );
        let full = imgbake_runtime::space::full("/x".into(), None);
        assert_eq!(SourceError::from(full).kind(), BuildErrorKind::Full);
    }
}
