//! `lockstep completions`: a script that teaches a shell the commands and their options. It is made
//! from the same definitions as the help.

use std::io::Write as _;

use clap_complete::{Shell, generate};

use crate::exit::ExitCode;

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct CompletionsCommand {
    /// The shell
    shell: Shell,
}

impl CompletionsCommand {
    /// Prints the script of `command`.
    pub(crate) fn run(self, mut command: clap::Command) -> ExitCode {
        let mut script = Vec::new();
        generate(self.shell, &mut command, "lockstep", &mut script);
        // A reader that has seen enough is no failure.
        let _ = std::io::stdout().write_all(&script);
        ExitCode::Done
    }
}
