//! The layout as its users see it: through the trait, through skopeo, through kills and damage.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

mod attached;
mod channels;
mod collect;
mod common;
mod conformance;
mod damage;
mod deep;
mod full;
mod gc;
mod hostile;
mod kept;
mod kills;
mod names;
mod order;
mod processes;
mod rebuild;
mod reuse;
mod shared;
mod skopeo;
mod stored;
mod versions;
