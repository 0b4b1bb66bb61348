//! What a validator was told, kept in a file for an audit: every message of consensus (also blocks
//! sent to catch up), checkpoint and record that came from a peer and whose signatures hold, even
//! if it came too late to be of use. [`lockstep_shard::Observer`] judges what several files say
//! together.
//!
//! One message is one write, so that a process that is killed loses none it has dealt with. Each
//! start writes a file of its own: a frame cut short can only be a file's last.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lockstep_shard::Message;
use parity_scale_codec::Encode;

/// Starts of one home; more than any run needs.
const MAX_FILES: u32 = 100_000;

/// The open file.
#[derive(Debug)]
pub(crate) struct Tap(Mutex<Option<File>>);

impl Tap {
    /// Opens the next file of a directory, which is made if need be.
    ///
    /// # Errors
    /// When neither can be made.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        for number in 0..MAX_FILES {
            let path = directory.join(format!("{number:05}.messages"));
            match File::options().append(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => return Ok(Tap(Mutex::new(Some(opened?)))),
            }
        }
        Err(io::Error::other("too many files of messages"))
    }

    /// Keeps a message of consensus, a checkpoint or a record. Batches, bundles and questions are
    /// left out: they are most of the bytes and say nothing about a view or a window.
    ///
    /// # Errors
    /// When it cannot be written. Nothing is kept after that, so that what is cut short stays the
    /// last.
    pub(crate) fn keep(&self, message: &Message) -> io::Result<()> {
        match message {
            Message::Consensus(_) | Message::Checkpoint(_) | Message::Record(_) => {}
            Message::Batch(_)
            | Message::Bundle(_)
            | Message::Request(_)
            | Message::Manifest(_)
            | Message::Part(_) => return Ok(()),
        }
        let body = message.encode();
        let length = u32::try_from(body.len()).expect("messages are bounded");
        let mut frame = Vec::with_capacity(4 + body.len());
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&body);
        let mut place = self.0.lock().expect("no holder of this lock panics");
        let Some(file) = place.as_mut() else {
            return Err(io::Error::other("an earlier message could not be written"));
        };
        let written = file.write_all(&frame);
        if written.is_err() {
            *place = None;
        }
        written
    }
}

/// Reads the files of a directory, also while they grow.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    /// How much of each file has been read.
    read: BTreeMap<PathBuf, u64>,
}

impl Reader {
    /// Reads from the start.
    pub fn new(directory: PathBuf) -> Self {
        Reader {
            directory,
            read: BTreeMap::new(),
        }
    }

    /// The messages that came since the last time.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else.
    pub fn read(&mut self) -> io::Result<Vec<Message>> {
        let mut messages = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let offset = self.read.entry(path.clone()).or_default();
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(*offset))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let rest = read_frames(&bytes, &mut messages)?;
            *offset += (bytes.len() - rest) as u64;
        }
        Ok(messages)
    }
}

/// Reads whole frames; returns how many bytes are left.
fn read_frames(bytes: &[u8], messages: &mut Vec<Message>) -> io::Result<usize> {
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((body, after)) = after.split_at_checked(length) else {
            break; // it is being written, or the process ended in the middle of it
        };
        let message = Message::from_bytes(body)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        messages.push(message);
        rest = after;
    }
    Ok(rest.len())
}

#[cfg(test)]
mod tests {
    use lockstep_consensus as consensus;
    use lockstep_types::{BlockId, Digest, Height};

    use super::*;

    fn message(height: u64) -> Message {
        Message::Consensus(consensus::Message::BlockRequest {
            from: Height::new(height),
            tip: BlockId::new(Digest::ZERO),
        })
    }

    #[test]
    fn every_start_has_its_file_and_a_cut_frame_ends_one() {
        let directory = tempfile::tempdir().unwrap();
        let first = Tap::open(directory.path()).unwrap();
        first.keep(&message(1)).unwrap();
        let cut = first
            .0
            .lock()
            .unwrap()
            .as_mut()
            .unwrap()
            .write_all(&[99, 0, 0, 0, 7]);
        cut.unwrap();
        let second = Tap::open(directory.path()).unwrap();
        second.keep(&message(2)).unwrap();
        let mut reader = Reader::new(directory.path().to_owned());
        let mut kept = reader.read().unwrap();
        kept.sort_by_key(Encode::encode);
        assert_eq!(kept, [message(1), message(2)]);
        second.keep(&message(3)).unwrap();
        assert_eq!(reader.read().unwrap(), [message(3)]);
    }
}
