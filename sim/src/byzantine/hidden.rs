//! A member that may be the only one to know a certificate, and shows it late: its votes reach one
//! confidant, the certificates it sees or makes reach nobody, every other proposal of its own stays
//! unsaid; and now and then it shows somebody the highest certificate it has.

use std::collections::BTreeMap;

use lockstep_consensus as consensus;
use lockstep_shard::{Message, Peer};
use lockstep_types::View;

use super::{Behaviour, Seat};

/// Views remembered.
const REMEMBERED: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Hidden {
    /// Does it keep its proposal of a view to itself?
    keeps: BTreeMap<View, bool>,
}

impl Hidden {
    fn keeps(&mut self, seat: &mut Seat<'_>, view: View) -> bool {
        let keeps = self.keeps.entry(view);
        let keeps = *keeps.or_insert_with(|| seat.place.random.chance(500));
        if self.keeps.len() > REMEMBERED {
            self.keeps.pop_first();
        }
        keeps
    }
}

impl Behaviour for Hidden {
    fn send(&mut self, seat: &mut Seat<'_>, to: Peer, message: Message) {
        let Message::Consensus(inner) = &message else {
            return seat.say(to, message);
        };
        match inner {
            consensus::Message::Vote(_) if to != seat.others()[0] => seat.keep_back(),
            consensus::Message::Certificates(_) => seat.keep_back(),
            consensus::Message::Proposal(own) if self.keeps(seat, own.view()) => seat.keep_back(),
            consensus::Message::Timeout(timeout) => match seat.older_timeout(timeout) {
                Some(older) => {
                    let older = consensus::Message::Timeout(Box::new(older));
                    seat.lie_in_consensus(to, older);
                }
                None => seat.keep_back(),
            },
            _ => seat.say(to, message),
        }
    }

    fn act(&mut self, seat: &mut Seat<'_>) {
        if !seat.place.random.chance(50) {
            return;
        }
        let Some((_, highest)) = seat.memory.certificates.last_key_value() else {
            return;
        };
        let certificates = consensus::Certificates {
            high_qc: highest.clone(),
            high_tc: None,
        };
        let to = seat.somebody();
        seat.lie_in_consensus(to, consensus::Message::Certificates(Box::new(certificates)));
    }
}
