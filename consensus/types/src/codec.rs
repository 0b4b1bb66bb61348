//! Decoding bytes from outside: bounded, whole, and in one form only.

use parity_scale_codec::{DecodeAll, DecodeLimit, Encode};

/// Deepest nesting of any type on the wire or on disk, with room to spare.
const MAX_DEPTH: u32 = 16;

/// Why bytes were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The frame is longer than its kind may be.
    #[error("{length} bytes where at most {limit} are allowed")]
    TooLong {
        /// Bytes that came.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not an encoding of the expected type, or followed by more bytes.
    #[error("not a valid encoding")]
    Malformed,
    /// Decodes, but is not the encoding we would have written.
    #[error("not the canonical encoding")]
    NotCanonical,
}

/// Decodes a value that must fill `bytes` exactly.
///
/// # Errors
/// See [`CodecError`].
pub fn decode<T: DecodeLimit>(bytes: &[u8], limit: usize) -> Result<T, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLong {
            length: bytes.len(),
            limit,
        });
    }
    T::decode_all_with_depth_limit(MAX_DEPTH, &mut &bytes[..]).map_err(|_| CodecError::Malformed)
}

/// Like [`decode`], and the value must encode to the very same bytes: for everything that is named
/// by the hash of its bytes.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_canonical<T: DecodeLimit + Encode>(
    bytes: &[u8],
    limit: usize,
) -> Result<T, CodecError> {
    let value: T = decode(bytes, limit)?;
    if value.encoded_size() == bytes.len() && value.using_encoded(|again| again == bytes) {
        Ok(value)
    } else {
        Err(CodecError::NotCanonical)
    }
}

/// Decodes what this very program wrote to its own disk.
///
/// # Errors
/// [`CodecError::Malformed`]: the file is damaged or of another version.
pub fn decode_own<T: DecodeAll>(bytes: &[u8]) -> Result<T, CodecError> {
    T::decode_all(&mut &bytes[..]).map_err(|_| CodecError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_long_short_and_trailing() {
        let bytes = (7u32, 9u8).encode();
        assert_eq!(decode::<(u32, u8)>(&bytes, 5), Ok((7, 9)));
        assert_eq!(
            decode::<(u32, u8)>(&bytes, 4),
            Err(CodecError::TooLong {
                length: 5,
                limit: 4
            })
        );
        assert_eq!(
            decode::<(u32, u8)>(&bytes[..4], 5),
            Err(CodecError::Malformed)
        );
        assert_eq!(decode::<u32>(&bytes, 5), Err(CodecError::Malformed));
    }

    #[test]
    fn a_lying_length_fails_before_memory_is_spent() {
        // A vector that claims 2^30 - 1 elements in four bytes.
        let bytes = parity_scale_codec::Compact((1u32 << 30) - 1).encode();
        assert_eq!(
            decode::<Vec<[u8; 32]>>(&bytes, 16),
            Err(CodecError::Malformed)
        );
    }
}
