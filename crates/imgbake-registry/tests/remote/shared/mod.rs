//! Layers that builds share through a repository.

mod docker;
mod hostile;
mod layer;
mod pushed;
