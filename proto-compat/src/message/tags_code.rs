//! The hash by which consume queues filter tags and the index finds keys: Java's `String.hashCode`.

/// Java's hash of a string, over its UTF-16 units.
pub fn string_hash(text: &str) -> i32 {
    continue_hash(0, text)
}

/// Continues [`string_hash`] with more text: `continue_hash(string_hash(a), b)` is the hash of `ab`.
///
/// Lets the index hash `topic#key` without building it.
pub fn continue_hash(hash: i32, text: &str) -> i32 {
    let step = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    if text.is_ascii() {
        text.bytes().map(u16::from).fold(hash, step)
    } else {
        text.encode_utf16().fold(hash, step)
    }
}

/// The tags code that a consume queue entry carries: 0 for no tag.
pub fn tags_code(tags: &str) -> i64 {
    i64::from(string_hash(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        assert_eq!(tags_code(""), 0);
        assert_eq!(tags_code("TagA"), 2598919);
        assert_eq!(tags_code("polygenelubricants"), i64::from(i32::MIN));
        assert_eq!(string_hash("a"), 97);
        // Two UTF-16 units: 0xD83D, 0xDE00.
        assert_eq!(string_hash("😀"), 0xD83D * 31 + 0xDE00);
        assert_eq!(string_hash("é"), 0xE9);
    }

    #[test]
    fn continued_hash_is_that_of_the_whole() {
        let pairs = [
            ("topic", "#key"),
            ("", "é😀"),
            ("x", ""),
            ("é", "key"),
            ("x", "ké"),
        ];
        for (head, tail) in pairs {
            let whole = format!("{head}{tail}");
            assert_eq!(continue_hash(string_hash(head), tail), string_hash(&whole));
        }
    }
}
