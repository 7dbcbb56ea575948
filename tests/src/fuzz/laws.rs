//! What holds of everything that can be read and written.

use std::fmt::Debug;

/// Bytes that are accepted are the very bytes that would be written.
pub(super) fn written_as_read(bytes: &[u8], codec: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    if let Some(written) = codec(bytes) {
        assert_eq!(written, bytes, "what was accepted would be written as other bytes");
    }
}

/// What was read and written is read and written as the same bytes again. For archives, which may say one thing in
/// several ways.
pub(super) fn settles(bytes: &[u8], codec: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    if let Some(written) = codec(bytes) {
        let again = codec(&written);
        assert_eq!(again.as_ref(), Some(&written), "what was written is not read as it was");
    }
}

/// What was read is read as the same after it was written.
pub(super) fn reads_back<T: Debug + PartialEq, E: Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    if let Ok(value) = decode(bytes) {
        let again = decode(&encode(&value)).expect("what was written is read");
        assert_eq!(again, value, "what was written is not read as it was");
    }
}
