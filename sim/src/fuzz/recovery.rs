//! What is read at a start, from disks that lost their end or were damaged: every cut of a ledger's
//! writes loads as the ledger at that height, and no damage makes a start panic or take for whole
//! what is not.

use lockstep_consensus::SafetyRecord;
use lockstep_consensus::safety_file::{self, SLOT_BYTES, Slot, Stored, Wiped};
use lockstep_ledger::{Column, Durability, Ledger, MemoryStore, Store, Write};
use lockstep_types::generate::Random;
use lockstep_types::{EffectsDigest, codec};
use parity_scale_codec::Encode;

use super::Target;
use super::ledger::Pair;
use super::script::Script;

pub(super) fn targets() -> Vec<Box<dyn Target>> {
    vec![Box::new(SlotBytes), Box::new(Slots), Box::new(State::new())]
}

/// `safety-bytes`: the bytes of the first slot, or of both when there are enough.
struct SlotBytes;

impl Target for SlotBytes {
    fn name(&self) -> &'static str {
        "safety-bytes"
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let slot = |random: &mut Random| random.make::<Stored>().encode();
        let mut corpus: Vec<_> = (0..8).map(|_| slot(random)).collect();
        corpus.push(vec![0; 200]);
        corpus
    }

    fn run(&self, input: &[u8]) -> bool {
        let Slot::Good(stored) = Slot::decode(input) else {
            let torn = safety_file::start(input, &[1], |_| true);
            let empty = input.iter().all(|byte| *byte == 0);
            assert_eq!(torn.is_ok(), empty, "a start from nothing whole");
            return false;
        };
        assert!(input.starts_with(&stored.encode()), "not what was written");
        let start = safety_file::start(input, &[0; SLOT_BYTES], |_| true);
        let start = start.expect("one whole slot beside an empty one");
        assert_eq!(start.record.as_ref(), Some(&stored.record));
        true
    }
}

/// `safety-slots`: two whole records with any counters, either of them torn or missing, over logs
/// that hold what they vouch for or not. The start is what the rules say.
struct Slots;

type Input = ([(u64, SafetyRecord); 2], u8);

impl Target for Slots {
    fn name(&self) -> &'static str {
        "safety-slots"
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let make = |random: &mut Random| {
            let (first, flags): (u64, u8) = (1 + random.below(9), random.make());
            let pair = [(first, random.make()), (first + 1, random.make())];
            let input: Input = (pair, flags);
            input.encode()
        };
        (0..16).map(|_| make(random)).collect()
    }

    fn run(&self, input: &[u8]) -> bool {
        let Ok((pair, flags)) = codec::decode::<Input>(input, SLOT_BYTES) else {
            return false;
        };
        // Counters start at 1, and nobody forges a checksum to pretend 2^64 writes.
        if pair
            .iter()
            .any(|(counter, _)| matches!(*counter, 0 | u64::MAX))
        {
            return false;
        }
        let slot = |at: usize| {
            let (counter, record) = pair[at].clone();
            let mut bytes = Stored { counter, record }.encode();
            match flags >> (2 * at) & 3 {
                1 => bytes.truncate(bytes.len() / 2),
                2 => bytes.fill(0),
                3 => bytes[20] ^= 0x40,
                _ => {}
            }
            bytes.resize(SLOT_BYTES, 0);
            bytes
        };
        let ends = [pair[0].1.log_end, pair[1].1.log_end];
        let logged = |end: &lockstep_consensus::LogEnd| {
            let at = ends
                .iter()
                .position(|known| known == end)
                .expect("one of the two");
            flags >> (4 + at) & 1 == 0
        };
        let (first, second) = (slot(0), slot(1));
        let start = safety_file::start(&first, &second, logged);
        let good: Vec<usize> = (0..2)
            .filter(|at| matches!(Slot::decode(&[&first, &second][*at][..]), Slot::Good(_)))
            .collect();
        let Ok(start) = start else {
            return matches!(start, Err(Wiped::LogLost(_)));
        };
        let newest = good.iter().max_by_key(|at| pair[**at].0);
        assert_eq!(
            start.record.as_ref(),
            newest.map(|at| &pair[*at].1),
            "the newest whole record"
        );
        // A record whose log end was lost is written over, so that it is missed once only.
        let next = |at: &usize| pair[*at].0 + u64::from(!start.log_behind);
        assert!(newest.is_none_or(|at| start.next_counter == next(at)));
        assert!(newest.is_none_or(|at| start.log_behind != logged(&ends[*at])));
        if good.len() == 2 {
            assert_eq!(pair[0].0.abs_diff(pair[1].0), 1, "one write apart");
            let older = good.iter().min_by_key(|at| pair[**at].0).expect("two");
            assert!(logged(&ends[*older]), "the older record's log end is there");
        }
        newest.is_some()
    }
}

/// `state`: a cut of a ledger's writes, and damage to what is left.
struct State {
    pair: Pair,
    /// The digests after each of the first side's blocks.
    digests: Vec<EffectsDigest>,
}

impl State {
    /// A busy hour of two ledgers.
    fn new() -> Self {
        let mut pair = Pair::new();
        let mut digests = vec![pair.sides[0].ledger.digest()];
        let mut random = Random::new(11);
        while digests.len() < 60 {
            let script: Vec<u8> = (0..64).map(|_| random.make()).collect();
            pair.block(&mut Script::new(&script));
            let ledger = &pair.sides[0].ledger;
            if ledger.height().get() as usize == digests.len() {
                digests.push(ledger.digest());
            }
        }
        State { pair, digests }
    }
}

impl Target for State {
    fn name(&self) -> &'static str {
        "state"
    }

    fn corpus(&self, random: &mut Random) -> Vec<Vec<u8>> {
        (0..32u8)
            .map(|number| {
                let damage = if number < 8 { 0 } else { 1 + random.below(12) };
                let bytes = (0..damage).map(|_| random.make());
                [number * 2].into_iter().chain(bytes).collect()
            })
            .collect()
    }

    /// Taken in: it loads.
    fn run(&self, input: &[u8]) -> bool {
        let side = &self.pair.sides[0];
        let mut script = Script::new(input);
        let cut = script.below(self.digests.len());
        let store = MemoryStore::new();
        let mut keys: Vec<(Column, Vec<u8>)> = Vec::new();
        for writes in &side.history[..cut] {
            store
                .write(writes, Durability::Buffered)
                .expect("memory does not fail");
            keys.extend(writes.iter().map(|write| (write.column, write.key.clone())));
        }
        keys.sort();
        keys.dedup();
        let mut damaged = false;
        while !script.is_done() && !keys.is_empty() {
            damaged |= damage(&store, &keys, &mut script);
        }
        let load = || Ledger::load(side.config, &self.pair.allocations, &store);
        let Ok(ledger) = load() else {
            assert!(damaged, "a whole prefix does not load");
            return false;
        };
        if !damaged {
            assert_eq!(
                ledger.digest(),
                self.digests[cut],
                "the ledger at that height"
            );
        }
        assert_eq!(ledger.recount(), Ok(()), "loaded although value is missing");
        true
    }
}

/// Damages one value. False when nothing changed.
fn damage(store: &MemoryStore, keys: &[(Column, Vec<u8>)], script: &mut Script<'_>) -> bool {
    let (column, key) = &keys[script.index(keys.len())];
    let Some(value) = store.get(*column, key).expect("memory does not fail") else {
        return false;
    };
    let before = Write::put(*column, key.clone(), value);
    let mut after = before.clone();
    let value = after.value.as_mut().expect("just put there");
    let (choice, at, change) = (script.below(8), script.pair(), script.byte());
    match choice {
        0 => after.value = None,
        1 => value.truncate(usize::from(at) % (value.len() + 1)),
        2 => value.push(change),
        // The value under another key, as after a misdirected write.
        3 => bend(&mut after.key, at, change),
        _ => bend(value, at, change),
    }
    let changed = after != before;
    let written = store.write(&[after], Durability::Buffered);
    written.expect("memory does not fail");
    changed
}

fn bend(bytes: &mut [u8], at: u16, change: u8) {
    let at = usize::from(at) % bytes.len().max(1);
    bytes
        .iter_mut()
        .skip(at)
        .take(1)
        .for_each(|byte| *byte ^= change);
}
