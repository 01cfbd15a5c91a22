//! Foreign bytes by the thousand: sound ones, damaged at random, for as long as there is time.

use std::time::{Duration, Instant};

use crate::Dice;

/// Seconds for one parser, unless `IMGBAKE_TEST_MUTATE_SECONDS` says otherwise. CI gives a minute.
const SECONDS: u64 = 3;
/// The most inputs that are kept to be damaged further.
const KEPT: usize = 256;
/// Numbers at which lengths, counts and offsets go wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    2,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    0x7FFF_FFFF_FFFF_FFFF,
    0xFFFF_FFFF_FFFF_FFFE,
    0xFFFF_FFFF_FFFF_FFFF,
];

/// Damages sound inputs at random and gives each to `parse`, which tells whether it took it: what it
/// took is damaged further. Gives the number of inputs. A panic in `parse` fails the test; the same seed
/// gives the same inputs again.
pub fn mutate(dice: &mut Dice, sound: &[Vec<u8>], mut parse: impl FnMut(&[u8]) -> bool) -> u64 {
    for input in sound {
        assert!(parse(input), "a sound input is refused");
    }
    let given = std::env::var("IMGBAKE_TEST_MUTATE_SECONDS").ok();
    let seconds = given.and_then(|seconds| seconds.parse().ok()).unwrap_or(SECONDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut pool = sound.to_vec();
    let mut count = 0;
    while Instant::now() < end {
        let mut input = pool[index(dice, pool.len())].clone();
        for _ in 0..=dice.below(6) {
            let other = index(dice, pool.len());
            damage(&mut input, &pool[other], dice);
        }
        if parse(&input) && pool.len() < KEPT {
            pool.push(input);
        }
        count += 1;
    }
    count
}

fn index(dice: &mut Dice, len: usize) -> usize {
    usize::try_from(dice.below(len as u64)).unwrap()
}

fn damage(input: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = index(dice, input.len() + 1);
    let end = (at + index(dice, 40)).min(input.len());
    match dice.below(8) {
        0 if at < input.len() => input[at] ^= 1 << dice.below(8),
        1 if at < input.len() => input[at] = dice.below(256).to_le_bytes()[0],
        2 | 3 => {
            let edge = EDGES[index(dice, EDGES.len())].wrapping_add(dice.below(3));
            let bytes = if dice.below(2) == 0 { edge.to_le_bytes() } else { edge.to_be_bytes() };
            let width = [1, 2, 4, 8][index(dice, 4)];
            let bytes = if bytes[0] == edge.to_le_bytes()[0] {
                &bytes[..width]
            } else {
                &bytes[8 - width..]
            };
            for (place, byte) in input.iter_mut().skip(at).zip(bytes) {
                *place = *byte;
            }
        }
        4 => drop(input.drain(at..end)),
        5 => {
            let part = input[at..end].to_vec();
            input.splice(at..at, part);
        }
        6 => {
            let from = index(dice, other.len() + 1);
            let to = (from + index(dice, 60)).min(other.len());
            input.splice(at..end, other[from..to].iter().copied());
        }
        _ if dice.below(8) == 0 => input.truncate(at),
        _ => {}
    }
}

/// The most memory that this process ever held, in bytes (proc(5), `VmHWM`).
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
