//! How commands speak. The result goes to stdout and nothing else does; progress and errors go to
//! stderr. With `--json` every command prints one envelope, with `-q` the bare value.
//!
//! Breaks if: a command prints by itself.

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Value, json};

use super::failure::Failure;
use crate::exit::ExitCode;

/// Version of the JSON envelope.
const SCHEMA: u32 = 1;

/// Options every command has.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Output {
    /// Print one JSON document
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only the value: an address, a hash, an amount
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// What a command came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    /// For `--json`.
    pub(crate) value: Value,
    /// For people.
    pub(crate) text: String,
    /// For `-q`.
    pub(crate) bare: String,
    /// Not every end is a good one.
    pub(crate) exit: Option<Failure>,
}

impl Output {
    /// Shows a step as it happens, unless nobody wants to see it.
    pub(crate) fn progress(&self, line: &str) {
        if !self.json && !self.quiet {
            // A closed stderr is no reason to stop a payment halfway.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// Asks a yes-or-no question when there is somebody to answer; yes when there is not.
    pub(crate) fn confirm(&self, question: &str) -> bool {
        if !std::io::stdin().is_terminal() || self.json {
            return true;
        }
        let _ = write!(std::io::stderr(), "{question} [y/N] ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).is_ok()
            && matches!(answer.trim(), "y" | "Y" | "yes")
    }

    /// Prints how a command ended and says what to exit with.
    pub(crate) fn finish(&self, result: Result<Done, Failure>) -> ExitCode {
        let (done, failure) = match result {
            Ok(mut done) => {
                let failure = done.exit.take();
                (Some(done), failure)
            }
            Err(failure) => (None, Some(failure)),
        };
        let exit = failure
            .as_ref()
            .map_or(ExitCode::Done, |failure| failure.exit);
        let text = if self.json {
            let mut text = envelope(done.as_ref(), failure.as_ref()).to_string();
            text.push('\n');
            text
        } else {
            for line in failure.iter().flat_map(Failure::lines) {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            done.map(|done| if self.quiet { done.bare } else { done.text })
                .unwrap_or_default()
        };
        let text = if text.is_empty() || text.ends_with('\n') {
            text
        } else {
            text + "\n"
        };
        // A reader that has seen enough (`| head`) is no failure.
        let _ = std::io::stdout().write_all(text.as_bytes());
        exit
    }
}

fn envelope(done: Option<&Done>, failure: Option<&Failure>) -> Value {
    let mut envelope = json!({ "schema": SCHEMA, "ok": failure.is_none() });
    if let Some(done) = done {
        envelope["result"] = done.value.clone();
    }
    if let Some(failure) = failure {
        envelope["error"] = json!({
            "code": failure.code,
            "message": failure.message,
            "help": failure.help,
            "exit": failure.exit as u8,
        });
    }
    envelope
}

/// Columns of text, each as wide as its widest cell.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_has_a_fixed_form() {
        let done = Done {
            value: json!({"a": 1}),
            ..Done::default()
        };
        assert_eq!(
            envelope(Some(&done), None).to_string(),
            r#"{"ok":true,"result":{"a":1},"schema":1}"#
        );
        let failure = Failure::usage("LS-X-001", "m").help("h");
        assert_eq!(
            envelope(None, Some(&failure)).to_string(),
            r#"{"error":{"code":"LS-X-001","exit":2,"help":"h","message":"m"},"ok":false,"schema":1}"#
        );
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            table(&[row(["alice", "1"]), row(["bo", "22"])]),
            "alice  1\nbo     22\n"
        );
        assert_eq!(table(&[]), "");
    }
}
