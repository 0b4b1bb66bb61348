//! Bytes from outside: every message decodes to itself, and damaged bytes never do harm.

use lockstep_consensus::{MAX_MESSAGE_BYTES, Message};
use lockstep_types::codec;
use parity_scale_codec::Encode;

use crate::common::{Random, World};

/// A busy hour: messages of every kind.
fn conversation() -> World {
    let mut world = World::new(4);
    world.drop_when(|sent| {
        sent.to == 3 || (sent.message.kind() == "vote" && sent.at.micros() % 7 == 0)
    });
    for number in 0..20 {
        world.submit(number);
        world.run_ms(300);
    }
    world.drop_nothing();
    world.connect_all();
    world.run_ms(3_000);
    world
}

#[test]
fn every_kind_of_message_decodes_to_itself() {
    let world = conversation();
    let mut kinds = std::collections::BTreeSet::new();
    for sent in &world.wire {
        kinds.insert(sent.message.kind());
        let bytes = sent.message.encode();
        let decoded = codec::decode_canonical::<Message>(&bytes, MAX_MESSAGE_BYTES);
        assert_eq!(decoded.as_ref(), Ok(&sent.message));
    }
    assert_eq!(kinds.len(), 6, "{kinds:?}");
}

#[test]
fn damaged_bytes_are_refused_without_harm() {
    let mut world = conversation();
    let mut random = Random::new(1);
    let requests = world
        .wire
        .iter()
        .filter(|sent| sent.message.kind() == "block-request");
    let some = world.wire.iter().step_by(7).chain(requests);
    let sample: Vec<Message> = some.map(|sent| sent.message.clone()).collect();
    let mut taken = 0;
    for message in &sample {
        for _ in 0..20 {
            let mut bytes = message.encode();
            for _ in 0..=random.below(3) {
                let position = random.below(bytes.len() as u64) as usize;
                bytes[position] ^= 1 << random.below(8);
            }
            bytes.truncate(bytes.len() - random.below(4).min(bytes.len() as u64) as usize);
            let Ok(damaged) = codec::decode::<Message>(&bytes, MAX_MESSAGE_BYTES) else {
                continue;
            };
            if world
                .verifier
                .check(damaged.clone(), &world.context)
                .is_ok()
            {
                taken += 1;
                world.tell(0, 1, damaged);
            }
        }
    }
    assert!(taken > 0, "requests carry no signature");
    assert!(world.stopped.is_empty());
    world.submit(1_000);
    world.run_ms(10_000);
    assert!(world.replica(0).application().committed.contains(&1_000));
}
