//! The plan's first step: where the machine's disk comes from.

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_template::{Diagnostic, checksum};
use imgbake_types::StepKind;
use imgbake_types::plan::{Checksum, FileInput, Source, UrlSource};
use imgbake_types::spec::BootstrapSpec;
use serde_json::{Value, json};

use crate::PlanError;
use crate::paths::{absolute, is_remote, location};
use crate::plan::{Planner, json_of};

/// A source, what of it decides the disk, and the host's files that it reads.
type Found = (Source, Value, Vec<FileInput>);

impl Planner<'_> {
    /// Adds the source step.
    pub(crate) fn source(&mut self) -> Result<(), PlanError> {
        let spec = self.request.resolved.spec.source.clone();
        let (source, settings, files) = if let Some(bootstrap) = spec.bootstrap {
            self.bootstrap(bootstrap)?
        } else if let Some(url) = &spec.url {
            let base = self.request.template_dir;
            let source = UrlSource {
                location: location(base, url),
                checksum: match spec.checksum.as_deref().and_then(checksum) {
                    Some(Checksum::Sums { location: sums }) => {
                        Checksum::Sums { location: location(base, &sums) }
                    }
                    Some(other) => other,
                    None => Checksum::Unverified,
                },
                headers: spec.headers,
            };
            self.url(source)?
        } else {
            self.image(spec.image.as_deref().unwrap_or_default())?
        };
        let settings = json!({
            "source": settings,
            "arch": self.request.resolved.spec.image.arch,
            "pin": self.request.source_pin,
        });
        self.push("source".into(), StepKind::Source { source }, &settings, files)
    }

    fn bootstrap(&mut self, mut spec: BootstrapSpec) -> Result<Found, PlanError> {
        let mut files = Vec::new();
        let mut decides = spec.clone();
        if let Some(keyring) = &spec.keyring {
            let path = absolute(self.request.template_dir, keyring);
            files.extend(self.file("source.bootstrap.keyring", &path));
            decides.keyring = Some(Utf8PathBuf::new());
            spec.keyring = Some(path);
        }
        let settings = json!({ "bootstrap": json_of("source", &decides)? });
        Ok((Source::Bootstrap(spec), settings, files))
    }

    /// Bytes that a digest proves are the same wherever they come from, so the digest alone decides;
    /// else the location and headers do, and a local file's own bytes.
    fn url(&mut self, source: UrlSource) -> Result<Found, PlanError> {
        let mut files = Vec::new();
        if let Checksum::Digest { digest } = &source.checksum {
            if !is_remote(&source.location) {
                let path = Utf8PathBuf::from(&source.location);
                match self.request.files.mode(&path) {
                    Ok(_) => files.push(FileInput { path, digest: digest.clone() }),
                    Err(error) => self.unreadable("source.url", &path, &error),
                }
            }
            let settings = json!({ "digest": digest });
            return Ok((Source::Url(source), settings, files));
        }
        let mut decides = source.clone();
        if !is_remote(&source.location) {
            files.extend(self.file("source.url", Utf8Path::new(&source.location)));
            decides.location = String::new();
        }
        if let Checksum::Sums { location } = &source.checksum
            && !is_remote(location)
        {
            files.extend(self.file("source.checksum", Utf8Path::new(location)));
            decides.checksum = Checksum::Sums { location: String::new() };
        }
        let settings = json!({ "url": json_of("source", &decides)? });
        Ok((Source::Url(source), settings, files))
    }

    fn image(&mut self, text: &str) -> Result<Found, PlanError> {
        let reference = text.parse().map_err(|error: imgbake_types::ParseError| {
            let span = self.request.template.span_of("source.image");
            let found = Diagnostic::new("reference", span, error.to_string());
            self.request.template.diagnostics(vec![found])
        })?;
        Ok((Source::Image { reference }, json!({ "image": text }), Vec::new()))
    }
}
