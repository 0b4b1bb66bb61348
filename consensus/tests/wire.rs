//! Bytes from outside: every message decodes to itself, damaged bytes never do harm, and the wire
//! format does not change by accident.

use lockstep_consensus::{Certificates, LogEnd, MAX_MESSAGE_BYTES, Message, SafetyRecord};
use lockstep_types::{Height, LogPosition, codec, hash};
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

/// Messages of every kind for one view, and a record with every part filled.
fn samples(world: &World, view: u64) -> (Vec<Message>, SafetyRecord) {
    let parent = world.forge_block(view, &world.root, &[7]);
    let qc = world.forge_qc(&parent);
    let tc = world.forge_tc(view + 1, &qc);
    let block = world.forge_block(view + 2, &parent, &[8, 9]);
    let proposal = world.forge_proposal(block.clone(), qc.clone(), Some(tc.clone()));
    let vote = world.forge_vote(2, &block);
    let timeout = world.forge_timeout(3, view + 2, &qc, Some(tc.clone()));
    let certificates = Certificates {
        high_qc: qc.clone(),
        high_tc: Some(tc.clone()),
    };
    let messages = vec![
        Message::Proposal(Box::new(proposal)),
        Message::Vote(vote.clone()),
        Message::Timeout(Box::new(timeout.clone())),
        Message::Certificates(Box::new(certificates)),
        Message::BlockRequest {
            from: Height::new(view),
            tip: block.id(),
        },
        Message::Blocks(vec![world.link(&block, &qc)]),
    ];
    let log_end = LogEnd {
        position: LogPosition::START.next(),
        height: block.header().height,
        block: block.id(),
    };
    let mut record = SafetyRecord::fresh(world.context.epoch, world.root_qc(), log_end);
    record.last_voted = Some(vote);
    record.last_timed_out = Some(timeout);
    record.high_qc = qc;
    record.high_tc = Some(tc);
    (messages, record)
}

/// A change here changes what nodes of different versions understand of each other, or what a node
/// reads back after an upgrade. It must be deliberate.
#[test]
fn the_formats_are_what_they_were() {
    let world = World::new(4);
    let (messages, records): (Vec<_>, Vec<_>) =
        (1..256).map(|view| samples(&world, view * view)).unzip();
    assert_eq!(
        hash("golden", &messages).to_string(),
        "b9c6d8c7d48e6c388d4898088149a62b9fcaf2515d86f88ad018d05b615608f0"
    );
    assert_eq!(
        hash("golden", &records).to_string(),
        "b33d79a2b764ac389147bf7eb721552b6aa593cf70a25a13874b5ee5723aba8c"
    );
}
