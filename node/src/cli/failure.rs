//! What a command says when it fails: what failed, why, and the next thing to type; under a stable
//! code, with the exit code that scripts rely on.

use lockstep_client::network_file::NetworkFileError;
use lockstep_client::{CallError, JournalError, KeyFileError, KeystoreError, ProofFault};
use lockstep_genesis::{AddressError, AmountError, Problems};

use crate::exit::{ExitCode, Stop};

/// A command that did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the process exits with.
    pub(crate) exit: ExitCode,
    /// A stable name: `LS-ADDR-003`.
    pub(crate) code: &'static str,
    /// What failed and why, one sentence.
    pub(crate) message: String,
    /// Lines that show it: the place in a file, a caret.
    pub(crate) shown: Vec<String>,
    /// What to type next.
    pub(crate) help: Option<String>,
}

impl Failure {
    /// A failure without more to show.
    pub(crate) fn new(exit: ExitCode, code: &'static str, message: impl Into<String>) -> Self {
        Failure {
            exit,
            code,
            message: message.into(),
            shown: Vec::new(),
            help: None,
        }
    }

    /// Wrong arguments or files.
    pub(crate) fn usage(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, code, message)
    }

    /// Adds what to type next.
    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A file that cannot be read or written.
    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::usage("LS-FILE-001", format!("{}: {error}", path.display()))
    }

    /// An address that was typed, with a caret under the error.
    pub(crate) fn address(text: &str, error: &AddressError) -> Self {
        let mut failure = Self::usage(error.code(), error.to_string());
        if let Some(position) = error.position() {
            failure.shown = vec![text.to_owned(), format!("{:>position$} here", '^')];
        }
        failure.help("lockstep key list shows the addresses of your own accounts")
    }

    /// The lines for the terminal.
    pub(crate) fn lines(&self) -> Vec<String> {
        // Problems of a file carry their own codes, line by line.
        let mut lines = match self.code {
            GENESIS => vec![self.message.clone()],
            code => vec![format!("error[{code}]: {}", self.message)],
        };
        lines.extend(self.shown.iter().map(|line| format!("  {line}")));
        lines.extend(self.help.iter().map(|help| format!("  help: {help}")));
        lines
    }
}

/// Code of a genesis file with problems; each of them has its own code in the message.
const GENESIS: &str = "LS-GEN-000";

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::usage(GENESIS, problems.to_string())
    }
}

impl From<AmountError> for Failure {
    fn from(error: AmountError) -> Self {
        Self::usage(error.code(), error.to_string()).help(error.help())
    }
}

impl From<KeystoreError> for Failure {
    fn from(error: KeystoreError) -> Self {
        let exit = match error {
            KeystoreError::Exposed { .. } => ExitCode::Denied,
            _ => ExitCode::Usage,
        };
        let failure = Self::new(exit, error.code(), error.to_string());
        match error.help() {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        match error {
            KeyFileError::WrongPassword => {
                Self::new(ExitCode::Denied, "LS-KEY-007", error.to_string())
            }
            _ => Self::usage("LS-KEY-008", error.to_string()),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::BadUrl { .. } => Self::usage("LS-RPC-001", message)
                .help("an address looks like http://127.0.0.1:7700"),
            CallError::Unreachable { .. } => Self::new(ExitCode::NoNode, "LS-RPC-002", message)
                .help("is the network running? lockstep up starts one; --rpc names another"),
            CallError::TimedOut { .. } => Self::new(ExitCode::Unknown, "LS-RPC-003", message)
                .help("lockstep status names what keeps the network from progressing"),
            CallError::Refused { .. } => Self::new(ExitCode::Rejected, "LS-RPC-004", message),
            CallError::Malformed { .. } => Self::new(ExitCode::NoNode, "LS-RPC-005", message)
                .help("is it a Lockstep node of the same version?"),
        }
    }
}

impl From<NetworkFileError> for Failure {
    fn from(error: NetworkFileError) -> Self {
        Self::usage("LS-NET-001", error.to_string())
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        Self::usage("LS-TX-001", error.to_string())
    }
}

impl From<ProofFault> for Failure {
    fn from(fault: ProofFault) -> Self {
        let failure = Self::new(ExitCode::Unverified, "LS-PROOF-001", fault.to_string());
        match fault {
            ProofFault::OtherChain { .. } => {
                failure.help("give the genesis file of the chain the receipt is from")
            }
            _ => failure.help("do not accept this receipt as proof of anything"),
        }
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Self {
        Self::new(stop.code(), "LS-NODE-001", stop.to_string())
    }
}
