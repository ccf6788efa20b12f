//! Reads messages shortly before they are due, on the keeper's thread: the messages of one second may
//! lie at a thousand places of the log that nobody touched for hours, and a disk that is busy with
//! something else takes longer for a thousand reads than a message may be late.
//!
//! What is read is forgotten: the kernel keeps it. What can not be read the delivery will find, and say.

use thrustmq_store::Store;

use super::Timer;
use super::placement::WheelShape;

/// So long before they are due messages are read.
const AHEAD_MS: i64 = 4_000;
/// Messages that are read of one slot; of more the delivery takes long anyway.
const SLOT_MESSAGES_MAX: usize = 10_000;

/// How far it has read.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    end_ms: i64,
}

impl Ahead {
    /// Reads what is due soon and was not read yet.
    pub(super) fn read(&mut self, timer: &Timer, store: &Store, now_ms: i64) {
        for slot_ms in self.slots(&timer.shape, now_ms) {
            let units = timer.files.units_of(slot_ms).unwrap_or_default();
            for unit in units.iter().take(SLOT_MESSAGES_MAX) {
                // What comes of it is the delivery's affair.
                drop(store.record_at(unit.physical_offset));
            }
        }
    }

    /// The slots whose turn it is: each once, as long as the clock goes forwards.
    fn slots(&mut self, shape: &WheelShape, now_ms: i64) -> impl Iterator<Item = i64> {
        let now_slot_ms = shape.floor(now_ms);
        let end_ms = shape.floor(now_ms.saturating_add(AHEAD_MS));
        // A clock that was set back begins again.
        let is_known = (now_slot_ms..=end_ms).contains(&self.end_ms);
        let from_ms = if is_known { self.end_ms } else { now_slot_ms };
        self.end_ms = end_ms;
        let step = usize::try_from(shape.precision_ms).unwrap_or(1).max(1);
        (from_ms..end_ms).step_by(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_read_once_and_before_it_is_due() {
        let shape = WheelShape::new(1_000, 3_600);
        let mut ahead = Ahead::default();
        let mut slots = |now_ms| ahead.slots(&shape, now_ms).collect::<Vec<_>>();
        assert_eq!(slots(10_500), [10_000, 11_000, 12_000, 13_000]);
        assert!(slots(10_900).is_empty());
        assert_eq!(slots(11_100), [14_000]);
        assert_eq!(slots(13_050), [15_000, 16_000]);
        // After a pause, and a clock that was set back, from now on.
        assert_eq!(slots(60_000), [60_000, 61_000, 62_000, 63_000]);
        assert_eq!(slots(20_000), [20_000, 21_000, 22_000, 23_000]);
    }
}
