//! What only rises (I6), within a life and from one to the next: the views voted in and given up, the
//! lock, the highest certificates. What was once on disk is there at every later start.

use std::collections::BTreeMap;

use lockstep_consensus::{Marks, SafetyRecord};
use lockstep_shard::Peer;

use super::Broken;

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
        rise(&mut self.now, peer, Marks::of(record), "in its record")
    }

    /// A record is on disk.
    pub(super) fn on_synced(&mut self, peer: &Peer, record: &SafetyRecord) -> Result<(), Broken> {
        rise(&mut self.synced, peer, Marks::of(record), "on its disk")
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
        let marks = record.map(Marks::of).unwrap_or_default();
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
    let risen = known.entry(*peer).or_default().rise_to(marks);
    risen.map_err(|fallen| {
        let detail = format!("{peer:?}: {fallen} {place}");
        Broken::new("what rises does not fall", detail)
    })
}
