//! Keys that a program has access to: in a KMS, an HSM or an agent.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imgbake_build::{BuildError, BuildErrorKind};
use imgbake_runtime::{Command, Job};
use imgbake_types::event::Stream;

use super::{PublicKey, Signer};

/// Characters of its output after which the rest is not kept: a signature has about a hundred.
const LONGEST: usize = 4096;
/// How long the program may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A key that signs by a program: it reads the message from its standard input and prints the signature in base64, raw
/// for ed25519, in DER for P-256.
#[derive(Debug)]
pub struct CommandKey {
    command: Vec<String>,
    public: PublicKey,
}

impl CommandKey {
    /// The key behind a program with its arguments, and the public half.
    ///
    /// # Errors
    /// There is no program.
    pub fn new(command: Vec<String>, public: PublicKey) -> Result<Self, BuildError> {
        if command.is_empty() {
            return Err(BuildError::new(BuildErrorKind::Usage, "the signing command is empty"));
        }
        Ok(Self { command, public })
    }

    async fn run(&self, job: &Job, message: &[u8]) -> Result<Vec<u8>, BuildError> {
        let (program, args) = self.command.split_first().unwrap_or((&self.command[0], &[]));
        let command = Command::new(program.as_str()).args(args).stdin(message);
        let mut text = String::new();
        let running = command.run_lines(job, |stream, line| {
            if stream == Stream::Stdout && text.len() < LONGEST {
                text.extend(line.split_ascii_whitespace());
            }
        });
        let ended = tokio::time::timeout(TIMEOUT, running).await;
        ended.map_err(|_| {
            BuildError::failed(format!(
                "the signing command `{program}` timed out after {} s",
                TIMEOUT.as_secs()
            ))
        })??;
        STANDARD.decode(text).map_err(|error| {
            BuildError::failed(format!(
                "the signing command `{program}` printed no signature in base64"
            ))
            .because(error)
        })
    }
}

#[async_trait]
impl Signer for CommandKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    async fn sign(&self, job: &Job, message: &[u8]) -> Result<Vec<u8>, BuildError> {
        let signature = self.run(job, message).await?;
        // A signature that nobody can check must not be stored.
        if !self.public.verifies(message, &signature) {
            let text = format!(
                "the signing command `{}` made a signature that its public key {} does not verify",
                self.command[0],
                self.public.id().short()
            );
            return Err(BuildError::new(BuildErrorKind::Usage, text)
                .help("its public key must be the one of the key that it signs with"));
        }
        Ok(signature)
    }
}
