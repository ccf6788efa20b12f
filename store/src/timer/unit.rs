//! One entry of the timer log: 52 bytes that say where a message lies and when it is due.

/// Bytes of a unit.
pub(crate) const UNIT_BYTES: usize = 52;
/// Bytes at the end of a file that no unit fits in: length, 0, magic.
pub(crate) const BLANK_BYTES: usize = 16;
/// Marks the end of a file.
const BLANK_MAGIC: i32 = 0xCBD4_3194_u32.cast_signed();
/// Every unit's.
const MAGIC: i32 = 1;
const MAGIC_ROLL: i32 = 1 << 1;
const MAGIC_DELETE: i32 = 1 << 2;
/// Bits that a unit's magic may have.
const MAGIC_BITS: i32 = 0xF;

/// Position of no unit.
pub(crate) const NO_UNIT: i64 = -1;

/// A message that waits in the timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerUnit {
    /// Its slot: the time that was floored to the precision, milliseconds.
    pub slot_ms: i64,
    /// When it entered the timer, milliseconds.
    pub written_ms: i64,
    /// When exactly it is due, milliseconds; 0 if only the slot is known, as in units of Java.
    pub due_ms: i64,
    /// Its record in the commit log.
    pub physical_offset: i64,
    /// Bytes of the record.
    pub record_bytes: i32,
    /// Java's hash of its real topic.
    pub topic_hash: i32,
    /// It is not due then, but has to enter the timer anew.
    pub rolls: bool,
    /// It cancels another message of its slot.
    pub deletes: bool,
}

/// What stands at a place of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A unit, and the position of the one before it in its slot.
    Unit { unit: TimerUnit, previous: i64 },
    /// The file holds no more.
    EndOfFile,
    /// Nothing that was ever written there.
    Nothing,
}

impl TimerUnit {
    pub(crate) fn encode(&self, previous: i64) -> [u8; UNIT_BYTES] {
        let rolls = if self.rolls { MAGIC_ROLL } else { 0 };
        let deletes = if self.deletes { MAGIC_DELETE } else { 0 };
        let delay_ms = self.slot_ms.saturating_sub(self.written_ms);
        let delay_ms = i32::try_from(delay_ms).unwrap_or(i32::MAX);
        let mut bytes = [0; UNIT_BYTES];
        let mut rest = &mut bytes[..];
        put(&mut rest, (UNIT_BYTES as i32).to_be_bytes());
        put(&mut rest, previous.to_be_bytes());
        put(&mut rest, (MAGIC | rolls | deletes).to_be_bytes());
        put(&mut rest, self.written_ms.to_be_bytes());
        put(&mut rest, delay_ms.to_be_bytes());
        put(&mut rest, self.physical_offset.to_be_bytes());
        put(&mut rest, self.record_bytes.to_be_bytes());
        put(&mut rest, self.topic_hash.to_be_bytes());
        // Java keeps this in reserve: it writes 0 and never looks.
        put(&mut rest, self.due_ms.to_be_bytes());
        bytes
    }
}

fn put<const N: usize>(rest: &mut &mut [u8], bytes: [u8; N]) {
    if let Some((place, behind)) = std::mem::take(rest).split_first_chunk_mut::<N>() {
        *place = bytes;
        *rest = behind;
    }
}

/// The end of a file of which so many bytes are left.
pub(crate) fn blank(bytes_left: usize) -> [u8; BLANK_BYTES] {
    let mut bytes = [0; BLANK_BYTES];
    let mut rest = &mut bytes[..];
    let bytes_left = i32::try_from(bytes_left).unwrap_or(i32::MAX);
    put(&mut rest, bytes_left.to_be_bytes());
    put(&mut rest, 0_i64.to_be_bytes());
    put(&mut rest, BLANK_MAGIC.to_be_bytes());
    bytes
}

/// Reads what stands at a place; the bytes begin there and may end anywhere.
pub(crate) fn decode(bytes: &[u8]) -> Found {
    let mut rest = bytes;
    decode_head(&mut rest)
        .and_then(|head| decode_rest(head, &mut rest))
        .unwrap_or(Found::Nothing)
}

struct Head {
    size: i32,
    previous: i64,
    magic: i32,
}

fn decode_head(rest: &mut &[u8]) -> Option<Head> {
    Some(Head {
        size: i32::from_be_bytes(take(rest)?),
        previous: i64::from_be_bytes(take(rest)?),
        magic: i32::from_be_bytes(take(rest)?),
    })
}

fn decode_rest(head: Head, rest: &mut &[u8]) -> Option<Found> {
    let Head {
        size,
        previous,
        magic,
    } = head;
    if magic == BLANK_MAGIC {
        return Some(Found::EndOfFile);
    }
    if size != UNIT_BYTES as i32 || magic & !MAGIC_BITS != 0 {
        return None;
    }
    let written_ms = i64::from_be_bytes(take(rest)?);
    let delay_ms = i64::from(i32::from_be_bytes(take(rest)?));
    let unit = TimerUnit {
        slot_ms: written_ms.checked_add(delay_ms)?,
        written_ms,
        physical_offset: i64::from_be_bytes(take(rest)?),
        record_bytes: i32::from_be_bytes(take(rest)?),
        topic_hash: i32::from_be_bytes(take(rest)?),
        due_ms: i64::from_be_bytes(take(rest)?),
        rolls: magic & MAGIC_ROLL != 0,
        deletes: magic & MAGIC_DELETE != 0,
    };
    Some(Found::Unit { unit, previous })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_javas_bytes() {
        let unit = TimerUnit {
            slot_ms: 10_000,
            written_ms: 4_000,
            due_ms: 10_500,
            physical_offset: 77,
            record_bytes: 300,
            topic_hash: -5,
            rolls: false,
            deletes: true,
        };
        let bytes = unit.encode(NO_UNIT);
        assert_eq!(&bytes[..4], &[0, 0, 0, 52]);
        assert_eq!(&bytes[4..12], &[0xFF; 8]);
        assert_eq!(&bytes[12..16], &[0, 0, 0, 5]);
        assert_eq!(&bytes[24..28], &6_000_i32.to_be_bytes());
        assert_eq!(&bytes[28..36], &77_i64.to_be_bytes());
        assert_eq!(&bytes[36..40], &300_i32.to_be_bytes());
        let previous = NO_UNIT;
        assert_eq!(decode(&bytes), Found::Unit { unit, previous });
        assert_eq!(decode(&bytes[..51]), Found::Nothing);
        assert_eq!(decode(&[0; 52]), Found::Nothing);
    }

    #[test]
    fn the_end_of_a_file_has_javas_magic() {
        let bytes = blank(40);
        assert_eq!(&bytes[..4], &40_i32.to_be_bytes());
        assert_eq!(&bytes[12..], &[0xCB, 0xD4, 0x31, 0x94]);
        assert_eq!(decode(&bytes), Found::EndOfFile);
    }
}
