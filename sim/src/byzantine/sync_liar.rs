//! A member that answers those who catch up with something else: blocks out of order, with another
//! payload, with a gap, or with more on top that nobody has certified; an older record, another
//! batch; another part of a state, or a manifest that the record does not certify; or nothing. It
//! also sends blocks that nobody has asked for.

use lockstep_consensus as consensus;
use lockstep_ledger::TriePart;
use lockstep_shard::{Manifest, Message, Part, PartBody, Peer};
use lockstep_types::{Block, Header, LinkedBlock, QuorumCertificate};

use super::{Behaviour, Seat};

/// See the module.
pub(super) struct SyncLiar;

/// A block on top of `below` that only this member knows of.
fn on_top(seat: &Seat<'_>, below: &LinkedBlock, justify: QuorumCertificate) -> LinkedBlock {
    let header = below.block.header();
    let header = Header {
        view: header.view.next(),
        height: header.height.next(),
        parent: below.block.id(),
        parent_view: header.view,
        time: header.time.next(),
        proposer: seat.place.peer.member,
        ..header.clone()
    };
    LinkedBlock {
        block: Block::new(header, Vec::new()),
        justify,
    }
}

/// One on a block whose certificate is known.
fn phantom(seat: &Seat<'_>, below: &LinkedBlock) -> Option<LinkedBlock> {
    let view = below.block.header().view;
    let justify = seat.memory.certificates.get(&view)?.clone();
    Some(on_top(seat, below, justify))
}

/// One on a block that nobody has voted for, with the signatures of another certificate.
fn on_phantom(seat: &Seat<'_>, below: &LinkedBlock) -> LinkedBlock {
    let justify = QuorumCertificate {
        view: below.block.header().view,
        block: below.block.id(),
        ..below.justify.clone()
    };
    on_top(seat, below, justify)
}

fn wrong_blocks(seat: &mut Seat<'_>, mut blocks: Vec<LinkedBlock>) -> Option<Vec<LinkedBlock>> {
    match seat.choose(7) {
        0 => return None,
        1 => blocks.truncate(blocks.len() / 2),
        2 => {
            let first = blocks.first_mut()?;
            let payload = b"something else".to_vec();
            first.block = Block::new(first.block.header().clone(), payload);
        }
        3 if blocks.len() > 2 => drop(blocks.remove(1)),
        4 if blocks.len() > 1 => blocks.reverse(),
        5 => {
            let first = phantom(seat, blocks.last()?)?;
            let second = on_phantom(seat, &first);
            let third = on_phantom(seat, &second);
            blocks.extend([first, second, third]);
        }
        _ => {
            let top = phantom(seat, blocks.last()?)?;
            blocks.push(top);
        }
    }
    Some(blocks)
}

fn wrong_part(seat: &mut Seat<'_>, mut part: Part) -> Part {
    match (&mut part.body, seat.choose(3)) {
        (body, 0) => *body = None,
        (Some(PartBody::Accounts(TriePart::Accounts(accounts))), _) => {
            if let Some((_, account)) = accounts.last_mut() {
                account.nonce += 1;
            }
        }
        (Some(PartBody::Accounts(TriePart::Branches(pieces))), _) => drop(pieces.pop()),
        (Some(PartBody::Entries(part)), _) => part.entries.reverse(),
        (None, _) => part.record = part.record.next(),
    }
    part
}

fn wrong_manifest(seat: &mut Seat<'_>, mut manifest: Manifest) -> Option<Manifest> {
    match seat.choose(5) {
        0 => return None,
        1 => manifest.listed.push(lockstep_types::BatchDigest::ZERO),
        2 => manifest.place.window.number = manifest.place.window.number.next(),
        3 => drop(manifest.steps.pop()),
        _ => manifest.ledger.accounts = lockstep_types::Digest::ZERO,
    }
    Some(manifest)
}

impl SyncLiar {
    fn answer(seat: &mut Seat<'_>, message: &Message) -> Option<Message> {
        let memory = seat.memory;
        Some(match message {
            Message::Consensus(consensus::Message::Blocks(blocks)) => {
                let blocks = wrong_blocks(seat, blocks.clone())?;
                Message::Consensus(consensus::Message::Blocks(blocks))
            }
            Message::Batch(_) => Message::Batch(memory.batches.front()?.clone()),
            Message::Record(_) => Message::Record(memory.records.front()?.clone()),
            Message::Part(part) => Message::Part(Box::new(wrong_part(seat, (**part).clone()))),
            Message::Manifest(Some(manifest)) => {
                let manifest = wrong_manifest(seat, (**manifest).clone());
                Message::Manifest(manifest.map(Into::into))
            }
            other => other.clone(),
        })
    }
}

impl Behaviour for SyncLiar {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        let is_answer = match &message {
            Message::Consensus(consensus::Message::Blocks(_)) => true,
            Message::Batch(batch) => batch.header.author != seat.place.peer.member,
            Message::Record(_) | Message::Part(_) | Message::Manifest(_) => true,
            _ => false,
        };
        if !is_answer || seat.place.random.chance(250) {
            return seat.say(to, message);
        }
        match Self::answer(seat, &message) {
            Some(answer) => seat.lie(to, answer),
            None => seat.keep_back(),
        }
    }

    fn act(&mut self, seat: &mut Seat<'_>) {
        if !seat.place.random.chance(20) {
            return;
        }
        let newest = seat.memory.proposals.values().next_back();
        let Some(link) = newest.map(consensus::Proposal::linked) else {
            return;
        };
        let to = seat.somebody();
        seat.lie_in_consensus(to, consensus::Message::Blocks(vec![link]));
    }
}
