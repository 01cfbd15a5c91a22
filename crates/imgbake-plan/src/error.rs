//! Why there is no plan.

use imgbake_template::Diagnostics;

/// Why a template did not become a plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The template asks for what is not there, such as a script.
    #[error(transparent)]
    Template(#[from] Diagnostics),
    /// A step could not be written as JSON, or the key for secrets could not be used.
    #[error("the key of step `{step}` could not be computed: {reason}; this is a fault of imgbake")]
    Key {
        /// The step's name.
        step: String,
        /// What the library said.
        reason: String,
    },
}
