//! Changes bytes by chance: a function of the corpus and of what is drawn, so that a seed and a number name an input.

use quorate_telemetry::Rng;

use super::corpus::Sample;

/// Most bytes of an input.
const BYTES_MAX: usize = 64 << 10;
/// Most changes of one input.
const CHANGES_MAX: u64 = 6;
/// Most bytes that are inserted, removed, copied or filled at once.
const PIECE_BYTES_MAX: usize = 64;
/// How often a place is drawn anew that holds a zero: most of a file is padding.
const REDRAWS: usize = 6;

/// Numbers at which lengths, counts and indices go wrong.
const INTERESTING: [u64; 20] = [
    0,
    1,
    2,
    7,
    16,
    64,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x1000,
    0x7fff,
    0xffff,
    0x10000,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    (1 << 62) + 1,
    u64::MAX >> 1,
    u64::MAX,
];

/// An input near the corpus, which is not empty.
pub fn mutate(corpus: &[Sample], rng: &dyn Rng) -> Vec<u8> {
    let mut bytes = one_of(corpus, rng).to_vec();
    // One change half of the time: more of them seldom leave a form whole.
    for _ in 0..CHANGES_MAX {
        change(&mut bytes, one_of(corpus, rng), rng);
        if rng.below(2) == 0 {
            break;
        }
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn one_of<'a>(corpus: &'a [Sample], rng: &dyn Rng) -> &'a [u8] {
    &corpus[index(rng, corpus.len())].bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], rng: &dyn Rng) {
    let at = place(bytes, rng);
    match rng.below(13) {
        0 | 1 => write(bytes, at, |old| vec![old[0] ^ (1 << rng.below(8))], 1),
        2 => write(bytes, at, |_| vec![random_byte(rng)], 1),
        3 | 4 => {
            let width = 1 << rng.below(4);
            let value = INTERESTING[index(rng, INTERESTING.len())];
            write(bytes, at, |_| value.to_le_bytes()[..width].to_vec(), width);
        }
        5 => {
            let width = 1 << rng.below(4);
            let delta = rng.below(9).wrapping_sub(4);
            write(bytes, at, |old| number(old).wrapping_add(delta).to_le_bytes()[..width].to_vec(), width);
        }
        6 => bytes.truncate(at),
        7 => {
            let inserted: Vec<u8> = (0..=rng.below(8)).map(|_| random_byte(rng)).collect();
            bytes.splice(at..at, inserted);
        }
        8 => drop(bytes.drain(piece(bytes, at, rng))),
        9 => {
            let copied = bytes[piece(bytes, at, rng)].to_vec();
            let to = place(bytes, rng);
            bytes.splice(to..to, copied);
        }
        10 => {
            let from = place(other, rng);
            let copied = &other[piece(other, from, rng)];
            let end = (at + copied.len()).min(bytes.len());
            bytes.splice(at..end, copied.iter().copied());
        }
        11 => {
            // The front of one, and the end of another.
            bytes.truncate(at);
            bytes.extend_from_slice(&other[at.min(other.len())..]);
        }
        _ => {
            let filled = piece(bytes, at, rng);
            let with = if rng.below(2) == 0 { 0 } else { random_byte(rng) };
            bytes[filled].fill(with);
        }
    }
}

/// Puts what is made of the `width` bytes at `at` in their place, as far as they are there.
fn write(bytes: &mut [u8], at: usize, make: impl FnOnce(&[u8]) -> Vec<u8>, width: usize) {
    let end = (at + width).min(bytes.len());
    if at < end {
        let made = make(&bytes[at..end]);
        bytes[at..end].copy_from_slice(&made[..end - at]);
    }
}

/// A place in `bytes`, or its end if it is empty; more often one that is in use.
fn place(bytes: &[u8], rng: &dyn Rng) -> usize {
    if bytes.is_empty() {
        return 0;
    }
    let mut at = index(rng, bytes.len());
    for _ in 0..REDRAWS {
        if bytes[at] != 0 {
            break;
        }
        at = index(rng, bytes.len());
    }
    at
}

/// A few bytes from `at` on.
fn piece(bytes: &[u8], at: usize, rng: &dyn Rng) -> std::ops::Range<usize> {
    at..(at + 1 + index(rng, PIECE_BYTES_MAX)).min(bytes.len())
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|at| bytes.get(at).copied().unwrap_or_default()))
}

fn random_byte(rng: &dyn Rng) -> u8 {
    rng.next_u64().to_le_bytes()[0]
}

/// An index of `count` things, of which there is at least one.
fn index(rng: &dyn Rng, count: usize) -> usize {
    usize::try_from(rng.below(count as u64)).unwrap_or_default()
}
