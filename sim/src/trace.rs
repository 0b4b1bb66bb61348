//! A world's events as lines of text, for people.
//!
//! ```text
//!    12.345678 shard-0/2   <- shard-0/1   proposal v12 h5 on v11 7a3f01c2
//!    12.345700 shard-0/2   commits h4 v10 91bc0d33
//! ```

use core::fmt;

use lockstep_consensus as consensus;
use lockstep_shard::{Message, Peer, Request};
use lockstep_types::{CommitteeId, Time};

/// A seat in a trace.
pub struct Name<'a>(pub &'a Peer);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = self.0.member.get();
        match self.0.committee {
            CommitteeId::Beacon => f.pad(&format!("beacon/{member}")),
            CommitteeId::Shard(shard) => f.pad(&format!("shard-{}/{member}", shard.get())),
        }
    }
}

/// A message in a trace.
pub struct Summary<'a>(pub &'a Message);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Message::Consensus(message) => ConsensusSummary(message).fmt(f),
            Message::Batch(batch) => {
                let header = &batch.header;
                write!(
                    f,
                    "batch {:?} of {} window {} with {}",
                    batch.digest(),
                    header.author,
                    header.window,
                    batch.transactions.len()
                )
            }
            Message::Checkpoint(vote) => {
                let checkpoint = &vote.checkpoint;
                write!(
                    f,
                    "checkpoint {} of {}",
                    checkpoint.window(),
                    checkpoint.shard
                )
            }
            Message::Record(record) => write!(f, "record {}", record.record.number),
            Message::Bundle(bundle) => write!(
                f,
                "bundle of {} window {} from {} to {}",
                bundle.source,
                bundle.window,
                bundle.from,
                bundle.to()
            ),
            Message::Manifest(manifest) => match manifest {
                Some(manifest) => write!(f, "manifest of record {}", manifest.number()),
                None => write!(f, "no manifest"),
            },
            Message::Part(part) => write!(f, "part of record {}: {:?}", part.record, part.name),
            Message::Request(Request::Manifest) => write!(f, "wants a manifest"),
            Message::Request(Request::Part { record, name }) => {
                write!(f, "wants {name:?} of record {record}")
            }
            Message::Request(Request::Batches(digests)) => write!(f, "wants batches {digests:?}"),
            Message::Request(Request::Record(number)) => write!(f, "wants record {number}"),
            Message::Request(Request::Bundle(digest)) => write!(f, "wants bundle {digest:?}"),
            Message::Request(Request::Entries { from, .. }) => {
                write!(f, "wants entries from {from}")
            }
        }
    }
}

/// A consensus message in a trace.
pub struct ConsensusSummary<'a>(pub &'a consensus::Message);

impl fmt::Display for ConsensusSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        consensus_summary(self.0, f)
    }
}

fn consensus_summary(message: &consensus::Message, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match message {
        consensus::Message::Proposal(proposal) => {
            let header = proposal.block.header();
            write!(
                f,
                "proposal {} {} on {} {:?}",
                header.view,
                header.height,
                header.parent_view,
                proposal.block.id()
            )?;
            match &proposal.entered_by {
                Some(tc) => write!(f, " after tc {} (hq {})", tc.view, tc.high_qc_view()),
                None => Ok(()),
            }
        }
        consensus::Message::Vote(vote) => write!(f, "vote {} {:?}", vote.view, vote.block),
        consensus::Message::Timeout(timeout) => {
            write!(f, "timeout {} (hq {})", timeout.view, timeout.high_qc.view)
        }
        consensus::Message::Certificates(certificates) => {
            write!(f, "certificates qc {}", certificates.high_qc.view)?;
            match &certificates.high_tc {
                Some(tc) => write!(f, " tc {}", tc.view),
                None => Ok(()),
            }
        }
        consensus::Message::BlockRequest { from, tip } => {
            write!(f, "wants blocks from h{from} to {tip:?}")
        }
        consensus::Message::Blocks(blocks) => {
            let heights = blocks.iter().map(|link| link.block.header().height.get());
            let (first, last) = (heights.clone().min(), heights.max());
            write!(
                f,
                "blocks {} to {}",
                first.unwrap_or_default(),
                last.unwrap_or_default()
            )
        }
        consensus::Message::Inquiry(_) => write!(f, "asks where we stand"),
        consensus::Message::Testimony(testimony) => {
            write!(f, "stands at qc {}", testimony.certificates.high_qc.view)?;
            let seen = testimony.vote.as_ref().map(|vote| vote.view);
            match seen {
                Some(view) => write!(f, ", has seen a vote of {view}"),
                None => Ok(()),
            }
        }
    }
}

/// Where lines go.
pub type Sink = Box<dyn FnMut(&str)>;

pub(crate) fn line(sink: &mut Sink, now: Time, peer: &Peer, text: fmt::Arguments<'_>) {
    let (seconds, micros) = (now.micros() / 1_000_000, now.micros() % 1_000_000);
    sink(&format!(
        "{seconds:>5}.{micros:06} {:<10} {text}",
        Name(peer)
    ));
}
