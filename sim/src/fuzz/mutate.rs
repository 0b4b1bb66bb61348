//! How inputs are bent.

use lockstep_types::generate::Random;

/// Longest input. Longer ones only make everything slower.
const MAX_INPUT: usize = 128 * 1024;

/// Numbers at which code changes its mind.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x3f,
    0x40,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x3fff_ffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// An entry of the corpus, bent in one to four places.
pub(super) fn mutated(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = random.pick(corpus).clone();
    for _ in 0..=random.below(4) {
        bend(random, &mut input, corpus);
    }
    input.truncate(MAX_INPUT);
    input
}

/// A stretch of a list of `length` > 0, mostly a short one.
fn stretch(random: &mut Random, length: usize) -> core::ops::Range<usize> {
    let start = random.index(length);
    let most = if random.one_in(4) { length } else { 40 };
    let size = 1 + random.index(most.min(length - start));
    start..start + size
}

fn bend(random: &mut Random, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    if input.is_empty() {
        *input = random.pick(corpus).clone();
    }
    if input.is_empty() {
        input.push(random.make());
    }
    let at = random.index(input.len());
    match random.below(14) {
        0..=1 => input[at] ^= 1 << random.below(8),
        2 => input[at] = random.make(),
        3 => edge(random, input, at),
        4 => length_field(random, input, at),
        5 => input.truncate(at),
        6 => drop(input.drain(stretch(random, input.len()))),
        7 => {
            // The same again, at its own place: an element too many.
            let range = stretch(random, input.len());
            let (end, copy) = (range.end, input[range].to_vec());
            input.splice(end..end, copy);
        }
        8 => {
            let other = random.pick(corpus);
            splice(random, input, at, other);
        }
        9 => {
            // A part of another input over a part of this one.
            let other = random.pick(corpus);
            if !other.is_empty() {
                let part = &other[stretch(random, other.len())];
                let end = (at + part.len()).min(input.len());
                input.splice(at..end, part.iter().copied());
            }
        }
        10 => {
            let bytes: [u8; 8] = random.make();
            let count = 1 + random.index(8);
            input.splice(at..at, bytes[..count].iter().copied());
        }
        11 => {
            let (a, b) = (random.index(input.len()), at);
            input.swap(a, b);
        }
        _ => element(random, input),
    }
}

/// The head of one input and the tail of another.
fn splice(random: &mut Random, input: &mut Vec<u8>, at: usize, other: &[u8]) {
    if other.is_empty() {
        return;
    }
    let from = random.index(other.len());
    input.truncate(at);
    input.extend_from_slice(&other[from..]);
}

/// An edge of the integers over one, two, four or eight bytes, or one beside it.
fn edge(random: &mut Random, input: &mut [u8], at: usize) {
    let near = [0, 1, u64::MAX][random.index(3)];
    let value = random.pick(&EDGES).wrapping_add(near);
    let width = 1usize << random.below(4);
    let mut bytes = value.to_le_bytes();
    if random.one_in(4) {
        bytes.reverse();
    }
    for (byte, edge) in input[at..].iter_mut().zip(&bytes[..width]) {
        *byte = *edge;
    }
}

/// Sizes of what lists hold: numbers, shards with roots, accounts, digests, keys, signatures.
const ELEMENTS: [usize; 7] = [1, 2, 8, 20, 32, 33, 64];

/// One element more or less in what looks like a short SCALE list, its length with it.
fn element(random: &mut Random, input: &mut Vec<u8>) {
    let looks = |byte: u8| byte.is_multiple_of(4) && (4..=128).contains(&byte);
    let tries = (0..16).map(|_| random.index(input.len()));
    let Some(at) = tries
        .collect::<Vec<_>>()
        .into_iter()
        .find(|at| looks(input[*at]))
    else {
        return;
    };
    let first = at + 1;
    let end = first + random.pick(&ELEMENTS);
    if end > input.len() {
        return;
    }
    if random.one_in(2) {
        input[at] += 4;
        let copy = input[first..end].to_vec();
        let last = first + copy.len() * usize::from(input[at] / 4 - 1);
        // Before the first one, or behind the last.
        let place = if random.one_in(2) {
            first
        } else {
            last.min(input.len())
        };
        input.splice(place..place, copy);
    } else {
        input[at] -= 4;
        input.drain(first..end);
    }
}

/// SCALE writes a list's length as a compact number: one more, one less, or far more elements.
fn length_field(random: &mut Random, input: &mut [u8], at: usize) {
    match random.below(4) {
        0 => input[at] = input[at].wrapping_add(4),
        1 => input[at] = input[at].wrapping_sub(4),
        2 => input[at] = (input[at] & !3) | random.below(4) as u8,
        _ => edge(random, input, at),
    }
}
