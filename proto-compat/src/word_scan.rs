//! Looks through text eight bytes at a time: headers are many short texts, for which calling a library's
//! search costs more than the search.

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;
pub(crate) const WORD_BYTES: usize = 8;

/// Where a byte stands first.
#[inline]
pub(crate) fn find(text: &[u8], byte: u8) -> Option<usize> {
    find_either(text, [byte, byte])
}

/// Where the first byte stands that is one of two.
#[inline]
pub(crate) fn find_either(text: &[u8], either: [u8; 2]) -> Option<usize> {
    let mut rest = text;
    while let Some((word, behind)) = rest.split_first_chunk() {
        if let Some(at) = find_in_word(word, either) {
            return Some(text.len() - rest.len() + at);
        }
        rest = behind;
    }
    // The last word overlaps the one before it, in which nothing was found.
    match text.last_chunk() {
        Some(last) => Some(text.len() - WORD_BYTES + find_in_word(last, either)?),
        None => text.iter().position(|byte| either.contains(byte)),
    }
}

/// The same for a text of one word.
#[inline]
pub(crate) fn find_in_word(word: &[u8; WORD_BYTES], [one, other]: [u8; 2]) -> Option<usize> {
    let word = u64::from_le_bytes(*word);
    let (ones, others) = (u64::from(one) * EACH, u64::from(other) * EACH);
    let found = zeros(word ^ ones) | zeros(word ^ others);
    (found != 0).then_some(found.trailing_zeros() as usize / WORD_BYTES)
}

/// Whether a byte is below `limit`, or one of two others; `limit` is at most 128.
#[inline]
pub(crate) fn has_below_or_either(text: &[u8], limit: u8, one: u8, other: u8) -> bool {
    let (ones, others) = (u64::from(one) * EACH, u64::from(other) * EACH);
    let limits = u64::from(limit) * EACH;
    let is_in = |word: &[u8; WORD_BYTES]| {
        let word = u64::from_le_bytes(*word);
        let below = word.wrapping_sub(limits) & !word & HIGH;
        below | zeros(word ^ ones) | zeros(word ^ others) != 0
    };
    // The last word may overlap the one before it.
    match text.last_chunk::<WORD_BYTES>() {
        Some(last) => is_in(last) || text.as_chunks::<WORD_BYTES>().0.iter().any(is_in),
        None => text.iter().any(|b| *b < limit || *b == one || *b == other),
    }
}

/// The high bit of every zero byte; above the first of them other bits may be set as well.
#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(EACH) & !word & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length and place around a word's bounds, before bytes that differ by one bit or carry.
    #[test]
    fn the_first_is_found_wherever_it_stands() {
        for fill in [0, 1, b'!', b'#', b'[', b']', 0x7F, 0x80, 0xA2, 0xDC, 0xFF] {
            for length in 0..30 {
                let text = vec![fill; length];
                assert_eq!(find_either(&text, [b'"', b'\\']), None, "{fill} × {length}");
                for at in 0..length {
                    let mut text = text.clone();
                    text[at..].fill(b'"');
                    text[at] = b'\\';
                    assert_eq!(find_either(&text, [b'"', b'\\']), Some(at));
                    assert_eq!(find_either(&text, [b'\\', b'"']), Some(at));
                }
            }
        }
    }

    #[test]
    fn every_byte_is_judged_as_one_by_one() {
        let judge = |text: &[u8]| has_below_or_either(text, b' ', b'"', b'\\');
        for byte in 0..=u8::MAX {
            let expected = byte < b' ' || byte == b'"' || byte == b'\\';
            for length in 1..20 {
                for at in 0..length {
                    for fill in [b' ', b'~', 0xFF] {
                        let mut text = vec![fill; length];
                        text[at] = byte;
                        assert_eq!(judge(&text), expected, "{byte} at {at} of {length}");
                    }
                }
            }
        }
        assert!(!judge(b""));
    }
}
