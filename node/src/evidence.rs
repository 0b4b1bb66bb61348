//! `data/evidence.jsonl`: members that contradicted themselves, and what shows it. One line per
//! case, synced before anything else is done about it, so that it outlives the process; a bounded
//! number per member, the first ones, because one is enough to convict.
//!
//! Breaks if: a line is written that could be cut short and read as another (a line without its end
//! is dropped at the next start).

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use lockstep_client::rpc::{EvidenceKind, Misdeed};
use lockstep_consensus::{Evidence, Message};
use lockstep_genesis::Genesis;
use lockstep_shard::Peer;
use lockstep_types::{MemberIndex, Time, View};
use parity_scale_codec::Encode;

use crate::exit::Stop;

/// Cases kept of one member and kind.
const MAX_PER_MEMBER: usize = 4;
/// The largest pair of statements, or message of a second copy, that is kept. A member that contradicts itself in larger ones is
/// named without them; those of an ordinary committee take some kilobytes.
const MAX_STATEMENT_BYTES: usize = 256 << 10;

/// What was seen, in memory and in the file.
#[derive(Debug)]
pub(crate) struct EvidenceBook(Mutex<Book>);

#[derive(Debug)]
struct Book {
    file: File,
    cases: Vec<Misdeed>,
}

impl EvidenceBook {
    /// Reads what earlier runs have seen.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds something else.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = File::options();
        let mut file = options.read(true).append(true).create(true).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
        }
        let lines = text[..whole].lines();
        let cases = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(EvidenceBook(Mutex::new(Book { file, cases })))
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// All of it.
    pub(crate) fn cases(&self) -> Vec<Misdeed> {
        self.book().cases.clone()
    }

    /// How many cases.
    pub(crate) fn count(&self) -> usize {
        self.book().cases.len()
    }

    /// Keeps a case, unless it is known or there are enough of its member. True if it is new.
    ///
    /// # Errors
    /// When it cannot be written. The caller must not go on.
    pub(crate) fn add(&self, case: Misdeed) -> io::Result<bool> {
        let mut book = self.book();
        let same = |other: &&Misdeed| {
            (other.committee, other.member, other.kind) == (case.committee, case.member, case.kind)
        };
        let others: Vec<&Misdeed> = book.cases.iter().filter(same).collect();
        if others.len() >= MAX_PER_MEMBER || others.iter().any(|other| other.view == case.view) {
            return Ok(false);
        }
        let mut line = serde_json::to_vec(&case).expect("plain data");
        line.push(b'\n');
        book.file.write_all(&line)?;
        book.file.sync_data()?;
        book.cases.push(case);
        Ok(true)
    }
}

/// Where a replica notes what it sees.
pub(crate) struct Casebook {
    pub(crate) genesis: Arc<Genesis>,
    /// Whose replica it is.
    pub(crate) seat: Peer,
    pub(crate) book: Arc<EvidenceBook>,
}

impl Casebook {
    /// Notes that a member of the replica's committee contradicted itself.
    pub(crate) fn note(&self, now: Time, evidence: &Evidence) -> Result<(), Stop> {
        let (kind, statements) = kind_and_bytes(evidence);
        self.add(now, evidence.author(), evidence.view(), kind, statements)
    }

    /// Notes that a statement for `view` carries our own signature and is not ours.
    pub(crate) fn note_second_copy(
        &self,
        now: Time,
        view: View,
        shown: &Message,
    ) -> Result<(), Stop> {
        let (kind, shown) = (EvidenceKind::SecondCopy, bounded(&shown.encode()));
        self.add(now, self.seat.member, view, kind, shown)
    }

    fn add(
        &self,
        now: Time,
        member: MemberIndex,
        view: View,
        kind: EvidenceKind,
        statements: String,
    ) -> Result<(), Stop> {
        let committee = self.seat.committee;
        let validators = self.genesis.validators(committee);
        let case = Misdeed {
            committee,
            member: u8::try_from(member.get()).expect("at most 64 members"),
            validator: validators[member.get()].name.clone(),
            view: view.get(),
            kind,
            seen_us: now.micros(),
            statements,
        };
        let validator = case.validator.clone();
        let added = self.book.add(case);
        if added.map_err(|error| Stop::storage(format!("evidence: {error}")))? {
            tracing::warn!(%committee, validator, %view, kind = kind.name(), "evidence");
        }
        Ok(())
    }
}

/// The kind of evidence, and its two statements as they were signed.
pub(crate) fn kind_and_bytes(evidence: &Evidence) -> (EvidenceKind, String) {
    let kind = match evidence {
        Evidence::Proposals(_) => EvidenceKind::Proposals,
        Evidence::Votes(_) => EvidenceKind::Votes,
        Evidence::Timeouts(_) => EvidenceKind::Timeouts,
    };
    (kind, bounded(&evidence.encode()))
}

fn bounded(bytes: &[u8]) -> String {
    match bytes.len() <= MAX_STATEMENT_BYTES {
        true => hex::encode(bytes),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_types::CommitteeId;

    use super::*;

    fn case(member: u8, view: u64) -> Misdeed {
        Misdeed {
            committee: CommitteeId::Beacon,
            member,
            validator: format!("beacon-{member}"),
            view,
            kind: EvidenceKind::Votes,
            seen_us: 5,
            statements: "00ff".to_owned(),
        }
    }

    #[test]
    fn what_was_seen_outlives_the_process_and_a_torn_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("evidence.jsonl");
        let book = EvidenceBook::open(&path).unwrap();
        assert!(book.add(case(1, 7)).unwrap());
        assert!(!book.add(case(1, 7)).unwrap(), "known");
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"{\"committee\":").unwrap();
        drop((book, file));
        let book = EvidenceBook::open(&path).unwrap();
        assert_eq!(book.cases(), [case(1, 7)]);
        assert!(book.add(case(2, 7)).unwrap());
        let again = EvidenceBook::open(&path).unwrap();
        assert_eq!(again.cases(), [case(1, 7), case(2, 7)]);
    }

    #[test]
    fn a_member_that_lies_all_day_fills_its_own_places_only() {
        let directory = tempfile::tempdir().unwrap();
        let book = EvidenceBook::open(&directory.path().join("evidence.jsonl")).unwrap();
        let kept = (0..100).filter(|view| book.add(case(1, *view)).unwrap());
        assert_eq!(kept.count(), MAX_PER_MEMBER);
        assert!(book.add(case(2, 1)).unwrap());
        assert_eq!(book.count(), MAX_PER_MEMBER + 1);
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("evidence.jsonl");
        std::fs::write(&path, "not a case\n").unwrap();
        assert!(EvidenceBook::open(&path).is_err());
    }
}
