//! A step on its second run.

use imgbake_types::spec::ProvisionSpec;

use crate::Provisioner;

/// A step that is run again.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// What the template says.
    pub(super) spec: &'a ProvisionSpec,
    /// Who runs it.
    pub(super) provisioner: &'a dyn Provisioner,
}
