//! Addresses as people copy them: bech32m (BIP 350) of the account's 20 bytes, behind a prefix
//! that names the network. A wrong network is its own error, and a single typing error is located
//! but never corrected: a repaired address could still be somebody else's.

use core::fmt;
use core::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use lockstep_types::AccountId;

use crate::Network;

/// The 32 characters an address is made of, behind its prefix.
const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// Characters behind the separator: 20 bytes in groups of five bits, and six for the checksum.
const DATA_CHARACTERS: usize = 38;

/// An account on a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The network its prefix names.
    pub network: Network,
    /// The account.
    pub account: AccountId,
}

impl Address {
    /// The address of an account.
    pub const fn new(network: Network, account: AccountId) -> Self {
        Address { network, account }
    }

    /// Reads an address that must belong to `network`.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse_on(text: &str, network: Network) -> Result<AccountId, AddressError> {
        let address: Address = text.parse()?;
        if address.network == network {
            Ok(address.account)
        } else {
            Err(AddressError::WrongNetwork {
                expected: network,
                got: address.network,
            })
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hrp = Hrp::parse(self.network.prefix()).expect("the prefixes are plain letters");
        let text = bech32::encode::<Bech32m>(hrp, self.account.as_bytes())
            .expect("44 characters are within the code's length");
        f.pad(&text)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        if text != lower && text != text.to_ascii_uppercase() {
            return Err(AddressError::MixedCase);
        }
        let Some((prefix, data)) = lower.split_once('1') else {
            return Err(AddressError::NotAnAddress);
        };
        let network = Network::from_prefix(prefix).ok_or_else(|| AddressError::UnknownPrefix {
            prefix: prefix.to_owned(),
        })?;
        let start = prefix.len() + 1;
        if let Some(bad) = data.char_indices().find(|(_, c)| !is_data(*c)) {
            let position = start + data[..bad.0].chars().count() + 1;
            return Err(AddressError::BadCharacter {
                position,
                character: bad.1,
            });
        }
        if data.len() == DATA_CHARACTERS
            && let Some(account) = decode(&lower)
        {
            return Ok(Address { network, account });
        }
        match locate(prefix, data.as_bytes()) {
            Some(position) => Err(AddressError::Typo {
                position: start + position + 1,
            }),
            None if data.len() != DATA_CHARACTERS => Err(AddressError::Length {
                got: lower.len(),
                expected: start + DATA_CHARACTERS,
            }),
            None => Err(AddressError::Checksum),
        }
    }
}

fn is_data(c: char) -> bool {
    u8::try_from(c).is_ok_and(|c| CHARSET.contains(&c))
}

fn decode(text: &str) -> Option<AccountId> {
    let checked = CheckedHrpstring::new::<Bech32m>(text).ok()?;
    let bytes: Vec<u8> = checked.byte_iter().collect();
    bytes.try_into().ok().map(AccountId::new)
}

/// Where the one typing error is that explains a wrong checksum: a replaced, exchanged, missing or
/// additional character. None when no single error explains it, or several do in different places.
fn locate(prefix: &str, data: &[u8]) -> Option<usize> {
    let good = |candidate: &[u8]| {
        let data = core::str::from_utf8(candidate).expect("made of the charset");
        decode(&format!("{prefix}1{data}")).is_some()
    };
    let mut found = None;
    let mut note = |position: usize| match found {
        None => found = Some((position, position)),
        Some((low, high)) => found = Some((low.min(position), high.max(position))),
    };
    let mut candidate = data.to_vec();
    match data.len() {
        DATA_CHARACTERS => {
            for position in 0..data.len() {
                for c in CHARSET {
                    candidate[position] = *c;
                    if good(&candidate) {
                        note(position);
                    }
                }
                candidate[position] = data[position];
            }
            for position in 1..data.len() {
                candidate.swap(position - 1, position);
                if good(&candidate) {
                    note(position - 1);
                }
                candidate.swap(position - 1, position);
            }
        }
        length if length == DATA_CHARACTERS + 1 => {
            for position in 0..data.len() {
                let removed = candidate.remove(position);
                if good(&candidate) {
                    note(position);
                }
                candidate.insert(position, removed);
            }
        }
        length if length + 1 == DATA_CHARACTERS => {
            for position in 0..=data.len() {
                for c in CHARSET {
                    candidate.insert(position, *c);
                    if good(&candidate) {
                        note(position);
                    }
                    candidate.remove(position);
                }
            }
        }
        _ => {}
    }
    // In a run of equal characters the neighbours explain an insertion equally well.
    found
        .filter(|(low, high)| high - low <= 1)
        .map(|(low, _)| low)
}

/// Why a text is not an address. Positions count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing like an address.
    #[error("this is not an address")]
    NotAnAddress,
    /// For another network.
    #[error("this address belongs to the {got} network, and this is the {expected} network")]
    WrongNetwork {
        /// The network in use.
        expected: Network,
        /// The network of the address.
        got: Network,
    },
    /// A single typing error, located.
    #[error("this address has a typing error near character {position}")]
    Typo {
        /// Where.
        position: usize,
    },
    /// More than one error.
    #[error("the checksum of this address does not match; more than one character is wrong")]
    Checksum,
    /// Too short or too long.
    #[error("this address has {got} characters, and {expected} are expected")]
    Length {
        /// How many there are.
        got: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A character that never occurs in an address.
    #[error("character {position} of this address is {character:?}, which never occurs in one")]
    BadCharacter {
        /// Where.
        position: usize,
        /// Which.
        character: char,
    },
    /// A prefix of no Lockstep network.
    #[error("no network has addresses that start with {prefix:?}")]
    UnknownPrefix {
        /// What stood before the `1`.
        prefix: String,
    },
    /// Upper and lower case letters.
    #[error("upper and lower case letters are mixed in this address")]
    MixedCase,
}

impl AddressError {
    /// A stable name for this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            AddressError::NotAnAddress => "LS-ADDR-001",
            AddressError::WrongNetwork { .. } => "LS-ADDR-002",
            AddressError::Typo { .. } => "LS-ADDR-003",
            AddressError::Checksum => "LS-ADDR-004",
            AddressError::Length { .. } => "LS-ADDR-005",
            AddressError::BadCharacter { .. } => "LS-ADDR-006",
            AddressError::UnknownPrefix { .. } => "LS-ADDR-007",
            AddressError::MixedCase => "LS-ADDR-008",
        }
    }

    /// The character the error points at, counted from 1.
    pub fn position(&self) -> Option<usize> {
        match self {
            AddressError::Typo { position } | AddressError::BadCharacter { position, .. } => {
                Some(*position)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address::new(
            Network::Development,
            AccountId::new(core::array::from_fn(|i| i as u8 * 7)),
        )
    }

    #[test]
    fn every_network_prints_and_reads_back() {
        for network in Network::ALL {
            let address = Address {
                network,
                ..address()
            };
            let text = address.to_string();
            assert!(text.starts_with(&format!("{}1", network.prefix())));
            assert_eq!(text.parse(), Ok(address));
            assert_eq!(text.to_ascii_uppercase().parse(), Ok(address));
        }
    }

    #[test]
    fn the_text_form_is_fixed() {
        assert_eq!(
            address().to_string(),
            "dlock1qqrsu9guyv4rzwplgex4gkmzd9c8wl59dpj2ef"
        );
    }

    #[test]
    fn a_wrong_network_is_its_own_error() {
        let text = address().to_string();
        assert_eq!(
            Address::parse_on(&text, Network::Main),
            Err(AddressError::WrongNetwork {
                expected: Network::Main,
                got: Network::Development
            })
        );
    }

    #[test]
    fn every_single_wrong_character_is_located() {
        let text = address().to_string();
        for position in 6..text.len() {
            for wrong in CHARSET.iter().filter(|c| **c != text.as_bytes()[position]) {
                let mut typo = text.clone().into_bytes();
                typo[position] = *wrong;
                let typo = String::from_utf8(typo).unwrap();
                assert_eq!(
                    typo.parse::<Address>(),
                    Err(AddressError::Typo {
                        position: position + 1
                    }),
                    "{typo}"
                );
            }
        }
    }

    #[test]
    fn missing_additional_and_exchanged_characters_are_located() {
        let text = address().to_string();
        for position in 6..text.len() {
            let mut missing = text.clone();
            missing.remove(position);
            let mut additional = text.clone();
            additional.insert(position, '9');
            for typo in [missing, additional] {
                match typo.parse::<Address>() {
                    Err(AddressError::Typo { position: found }) => {
                        assert!(found.abs_diff(position + 1) <= 2, "{typo}: {found}");
                    }
                    other => panic!("{typo}: {other:?}"),
                }
            }
        }
        let mut exchanged = text.into_bytes();
        exchanged.swap(20, 21);
        assert_eq!(
            String::from_utf8(exchanged).unwrap().parse::<Address>(),
            Err(AddressError::Typo { position: 21 })
        );
    }

    #[test]
    fn other_mistakes_have_their_own_errors() {
        let text = address().to_string();
        let parse = |text: &str| text.parse::<Address>().unwrap_err();
        assert_eq!(parse("hello"), AddressError::NotAnAddress);
        assert_eq!(
            parse("btc1qqqq"),
            AddressError::UnknownPrefix {
                prefix: "btc".into()
            }
        );
        assert_eq!(parse(&text.replace('q', "b")).code(), "LS-ADDR-006");
        assert_eq!(parse(&text.replacen('d', "D", 1)), AddressError::MixedCase);
        assert_eq!(parse(&text[..30]).code(), "LS-ADDR-005");
        assert_eq!(parse("dlock1é").code(), "LS-ADDR-006");
        let mut twice = text.into_bytes();
        twice[10] = b'x';
        twice[30] = b'x';
        assert_eq!(
            parse(core::str::from_utf8(&twice).unwrap()),
            AddressError::Checksum
        );
    }
}
