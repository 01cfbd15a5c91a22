//! What every stage is given: the plan, who carries it out, and what earlier builds left.

use std::sync::Arc;

use imgbake_runtime::Job;
use imgbake_types::Plan;
use imgbake_types::record::{Origin, StageRecord};

use super::rescue::Rescue;
use crate::cache::{CacheMode, LayerCache};
use crate::components::Components;
use crate::share::LayerShare;
use crate::slots::Slots;

/// What every stage is given.
#[derive(Clone, Copy)]
pub struct Build<'a> {
    /// The running job.
    pub job: &'a Job,
    /// What to do.
    pub plan: &'a Plan,
    /// Who does it.
    pub components: &'a Components,
    /// This program's name and version, for the record.
    pub tool: &'a str,
    /// Where the template came from, for the record.
    pub origin: Option<&'a Origin>,
    /// The layers of earlier builds; without them, every step runs.
    pub layers: Option<&'a Layers>,
    /// The rights to run a machine: one for each that may run at once.
    pub slots: &'a Slots,
    /// Lets the user into a machine whose step failed.
    pub rescue: Option<&'a dyn Rescue>,
    /// Whether a machine that failed is given to the caller, who asks the user.
    pub keep_failed: bool,
}

/// The layers of earlier builds.
#[derive(Clone)]
pub struct Layers {
    /// Where they are.
    pub cache: LayerCache,
    /// What of them is used.
    pub mode: CacheMode,
    /// Where disks of layers are written to as well.
    pub to: Option<Arc<dyn LayerShare>>,
    /// Where disks of layers that are not here are taken from.
    pub from: Option<Arc<dyn LayerShare>>,
}

/// What the stages so far took.
pub type Log = Vec<StageRecord>;
