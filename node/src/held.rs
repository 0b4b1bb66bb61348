//! `data/held.json`: a validator whose key signed elsewhere does not start again by itself, however
//! often its supervisor tries. The file says why; deleting it is how the operator says that one
//! process signs with this key from now on.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::exit::Stop;
use crate::home::Home;
use crate::identity::write_whole;

/// The file.
#[derive(Serialize, Deserialize)]
struct Held {
    why: String,
}

/// Refuses a home that an earlier run held.
///
/// # Errors
/// Why it is held, or that the file cannot be read.
pub(crate) fn check(home: &Home) -> Result<(), Stop> {
    let file = home.held_file();
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Stop::storage(format!("{}: {error}", file.display()))),
    };
    // What is there counts, readable or not.
    let why = serde_json::from_str(&text).map_or(text, |held: Held| held.why);
    Err(Stop::Held { file, why })
}

/// Holds the home, if this is a reason to.
///
/// # Errors
/// What the file system says.
pub(crate) fn hold(home: &Home, reason: &Stop) -> io::Result<()> {
    let Stop::SecondCopy(_) = reason else {
        return Ok(());
    };
    let why = reason.to_string();
    let text = serde_json::to_vec_pretty(&Held { why }).expect("a string");
    write_whole(&home.held_file(), &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitCode;

    #[test]
    fn a_second_copy_holds_the_home_until_the_file_is_deleted() {
        let files = tempfile::tempdir().unwrap();
        let home = Home::at(files.path());
        fs::create_dir_all(home.data()).unwrap();
        hold(&home, &Stop::Requested).unwrap();
        hold(&home, &Stop::Storage("broken".to_owned())).unwrap();
        check(&home).unwrap();
        hold(&home, &Stop::SecondCopy("view 7".to_owned())).unwrap();
        let stop = check(&home).unwrap_err();
        assert_eq!(stop.code(), ExitCode::SecondCopy);
        let text = stop.to_string();
        assert!(
            text.contains("view 7") && text.contains("held.json"),
            "{text}"
        );
        fs::remove_file(home.held_file()).unwrap();
        check(&home).unwrap();
    }
}
