//! The headers of a commit proof. Blocks that are committed together share one chain of headers, of
//! which each proof has the end from its own block on; kept apart they would take memory quadratic
//! in the length of the chain.
//!
//! Breaks if: the encoding is not that of a plain list, or more is decoded than a proof may have.

use core::ops::{Deref, RangeFrom};
use std::sync::Arc;

use parity_scale_codec::{Compact, Decode, Encode, EncodeLike, Error, Input, Output};

use crate::{Header, MAX_PROOF_HEADERS};

/// A chain of headers, each the parent of the next. Copies and ends of it share memory.
#[derive(Clone, Debug)]
pub struct Headers {
    shared: Arc<[Header]>,
    range: RangeFrom<usize>,
}

impl Headers {
    /// The end of this chain from a position on.
    ///
    /// # Panics
    /// When there are fewer headers.
    #[must_use]
    pub fn from_position(&self, position: usize) -> Headers {
        assert!(position <= self.len(), "the end of what is there");
        Headers {
            shared: self.shared.clone(),
            range: self.range.start + position..,
        }
    }
}

impl Deref for Headers {
    type Target = [Header];

    fn deref(&self) -> &[Header] {
        &self.shared[self.range.clone()]
    }
}

impl From<Vec<Header>> for Headers {
    fn from(headers: Vec<Header>) -> Self {
        headers.into_iter().collect()
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        Headers {
            shared: headers.into_iter().collect(),
            range: 0..,
        }
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Headers {}

impl Encode for Headers {
    fn size_hint(&self) -> usize {
        (**self).size_hint()
    }

    fn encode_to<T: Output + ?Sized>(&self, out: &mut T) {
        (**self).encode_to(out);
    }
}

impl EncodeLike for Headers {}

impl Decode for Headers {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        let Compact(count) = Compact::<u32>::decode(input)?;
        if usize::try_from(count).is_ok_and(|count| count > MAX_PROOF_HEADERS) {
            return Err("more headers than a proof may have".into());
        }
        (0..count).map(|_| Header::decode(input)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Random;

    fn plain(count: usize) -> Vec<Header> {
        let mut random = Random::new(1);
        (0..count).map(|_| random.make()).collect()
    }

    #[test]
    fn is_encoded_as_a_plain_list() {
        for count in [0, 1, 70] {
            let plain = plain(count);
            let headers = Headers::from(plain.clone());
            assert_eq!(headers.encode(), plain.encode());
            let decoded = Headers::decode(&mut &plain.encode()[..]).unwrap();
            assert_eq!(decoded, headers);
        }
    }

    #[test]
    fn an_end_is_what_a_list_of_its_own_would_be() {
        let plain = plain(5);
        let headers = Headers::from(plain.clone());
        let end = headers.from_position(2).from_position(1);
        assert_eq!(*end, plain[3..]);
        assert_eq!(end.encode(), plain[3..].encode());
        assert!(headers.from_position(5).is_empty());
    }

    #[test]
    fn no_more_is_decoded_than_a_proof_may_have() {
        let most = plain(MAX_PROOF_HEADERS);
        assert!(Headers::decode(&mut &most.encode()[..]).is_ok());
        let more = plain(MAX_PROOF_HEADERS + 1);
        assert!(Headers::decode(&mut &more.encode()[..]).is_err());
    }
}
