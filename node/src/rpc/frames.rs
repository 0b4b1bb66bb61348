//! Counts what a client sends over a WebSocket, before anything else looks at it. The server behind
//! starts a task for every message, also for one that it will not understand.
//!
//! Breaks if: something is taken for the start of a frame that is not one. So a WebSocket opens its
//! connection: nothing but the head of one request goes before its frames, and a head whose end could
//! be read in two ways opens none.

/// A frame counts once, and once more for each so many bytes.
const FRAME_BYTES: u64 = 4 << 10;
/// The longest header of a frame: RFC 6455, section 5.2.
const MAX_HEADER: usize = 14;

/// A connection's bytes from the client, followed from the first one on.
#[derive(Debug, Default)]
pub(super) struct Frames(At);

#[derive(Debug, Default)]
enum At {
    #[default]
    Start,
    /// In the head of the first request, behind so much of the two line ends that end it.
    Head { ended: u8 },
    /// Behind a head that opens no WebSocket.
    Elsewhere,
    /// In the header of a frame.
    Header {
        bytes: [u8; MAX_HEADER],
        have: usize,
    },
    /// So many bytes before the end of a frame.
    Payload { left: u64 },
}

/// Between two frames.
const BETWEEN: At = At::Header {
    bytes: [0; MAX_HEADER],
    have: 0,
};

impl At {
    /// For how many frames the one counts whose header may just have ended.
    fn cost(&self) -> u32 {
        match self {
            At::Header { have: 1.., .. } => 0,
            At::Payload { left } => {
                u32::try_from(left / FRAME_BYTES).map_or(u32::MAX, |more| more.saturating_add(1))
            }
            _ => 1,
        }
    }
}

impl Frames {
    /// Can a WebSocket begin where the bytes read so far end, or has it?
    pub(super) fn are_followed(&self) -> bool {
        matches!(self.0, At::Header { .. } | At::Payload { .. })
    }

    /// Can a WebSocket still open this connection?
    pub(super) fn may_come(&self) -> bool {
        !matches!(self.0, At::Elsewhere)
    }

    /// Reads on; returns for how many frames those count whose headers end in these bytes.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> u32 {
        let mut frames = 0u32;
        while let Some((first, rest)) = bytes.split_first() {
            let at = match core::mem::take(&mut self.0) {
                At::Start if *first == b'G' => At::Head { ended: 0 },
                At::Start | At::Elsewhere => {
                    self.0 = At::Elsewhere;
                    return frames;
                }
                At::Head { ended } => head(ended, *first),
                At::Header { mut bytes, have } => {
                    bytes[have] = *first;
                    let at = header(bytes, have + 1);
                    frames = frames.saturating_add(at.cost());
                    at
                }
                At::Payload { left } => {
                    let here = left.min(bytes.len() as u64);
                    bytes = &bytes[usize::try_from(here).expect("no longer than the slice")..];
                    self.0 = payload(left - here);
                    continue;
                }
            };
            self.0 = at;
            bytes = rest;
        }
        frames
    }
}

/// Lines end with both characters, and nowhere is one of them alone.
fn head(ended: u8, byte: u8) -> At {
    match (ended, byte) {
        (0 | 2, b'\r') | (1, b'\n') => At::Head { ended: ended + 1 },
        (3, b'\n') => BETWEEN,
        (0 | 2, byte) if byte != b'\n' => At::Head { ended: 0 },
        _ => At::Elsewhere,
    }
}

fn header(bytes: [u8; MAX_HEADER], have: usize) -> At {
    let (masked, short) = (bytes[1] & 0x80 != 0, bytes[1] & 0x7f);
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if have < 2 || have < 2 + extended + 4 * usize::from(masked) {
        return At::Header { bytes, have };
    }
    let long = bytes[2..2 + extended].iter();
    let long = long.fold(0, |length, byte| length << 8 | u64::from(*byte));
    payload(if extended == 0 { short.into() } else { long })
}

fn payload(left: u64) -> At {
    if left == 0 {
        BETWEEN
    } else {
        At::Payload { left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";

    fn frame(length: usize) -> Vec<u8> {
        let mut bytes = vec![0x81];
        match length {
            0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            126..0x1_0000 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend([7; 4]);
        // What would be taken for frames if it were not skipped.
        bytes.extend(vec![0; length]);
        bytes
    }

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let lengths = [0, 1, 125, 126, 65_535, 65_536, 100_000, 0, 0];
        let mut bytes = HEAD.to_vec();
        lengths
            .iter()
            .for_each(|length| bytes.extend(frame(*length)));
        for cut in [1, 2, 3, 5, 7, 1_000, bytes.len()] {
            let mut frames = Frames::default();
            let counted: u32 = bytes.chunks(cut).map(|part| frames.read(part)).sum();
            let expected: usize = lengths.iter().map(|length| 1 + length / 4_096).sum();
            assert_eq!(counted as usize, expected, "in parts of {cut}");
            assert!(matches!(frames.0, At::Header { have: 0, .. }));
        }
        // An empty one without a mask: two bytes.
        let mut frames = Frames::default();
        assert_eq!(frames.read(HEAD), 0);
        assert_eq!(frames.read(&[0x89, 0, 0x89, 0, 0x89]), 2);
        assert_eq!(frames.read(&[0]), 1);
        let endless = [[0x81, 127], [0xff; 2], [0xff; 2], [0xff; 2], [0xff; 2]].concat();
        assert_eq!(frames.read(&endless), u32::MAX);
    }

    #[test]
    fn a_head_that_could_end_elsewhere_opens_no_web_socket() {
        let follows = |head: &[u8]| {
            let mut frames = Frames::default();
            frames.read(head);
            frames.are_followed()
        };
        assert!(follows(HEAD));
        for head in [
            &b"\r\nGET / HTTP/1.1\r\n\r\n"[..],
            b"GET / HTTP/1.1\nUpgrade: websocket\n\n",
            b"GET / HTTP/1.1\nUpgrade: websocket\r\n\r\n",
            b"GET / HTTP/1.1\r\nUpgrade: websocket\n\r\n\r\n",
            b"GET / HTTP/1.1\r\nUpgrade: websocket\r\r\n\r\n",
            b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\n",
            b"POST / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n",
        ] {
            assert!(!follows(head), "{}", head.escape_ascii());
        }
    }
}
