//! Errors of floor 1's network crates as this crate's own, and errors that come back from them.

use std::error::Error;

use imgbake_http::{HttpError, HttpErrorKind};
use imgbake_oci::{OciError, OciErrorKind};

use crate::{BuildError, BuildErrorKind};

impl BuildError {
    /// An error that went through an interface that knows no types of errors: itself, where it was one.
    pub fn unboxed(error: Box<dyn Error + Send + Sync>) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => *own,
            Err(other) => match other.downcast::<OciError>() {
                Ok(oci) => Self::from(*oci),
                Err(other) => {
                    let built = Self::failed(other.to_string());
                    match other.source() {
                        Some(cause) => built.because(cause.to_string()),
                        None => built,
                    }
                }
            },
        }
    }
}

impl From<OciError> for BuildError {
    fn from(error: OciError) -> Self {
        let kind = match error.kind() {
            OciErrorKind::Failed | OciErrorKind::Http(_) | OciErrorKind::Source => {
                BuildErrorKind::Failed
            }
            OciErrorKind::Usage => BuildErrorKind::Usage,
            OciErrorKind::Refused => BuildErrorKind::Refused,
            OciErrorKind::NotFound => BuildErrorKind::NotFound,
            OciErrorKind::Cancelled => BuildErrorKind::Cancelled,
            OciErrorKind::Lacking => BuildErrorKind::Lacking,
            OciErrorKind::Full => BuildErrorKind::Full,
        };
        let is_source = error.kind() == OciErrorKind::Source;
        let built = with_help(Self::new(kind, error.to_string()), error.help_text());
        with_source(built, error.into_source(), is_source)
    }
}

impl From<HttpErrorKind> for BuildErrorKind {
    fn from(kind: HttpErrorKind) -> Self {
        match kind {
            HttpErrorKind::Usage => Self::Usage,
            HttpErrorKind::Status(404 | 410) => Self::NotFound,
            HttpErrorKind::Cancelled => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}

impl From<HttpError> for BuildError {
    fn from(error: HttpError) -> Self {
        let is_source = error.kind() == HttpErrorKind::Source;
        let built = with_help(Self::new(error.kind().into(), error.to_string()), error.help_text());
        with_source(built, error.into_source(), is_source)
    }
}

fn with_help(error: BuildError, help: Option<&str>) -> BuildError {
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// Adds a cause; that of bytes which could not be read to be sent is the error itself.
fn with_source(
    error: BuildError,
    source: Option<Box<dyn Error + Send + Sync>>,
    is_source: bool,
) -> BuildError {
    match source {
        Some(source) if is_source => BuildError::unboxed(source),
        Some(source) => error.because(source),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_kind_message_and_cause() {
        let own = BuildError::new(BuildErrorKind::Full, "full").help("free space");
        let back = BuildError::unboxed(Box::new(own));
        assert_eq!((back.kind(), back.help_text()), (BuildErrorKind::Full, Some("free space")));
        let oci = OciError::new(OciErrorKind::Refused, "the tag moved");
        let built = BuildError::unboxed(Box::new(oci));
        assert_eq!(
            (built.kind(), built.to_string().as_str()),
            (BuildErrorKind::Refused, "the tag moved")
        );
        let sent = BuildError::new(BuildErrorKind::Full, "full");
        let http = HttpError::new(HttpErrorKind::Source, "full").because(sent);
        assert_eq!(BuildError::from(http).kind(), BuildErrorKind::Full);
        let gone = HttpError::new(HttpErrorKind::Status(404), "h answers 404");
        assert_eq!(BuildError::from(gone).kind(), BuildErrorKind::NotFound);
        let other = BuildError::unboxed("odd".into());
        assert_eq!((other.kind(), other.to_string().as_str()), (BuildErrorKind::Failed, "odd"));
    }
}
