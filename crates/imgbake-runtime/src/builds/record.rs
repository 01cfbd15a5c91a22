//! The handle of a record that is being written.

use std::sync::{Arc, Mutex, PoisonError};

use imgbake_types::record::build::{BuildPlan, BuildStart, FORMAT};
use imgbake_types::{Event, Plan};

use super::files::{PLAN, folder};
use super::writer::Writer;
use crate::error::io_at;
use crate::{Home, RuntimeError};

/// The record of a build that runs. Clones are the same record.
#[derive(Debug, Clone)]
pub struct BuildRecord(Arc<Mutex<Option<Writer>>>);

impl BuildRecord {
    /// Begins a record: its folder and `build.json`. The build's journal must be locked already, since
    /// a record without one is that of a killed build.
    pub fn begin(home: &Home, start: &BuildStart) -> Result<Self, RuntimeError> {
        let dir = folder(home, &start.id);
        let writer = Writer::begin(&dir, start).map_err(io_at("write the build's record", &dir))?;
        Ok(Self(Arc::new(Mutex::new(Some(writer)))))
    }

    /// Keeps the plan. Gives a warning where the record ends with this.
    pub(crate) fn plan(&self, plan: &Plan) -> Option<String> {
        self.write(|writer| writer.document(PLAN, &BuildPlan { format: FORMAT, plan }))
    }

    /// Keeps an event. Gives a warning where the record ends with this.
    pub(crate) fn event(&self, event: &Event) -> Option<String> {
        self.write(|writer| writer.event(event))
    }

    fn write(&self, write: impl FnOnce(&mut Writer) -> std::io::Result<()>) -> Option<String> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = held.as_mut()?;
        let error = write(writer).err()?;
        let warning = format!("no more is recorded of this build in {}: {error}", writer.dir());
        *held = None;
        Some(warning)
    }
}
