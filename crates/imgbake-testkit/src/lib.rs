//! What the end-to-end tests use: a home of their own, the `imgbake` program, the tiny guest.
//!
//! Everything here panics when it cannot do its work: a test that lacks its ground has failed.
#![expect(clippy::disallowed_methods, reason = "tests run the program and its users' tools")]
#![expect(clippy::unwrap_used, reason = "a test that lacks its ground has failed")]

mod base;
mod bootstrap;
pub mod conformance;
mod docker_registry;
mod event_log;
pub mod fake;
mod guest;
mod guest_lock;
mod home;
mod layers;
mod lock;
mod plain;
mod random;
mod record;
mod registry;
mod root;
mod secret;
mod small;
mod stored;

pub use bootstrap::{bootstrap_digest, repository};
pub use docker_registry::{DockerRegistry, DockerSettings, PASSWORD, USER};
pub use event_log::{Built, EventLog};
pub use guest::{shell, tiny_disk, tiny_template, tiny_template_for};
pub use guest_lock::{GuestLock, lock_all_guests, lock_guests};
pub use home::{Run, TestHome, program, run_tool};
pub use imgbake_types::Arch;
pub use layers::StoredLayer;
pub use plain::{Identity, PlainGuest};
pub use random::Random;
pub use record::{channel_move, image_config};
pub use registry::{Accepts, Habits, Odd, Pause, TestRegistry};
pub use root::{Root, Volatile, differences};
pub use secret::{assert_absent, secret_forms};
pub use small::{can_mount, run_on_small_disk, run_with_mounts};
pub use stored::StoredLayout;
