//! What the end-to-end tests stand on: a home of their own, the `imgbake` program, the tiny guest.
//!
//! Everything here panics when it cannot do its work: a test that lacks its ground has failed.
#![expect(clippy::disallowed_methods, reason = "tests run the program and its users' tools")]
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

mod bootstrap;
mod dice;
mod docker_registry;
mod guest;
mod home;
mod layers;
mod plain;
mod record;
mod registry;
mod root;
mod secret;
mod small;
mod told;
mod turns;

pub use bootstrap::{bootstrap_digest, repository};
pub use dice::Dice;
pub use docker_registry::{DockerRegistry, DockerSettings, PASSWORD, USER};
pub use guest::{shell, tiny_template, tiny_template_for};
pub use home::{Run, TestHome, program, run_tool};
pub use imgbake_types::Arch;
pub use layers::StoredLayer;
pub use plain::{Identity, PlainGuest};
pub use record::image_config;
pub use registry::{Habits, Lets, TestRegistry};
pub use root::{Root, Volatile, differences};
pub use secret::{assert_absent, secret_forms};
pub use small::{can_mount, run_on_small_disk, run_with_mounts};
pub use told::{Built, Told};
pub use turns::{Turn, turn};
