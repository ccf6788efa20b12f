//! What came on a connection, as whole frames that are read where they lie: a pull's records are
//! copied by the kernel only.

use thrustmq_proto_compat::frame::{FRAME_BYTES_MAX, FrameError};

const LENGTH_BYTES: usize = 4;
/// Every frame has a mark: encoding and header length.
const MARK_BYTES: usize = 4;
/// Read at once; a longer frame gets more.
const ROOM_BYTES: usize = 256 * 1024;

/// Bytes received, of which those between `start` and `end` are not taken yet.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; ROOM_BYTES],
            start: 0,
            end: 0,
        }
    }

    /// Forgets what came on a connection that is no more.
    pub(super) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Where the next bytes are to be read to; never empty.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.bytes.len() {
            self.bytes.resize(self.end.saturating_mul(2), 0);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes were read.
    pub(super) fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.bytes.len());
    }

    /// The next whole frame, without its length field.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let received = self.bytes.get(self.start..self.end).unwrap_or_default();
        let Some(length) = received.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length);
        let frame_bytes = length as usize + LENGTH_BYTES;
        if frame_bytes > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(frame_bytes as u64));
        }
        if (length as usize) < MARK_BYTES {
            return Err(FrameError::TooShort(length));
        }
        let frame = received.get(LENGTH_BYTES..frame_bytes);
        if frame.is_some() {
            self.start += frame_bytes;
        }
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(inbox: &mut Inbox, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = inbox.room();
            let count = room.len().min(rest.len());
            room[..count].copy_from_slice(&rest[..count]);
            inbox.filled(count);
            rest = &rest[count..];
        }
    }

    #[test]
    fn frames_come_out_whole_however_they_came_in() {
        let frame = |length: usize, byte| {
            let mut frame = (length as u32).to_be_bytes().to_vec();
            frame.resize(LENGTH_BYTES + length, byte);
            frame
        };
        let bytes = [frame(5, 1), frame(700_000, 2), frame(4, 3)].concat();
        for cut in [0, 1, 4, 9, 10, 500_000, bytes.len() - 1] {
            let mut inbox = Inbox::new();
            let mut lengths = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                put(&mut inbox, part);
                while let Some(frame) = inbox.next().unwrap() {
                    lengths.push((frame.len(), frame[0]));
                }
            }
            assert_eq!(lengths, [(5, 1), (700_000, 2), (4, 3)], "{cut}");
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for (length, is_error) in [(3_u32, true), (u32::MAX, true), (4, false)] {
            let mut inbox = Inbox::new();
            put(&mut inbox, &length.to_be_bytes());
            assert_eq!(inbox.next().is_err(), is_error, "{length}");
        }
    }
}
