//! What goes into a step.

use lockstep_types::{Durable, MemberIndex, Verified};

use crate::Message;

/// One thing that happened to a replica.
#[derive(Debug)]
pub enum Input {
    /// Time has passed, or the application has something new.
    Tick,
    /// A message from another member, already checked.
    Received {
        /// Who sent it, as the transport knows it. It need not be the author of what is inside.
        from: MemberIndex,
        /// The message.
        message: Verified<Message>,
    },
    /// A connection to another member was made.
    Connected {
        /// To whom.
        peer: MemberIndex,
    },
    /// Everything up to this point is on disk.
    Synced(Durable),
}
