//! The plan's first step: where the machine's disk comes from.

use camino::{Utf8Path, Utf8PathBuf};
use imgbake_template::{Diagnostic, checksum};
use imgbake_types::plan::{Checksum, FileInput, Source, UrlSource};
use imgbake_types::spec::{BootstrapSpec, SourceSpec};
use imgbake_types::{Digest, StepKind};

use crate::PlanError;
use crate::key::Inputs;
use crate::paths::{absolute, is_remote, local, location, shown};
use crate::plan::Planner;

impl Planner<'_> {
    /// Adds the source step.
    pub(crate) fn source(&mut self) -> Result<(), PlanError> {
        let resolved = &self.request.resolved.spec;
        let spec = &resolved.source;
        let mut inputs = Inputs::new("source");
        inputs.setting("arch", &resolved.image.arch)?;
        if let Some(pin) = self.request.source_pin {
            inputs.pin(pin);
        }
        let source = if let Some(bootstrap) = &spec.bootstrap {
            self.bootstrap(&mut inputs, bootstrap.clone())?
        } else if let Some(url) = &spec.url {
            self.url(&mut inputs, spec, url)?
        } else {
            self.image(&mut inputs, spec.image.as_deref().unwrap_or_default())?
        };
        self.push(inputs, StepKind::Source { source }, self.request.source_known)
    }

    fn bootstrap(
        &mut self,
        inputs: &mut Inputs,
        mut spec: BootstrapSpec,
    ) -> Result<Source, PlanError> {
        if let Some(keyring) = spec.keyring.take() {
            let path = absolute(self.request.template_dir, &keyring);
            self.file(inputs, "source.bootstrap.keyring", &keyring, &path);
            inputs.settings("", &spec)?;
            spec.keyring = Some(path);
        } else {
            inputs.settings("", &spec)?;
        }
        Ok(Source::Bootstrap(spec))
    }

    fn url(
        &mut self,
        inputs: &mut Inputs,
        spec: &SourceSpec,
        url: &str,
    ) -> Result<Source, PlanError> {
        let mut source = UrlSource {
            location: location(self.request.template_dir, url),
            checksum: Checksum::Unverified,
            headers: spec.headers.clone(),
        };
        match spec.checksum.as_deref().and_then(checksum) {
            Some(Checksum::Digest { digest }) => {
                self.proven(inputs, &source.location, &digest)?;
                source.checksum = Checksum::Digest { digest };
                return Ok(Source::Url(source));
            }
            Some(Checksum::Sums { location: sums }) => {
                source.checksum = self.sums(inputs, &sums)?;
            }
            Some(Checksum::Unverified) | None => inputs.setting("checksum", &"none")?,
        }
        if is_remote(&source.location) {
            inputs.setting("url", &source.location)?;
        } else {
            let path = Utf8Path::new(&source.location);
            self.file(inputs, "source.url", Utf8Path::new(&*local(url)), path);
        }
        inputs.settings("headers", &source.headers)?;
        Ok(Source::Url(source))
    }

    /// Bytes that a digest proves are the same wherever they come from: the digest alone decides.
    fn proven(
        &mut self,
        inputs: &mut Inputs,
        location: &str,
        digest: &Digest,
    ) -> Result<(), PlanError> {
        if !is_remote(location) {
            let path = Utf8PathBuf::from(location);
            match self.request.files.mode(&path) {
                Ok(_) => inputs.files.push(FileInput { path, digest: digest.clone() }),
                Err(error) => self.unreadable("source.url", &path, &error),
            }
        }
        inputs.setting("checksum", digest)
    }

    fn sums(&mut self, inputs: &mut Inputs, written: &str) -> Result<Checksum, PlanError> {
        let location = location(self.request.template_dir, written);
        // As the template has it, so that of two files it is known which is which.
        let mut decides = written.to_owned();
        if !is_remote(&location) {
            let path = local(written);
            let path = Utf8Path::new(&*path);
            self.file(inputs, "source.checksum", path, Utf8Path::new(&location));
            decides = shown(path).into_string();
        }
        inputs.setting("checksum", &format!("file:{decides}"))?;
        Ok(Checksum::Sums { location })
    }

    fn image(&mut self, inputs: &mut Inputs, text: &str) -> Result<Source, PlanError> {
        let reference = text.parse().map_err(|error: imgbake_types::ParseError| {
            let span = self.request.template.span_of("source.image");
            let found = Diagnostic::new("reference", span, error.to_string());
            self.request.template.diagnostics(vec![found])
        })?;
        inputs.setting("image", &text)?;
        Ok(Source::Image { reference })
    }
}
