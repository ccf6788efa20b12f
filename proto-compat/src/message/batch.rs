//! The body of a batch send: several small messages of one topic and queue in one request.
//!
//! Each element is length, magic 0, checksum 0, flag, body, properties.

use super::cursor::{Cursor, OutOfBytes};
use super::properties::TEXT_BYTES_MAX;

/// Length, magic, checksum, flag, body length and properties length.
const ELEMENT_BYTES_MIN: usize = 4 + 4 + 4 + 4 + 4 + 2;

/// One message of a batch, borrowed from the batch's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchItem<'a> {
    /// The user's flag.
    pub flag: i32,
    /// Body.
    pub body: &'a [u8],
    /// Properties in their text form.
    pub properties: &'a str,
}

/// Why a batch cannot be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Lengths do not add up.
    #[error("element {item} of the batch is malformed")]
    Malformed {
        /// Which element, from 0.
        item: usize,
    },
    /// Properties are no text.
    #[error("properties of element {item} of the batch are not UTF-8")]
    PropertiesNotText {
        /// Which element, from 0.
        item: usize,
    },
    /// More elements than allowed.
    #[error("batch holds more than {items_max} messages")]
    TooMany {
        /// The limit.
        items_max: usize,
    },
    /// Properties or body do not fit their length fields.
    #[error("message does not fit a batch")]
    TooLong,
}

/// Appends one element to a batch body.
///
/// # Errors
/// [`BatchError::TooLong`]; nothing is appended then.
pub fn encode(item: &BatchItem<'_>, into: &mut Vec<u8>) -> Result<(), BatchError> {
    if item.properties.len() > TEXT_BYTES_MAX {
        return Err(BatchError::TooLong);
    }
    let total = ELEMENT_BYTES_MIN
        .saturating_add(item.body.len())
        .saturating_add(item.properties.len());
    let total_field = i32::try_from(total).map_err(|_| BatchError::TooLong)?;
    into.reserve(total);
    into.extend_from_slice(&total_field.to_be_bytes());
    into.extend_from_slice(&[0; 8]);
    into.extend_from_slice(&item.flag.to_be_bytes());
    into.extend_from_slice(&(item.body.len() as i32).to_be_bytes());
    into.extend_from_slice(item.body);
    into.extend_from_slice(&(item.properties.len() as i16).to_be_bytes());
    into.extend_from_slice(item.properties.as_bytes());
    Ok(())
}

/// The elements of a batch body; ends after the first error.
pub fn decode(body: &[u8], items_max: usize) -> BatchItems<'_> {
    BatchItems {
        rest: Cursor::new(body),
        items: 0,
        items_max,
        failed: false,
    }
}

/// Iterator of [`decode`].
#[derive(Debug, Clone)]
pub struct BatchItems<'a> {
    rest: Cursor<'a>,
    items: usize,
    items_max: usize,
    failed: bool,
}

impl<'a> BatchItems<'a> {
    fn item(&mut self) -> Result<BatchItem<'a>, BatchError> {
        let item = self.items;
        if item >= self.items_max {
            return Err(BatchError::TooMany {
                items_max: self.items_max,
            });
        }
        let parts = parts(&mut self.rest).map_err(|_| BatchError::Malformed { item })?;
        let properties = std::str::from_utf8(parts.properties)
            .map_err(|_| BatchError::PropertiesNotText { item })?;
        self.items += 1;
        Ok(BatchItem {
            flag: parts.flag,
            body: parts.body,
            properties,
        })
    }
}

impl<'a> Iterator for BatchItems<'a> {
    type Item = Result<BatchItem<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest.is_empty() {
            return None;
        }
        let item = self.item();
        self.failed = item.is_err();
        Some(item)
    }
}

struct Parts<'a> {
    flag: i32,
    body: &'a [u8],
    properties: &'a [u8],
}

fn parts<'a>(rest: &mut Cursor<'a>) -> Result<Parts<'a>, OutOfBytes> {
    let total = usize::try_from(rest.i32()?).map_err(|_| OutOfBytes)?;
    let mut element = Cursor::new(rest.bytes(total.checked_sub(4).ok_or(OutOfBytes)?)?);
    element.bytes(8)?;
    let flag = element.i32()?;
    let body_bytes = usize::try_from(element.i32()?).map_err(|_| OutOfBytes)?;
    let body = element.bytes(body_bytes)?;
    let properties_bytes = usize::try_from(element.i16()?).map_err(|_| OutOfBytes)?;
    let properties = element.bytes(properties_bytes)?;
    if element.remaining() > 0 {
        return Err(OutOfBytes);
    }
    Ok(Parts {
        flag,
        body,
        properties,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<u8> {
        let mut body = Vec::new();
        for (flag, text) in [(1, "one"), (2, ""), (3, "three")] {
            let item = BatchItem {
                flag,
                body: text.as_bytes(),
                properties: "KEYS\u{1}k\u{2}",
            };
            encode(&item, &mut body).unwrap();
        }
        body
    }

    #[test]
    fn elements_come_back_in_order() {
        let body = three();
        let items: Result<Vec<_>, _> = decode(&body, 3).collect();
        let items = items.unwrap();
        assert_eq!(items.len(), 3);
        assert_eq!((items[0].flag, items[0].body), (1, &b"one"[..]));
        assert_eq!((items[2].flag, items[2].body), (3, &b"three"[..]));
        assert!(
            items
                .iter()
                .all(|item| item.properties == "KEYS\u{1}k\u{2}")
        );
        assert_eq!(decode(&[], 3).count(), 0);
    }

    #[test]
    fn one_too_many_is_an_error_and_the_end() {
        let body = three();
        let items: Vec<_> = decode(&body, 2).collect();
        assert_eq!(items.len(), 3);
        assert_eq!(items[2], Err(BatchError::TooMany { items_max: 2 }));
    }

    #[test]
    fn every_cut_is_an_error() {
        let body = three();
        for cut in 1..body.len() {
            let result: Result<Vec<_>, _> = decode(&body[..cut], 9).collect();
            assert_eq!(result.is_ok(), starts_element(&body, cut), "cut {cut}");
        }
    }

    /// Whether an element begins exactly at `cut`.
    fn starts_element(body: &[u8], cut: usize) -> bool {
        let mut at = 0;
        while at < cut {
            at += i32::from_be_bytes(body[at..at + 4].try_into().unwrap()) as usize;
        }
        at == cut
    }

    #[test]
    fn an_element_longer_than_its_parts_is_malformed() {
        let mut body = three();
        body[3] -= 1;
        let first = decode(&body, 9).next();
        assert_eq!(first, Some(Err(BatchError::Malformed { item: 0 })));
    }

    #[test]
    fn properties_that_do_not_fit_are_refused() {
        let properties = "x".repeat(TEXT_BYTES_MAX + 1);
        let item = BatchItem {
            flag: 0,
            body: b"",
            properties: &properties,
        };
        assert_eq!(encode(&item, &mut Vec::new()), Err(BatchError::TooLong));
    }
}
