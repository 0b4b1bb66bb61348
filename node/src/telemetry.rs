//! The log: text or JSON lines, to standard error or a file. Names and texts of peers are escaped
//! by the formatter, so that nothing a stranger sends can steer a terminal.

use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

use crate::config::LogSection;

/// Starts logging for the process. The environment variable `LOCKSTEP_LOG` beats the filter of the
/// file. A second start has no effect.
///
/// # Errors
/// A filter that cannot be read, or a log file that cannot be made.
pub fn start(section: &LogSection, file: Option<&Path>) -> Result<(), String> {
    let text = std::env::var("LOCKSTEP_LOG").unwrap_or_else(|_| section.filter.clone());
    // The libraries' own news is for those who ask for it by name.
    let quiet = if text.contains("libp2p") {
        text.clone()
    } else {
        format!("{text},libp2p_swarm=warn,libp2p_gossipsub=error")
    };
    let filter = EnvFilter::try_new(&quiet).map_err(|error| {
        format!("log.filter {text:?}: {error}\n  help: as in info,lockstep_node=debug")
    })?;
    // Thread names say which validator of the process speaks.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_thread_names(true);
    // An error means that logging has started before, which is all we want.
    let _ = match file {
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            let file = file.map_err(|error| format!("{}: {error}", path.display()))?;
            let builder = builder.with_ansi(false).with_writer(Mutex::new(file));
            if section.json {
                builder.json().try_init()
            } else {
                builder.try_init()
            }
        }
        None => {
            let terminal = std::io::stderr().is_terminal();
            let builder = builder.with_ansi(terminal).with_writer(std::io::stderr);
            if section.json {
                builder.json().try_init()
            } else {
                builder.try_init()
            }
        }
    };
    Ok(())
}
