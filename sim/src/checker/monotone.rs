//! What only rises (I6), within a life and from one to the next: the views voted in and given up, the
//! lock, the highest certificates. What was once on disk is there at every later start.

use std::collections::BTreeMap;

use lockstep_consensus::SafetyRecord;
use lockstep_shard::Peer;
use lockstep_types::View;

use super::Broken;

const NAMES: [&str; 5] = [
    "last voted view",
    "last view given up",
    "lock",
    "high QC",
    "high TC",
];

type Marks = [View; 5];

fn marks(record: &SafetyRecord) -> Marks {
    let high_tc = record.high_tc.as_ref();
    [
        record.last_voted_view(),
        record.last_timed_out_view(),
        record.lock,
        record.high_qc.view,
        high_tc.map_or(View::ZERO, |tc| tc.view),
    ]
}

/// How far each member is.
#[derive(Debug, Default)]
pub struct Monotone {
    /// In this life.
    now: BTreeMap<Peer, Marks>,
    /// On disk.
    synced: BTreeMap<Peer, Marks>,
}

impl Monotone {
    /// A correct member writes its record.
    pub(super) fn on_record(&mut self, peer: &Peer, record: &SafetyRecord) -> Result<(), Broken> {
        rise(&mut self.now, peer, marks(record), "in its record")
    }

    /// A record is on disk.
    pub(super) fn on_synced(&mut self, peer: &Peer, record: &SafetyRecord) -> Result<(), Broken> {
        rise(&mut self.synced, peer, marks(record), "on its disk")
    }

    /// A member's record went back in time with its disk, or is gone: it starts below.
    pub(super) fn forget(&mut self, peer: &Peer) {
        self.synced.remove(peer);
    }

    /// A member starts with this record. With `log_behind` the record was not released, and may be
    /// written over by one that is lost: it is no mark to hold the next start to.
    pub(super) fn on_start(
        &mut self,
        peer: &Peer,
        record: Option<&SafetyRecord>,
        log_behind: bool,
    ) -> Result<(), Broken> {
        let marks = record.map(marks).unwrap_or_default();
        self.now.insert(*peer, marks);
        let before = self.synced.get(peer).copied();
        rise(&mut self.synced, peer, marks, "at its start")?;
        if log_behind {
            self.synced.insert(*peer, before.unwrap_or_default());
        }
        Ok(())
    }
}

fn rise(
    known: &mut BTreeMap<Peer, Marks>,
    peer: &Peer,
    marks: Marks,
    place: &str,
) -> Result<(), Broken> {
    let before = known.insert(*peer, marks).unwrap_or_default();
    let fell = (0..NAMES.len()).find(|mark| marks[*mark] < before[*mark]);
    let Some(fell) = fell else { return Ok(()) };
    let (name, from, to) = (NAMES[fell], before[fell], marks[fell]);
    let detail = format!("{peer:?}: {name} went from {from} to {to} {place}");
    Err(Broken::new("what rises does not fall", detail))
}
