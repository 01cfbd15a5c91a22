//! How many machines boot at the same time. Pure.

use crate::argv::Engine;

/// So many machines boot sooner together than one after the other.
///
/// Under KVM a boot waits as much as it computes. An emulated processor is a thread that computes all the
/// while, and one that spins for another which the host has put aside computes in vain
/// (`docs/decisions/0027-clones-in-turn.md` has the figures): so each gets a core.
pub(crate) fn at_once(engine: Engine, processors: u32, cores: usize) -> usize {
    match engine {
        Engine::Kvm => usize::MAX,
        Engine::Tcg => {
            let processors = usize::try_from(processors).unwrap_or(usize::MAX);
            (cores / processors.max(1)).max(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulated_machines_get_a_core_for_each_processor() {
        for (engine, processors, cores, at_once) in [
            (Engine::Kvm, 2, 2, usize::MAX),
            (Engine::Tcg, 2, 2, 1),
            (Engine::Tcg, 1, 2, 2),
            (Engine::Tcg, 2, 8, 4),
            (Engine::Tcg, 4, 2, 1),
            (Engine::Tcg, 0, 1, 1),
        ] {
            assert_eq!(
                super::at_once(engine, processors, cores),
                at_once,
                "{engine:?} {processors} {cores}"
            );
        }
    }
}
