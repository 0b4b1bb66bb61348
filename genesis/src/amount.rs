//! Amounts as people write them. A unit is required and no floating point is involved: `5lck`,
//! `0.25 lck`, `500mlck`, `7units`. On the wire an amount is a whole number of units.

use core::fmt;
use core::str::FromStr;

/// 1 lck is 10^9 units.
pub const UNITS_PER_LCK: u128 = 1_000_000_000;

/// The unit names, with the decimal places each has.
const UNITS: [(&str, u32); 5] = [
    ("lck", 9),
    ("mlck", 6),
    ("ulck", 3),
    ("nlck", 0),
    ("units", 0),
];

/// A number of units of the native asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(pub u128);

impl Amount {
    /// A whole number of lck.
    pub const fn lck(whole: u64) -> Self {
        Amount(whole as u128 * UNITS_PER_LCK)
    }

    /// The plain number of units.
    pub const fn units(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Amount {
    /// Exact, in lck; what is printed can be read back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / UNITS_PER_LCK, self.0 % UNITS_PER_LCK);
        let text = if rest == 0 {
            format!("{whole} lck")
        } else {
            let decimals = format!("{rest:09}");
            format!("{whole}.{} lck", decimals.trim_end_matches('0'))
        };
        f.pad(&text)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let text = text.trim();
        let split = text
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(text.len());
        let (number, unit) = (text[..split].trim_end(), &text[split..]);
        if number.starts_with('-') {
            return Err(AmountError::Negative);
        }
        let number: String = number.chars().filter(|c| *c != '_').collect();
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return Err(AmountError::NotANumber),
            None => (number.as_str(), ""),
        };
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return Err(AmountError::NotANumber);
        }
        if unit.is_empty() {
            return Err(AmountError::NoUnit { number });
        }
        let (_, places) = *UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| AmountError::UnknownUnit {
                unit: unit.to_owned(),
            })?;
        let places = usize::try_from(places).expect("at most 9");
        if fraction.len() > places {
            return Err(AmountError::TooFine {
                unit: unit.to_owned(),
                places,
            });
        }
        // "1.5" with nine places is "1" followed by "500000000": no arithmetic on fractions.
        format!("{whole}{fraction:0<places$}")
            .parse()
            .map(Amount)
            .map_err(|_| AmountError::TooLarge)
    }
}

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// No unit behind the number.
    #[error("the amount {number} has no unit")]
    NoUnit {
        /// The number as written.
        number: String,
    },
    /// A unit nobody knows.
    #[error("there is no unit {unit:?}")]
    UnknownUnit {
        /// What stood there.
        unit: String,
    },
    /// Not digits.
    #[error("not a number")]
    NotANumber,
    /// Below zero.
    #[error("an amount is never negative")]
    Negative,
    /// More decimals than the unit has.
    #[error("{unit} has {places} decimal places, and more are given")]
    TooFine {
        /// The unit.
        unit: String,
        /// How many decimal places it has.
        places: usize,
    },
    /// Does not fit.
    #[error("larger than any amount can be")]
    TooLarge,
}

impl AmountError {
    /// A stable name for this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            AmountError::NoUnit { .. } => "LS-AMT-001",
            AmountError::UnknownUnit { .. } => "LS-AMT-002",
            AmountError::NotANumber => "LS-AMT-003",
            AmountError::Negative => "LS-AMT-004",
            AmountError::TooFine { .. } => "LS-AMT-005",
            AmountError::TooLarge => "LS-AMT-006",
        }
    }

    /// What to type instead.
    pub fn help(&self) -> String {
        match self {
            AmountError::NoUnit { number } => {
                format!("write {number}lck (1 lck = 1000 mlck = 10^9 units)")
            }
            AmountError::TooFine { .. } => "use a smaller unit, down to units".to_owned(),
            _ => "examples: 5lck, 0.25lck, 500mlck, 7units".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<u128, AmountError> {
        text.parse().map(Amount::units)
    }

    #[test]
    fn reads_every_unit_exactly() {
        assert_eq!(read("5lck"), Ok(5_000_000_000));
        assert_eq!(read("0.1 lck"), Ok(100_000_000));
        assert_eq!(read("0.000000001lck"), Ok(1));
        assert_eq!(read("500mlck"), Ok(500_000_000));
        assert_eq!(read("1.5ulck"), Ok(1_500));
        assert_eq!(read("10_000lck"), Ok(10_000_000_000_000));
        assert_eq!(read("7nlck"), Ok(7));
        assert_eq!(read("7 units"), Ok(7));
        assert_eq!(read("0lck"), Ok(0));
    }

    #[test]
    fn refuses_what_is_not_exact_or_not_clear() {
        assert_eq!(read("5"), Err(AmountError::NoUnit { number: "5".into() }));
        assert_eq!(
            read("5eth"),
            Err(AmountError::UnknownUnit { unit: "eth".into() })
        );
        assert_eq!(read("-5lck"), Err(AmountError::Negative));
        assert_eq!(
            read("1.0000000001lck"),
            Err(AmountError::TooFine {
                unit: "lck".into(),
                places: 9
            })
        );
        assert_eq!(
            read("0.5units"),
            Err(AmountError::TooFine {
                unit: "units".into(),
                places: 0
            })
        );
        for text in [
            "lck", "", "1.lck", ".5lck", "1.2.3lck", "1,5lck", "1e3lck", "٣lck",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(
            read("999999999999999999999999999999999999999lck"),
            Err(AmountError::TooLarge)
        );
    }

    #[test]
    fn what_is_printed_reads_back() {
        for units in [0, 1, 999, 1_000_000_000, 1_500_000_000, u128::MAX] {
            assert_eq!(read(&Amount(units).to_string()), Ok(units));
        }
        assert_eq!(Amount(1_500_000_000).to_string(), "1.5 lck");
    }
}
