//! Which build waits for which, and how many run at once.

use imgbake_runtime::memory;

use crate::failure::Failure;
use crate::load::Unit;

/// Memory that QEMU takes beside its guest's, roughly: translated code and devices.
const OVERHEAD: u64 = 512 << 20;

/// For each build, those whose images it is based on.
pub(super) struct Graph(Vec<Vec<usize>>);

impl Graph {
    /// Finds which build is based on whose image.
    ///
    /// # Errors
    /// Images that are based on each other in a circle; two builds of one image.
    pub(super) fn of(units: &[Unit]) -> Result<Self, Failure> {
        let names: Vec<&str> = units.iter().map(|unit| unit.image().name.as_str()).collect();
        for (index, name) in names.iter().enumerate() {
            if let Some(other) = names[..index].iter().position(|before| before == name) {
                return Err(Failure::usage(format!(
                    "`{}` and `{}` both build the image `{name}`: give each a name of its own",
                    units[other].path(),
                    units[index].path()
                )));
            }
        }
        let needs: Vec<Vec<usize>> = units
            .iter()
            .map(|unit| {
                let base = unit.parent_image();
                let same = |(_, name): &(usize, &&str)| base.as_deref() == Some(**name);
                names.iter().enumerate().filter(same).map(|(at, _)| at).collect()
            })
            .collect();
        let graph = Self(needs);
        for start in 0..units.len() {
            let mut at = start;
            // A build is based on one image at most: a longer walk than there are builds is a circle.
            for _ in 0..=units.len() {
                match graph.needs(at).first() {
                    Some(&next) => at = next,
                    None => break,
                }
            }
            if !graph.needs(at).is_empty() {
                return Err(Failure::usage(format!(
                    "the image `{}` is based on itself, through `{}`",
                    names[at],
                    names[graph.needs(at)[0]]
                )));
            }
        }
        Ok(graph)
    }

    /// The builds that one is based on.
    pub(super) fn needs(&self, index: usize) -> &[usize] {
        &self.0[index]
    }
}

/// How many of these builds this host has processors and free memory for; at least one.
pub(super) fn room_for(units: &[Unit]) -> usize {
    let machine = |unit: &Unit| unit.machine().clone();
    let cpus = units.iter().map(|unit| machine(unit).cpus()).max().unwrap_or(1).max(1);
    let memory = units.iter().map(|unit| machine(unit).memory().as_bytes()).max().unwrap_or(0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let by_processors = processors / usize::try_from(cpus).unwrap_or(1);
    let by_memory = memory::available().map_or(usize::MAX, |free| {
        usize::try_from(free / (memory + OVERHEAD)).unwrap_or(usize::MAX)
    });
    by_processors.min(by_memory).max(1)
}
