//! A builder: `[builder.shed]`. Its machines are those of the fake one.

use async_trait::async_trait;
use imgbake_build::{BuildError, BuildErrorKind, Builder, Machine, MachineRequest};
use imgbake_runtime::Job;
use imgbake_testkit::fake::FakeBuilder;
use imgbake_types::spec::{BuilderKind, Firmware};
use imgbake_types::{Arch, MachineSpec, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[builder.shed]`
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ShedSpec {
    /// How long a machine may take until it answers. Default: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_timeout: Option<Span>,
    /// The bay that its machines stand in.
    bay: u8,
}

/// Bays of the shed.
const BAYS: u8 = 4;

/// Makes machines in a shed.
pub(crate) struct Shed(pub(crate) FakeBuilder);

#[async_trait]
impl Builder for Shed {
    fn kind(&self) -> BuilderKind {
        BuilderKind::of::<ShedSpec>("shed", "A machine in the shed.")
    }

    async fn check(
        &self,
        _: &Job,
        _: Arch,
        machine: &MachineSpec,
        _: Firmware,
    ) -> Result<(), BuildError> {
        let bay = machine.settings.get("bay").and_then(serde_json::Value::as_u64);
        if bay.is_some_and(|bay| bay < BAYS.into()) {
            return Ok(());
        }
        let message = format!("the shed has the bays 0 to {}", BAYS - 1);
        Err(BuildError::new(BuildErrorKind::Usage, message))
    }

    async fn boot(
        &self,
        job: &Job,
        request: MachineRequest,
    ) -> Result<Box<dyn Machine>, BuildError> {
        self.0.boot(job, request).await
    }
}
