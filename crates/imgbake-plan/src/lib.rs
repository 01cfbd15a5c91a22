//! A template with its variables filled in becomes a plan with a key for each step.
