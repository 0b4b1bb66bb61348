//! Durations as people write them: a whole number and a unit, `2s`, `500ms`.

use core::time::Duration;

/// Unit names with their length in microseconds, longest first.
const UNITS: [(&str, u64); 5] = [
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Reads a duration.
///
/// # Errors
/// When it is not a whole number followed by a unit, or does not fit.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..split].parse().map_err(|_| DurationError)?;
    let unit = text[split..].trim_start();
    let (_, micros) = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(DurationError)?;
    number
        .checked_mul(*micros)
        .map(Duration::from_micros)
        .ok_or(DurationError)
}

/// Writes a duration in the longest unit that is exact; [`parse_duration`] reads it back.
pub fn format_duration(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let (name, length) = UNITS
        .into_iter()
        .find(|(_, length)| micros.is_multiple_of(*length) && micros >= *length)
        .unwrap_or(("ms", 1_000));
    format!("{}{name}", micros / length)
}

/// The text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number and a unit, like \"2s\" or \"500ms\"")]
pub struct DurationError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, micros) in [
            ("2s", 2_000_000),
            ("500ms", 500_000),
            ("250us", 250),
            ("1m", 60_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_micros(micros)));
            assert_eq!(format_duration(Duration::from_micros(micros)), text);
        }
        assert_eq!(format_duration(Duration::ZERO), "0ms");
        assert_eq!(parse_duration(" 3 s "), Ok(Duration::from_secs(3)));
        for text in [
            "",
            "2",
            "s",
            "2.5s",
            "-1s",
            "2 fortnights",
            "99999999999999999999h",
        ] {
            assert_eq!(parse_duration(text), Err(DurationError), "{text}");
        }
    }
}
