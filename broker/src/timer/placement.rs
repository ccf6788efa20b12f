//! Which slot a message with a time of its own waits in. Decisions only: no files, no clock.

use thrustmq_proto_compat::message::properties;
use thrustmq_proto_compat::message::property_name as name;

/// How the wheel is divided, and how far ahead it looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WheelShape {
    /// Milliseconds of a slot.
    pub(crate) precision_ms: i64,
    /// A message further ahead than this enters the timer anew on the way, slots.
    roll_window_slots: i64,
}

/// Slots ahead that a wheel can tell apart: half of them all, less some room (Java's constants).
const ROLL_WINDOW_SLOTS_MAX: i64 = 7 * 24 * 3600 - 60;

impl WheelShape {
    /// A window that is too small or too large is the largest one, as in Java.
    pub(crate) fn new(precision_ms: i64, roll_window_slots: i64) -> Self {
        let is_usable = (2..=ROLL_WINDOW_SLOTS_MAX).contains(&roll_window_slots);
        Self {
            precision_ms,
            roll_window_slots: if is_usable {
                roll_window_slots
            } else {
                ROLL_WINDOW_SLOTS_MAX
            },
        }
    }

    /// The slot that a time lies in.
    pub(crate) fn floor(&self, time_ms: i64) -> i64 {
        time_ms - time_ms.rem_euclid(self.precision_ms)
    }

    /// The slot of a message that is due at a time. A slot's own time belongs to the slot before, so
    /// that a broker that waits for the end of slots is not late (`HookUtils.transformTimerMessage`).
    pub(crate) fn slot_of_due(&self, due_ms: i64) -> i64 {
        self.floor(due_ms.saturating_sub(1))
    }

    /// When the messages of a slot are due of which no exact time is known.
    pub(crate) fn end_of(&self, slot_ms: i64) -> i64 {
        slot_ms.saturating_add(self.precision_ms)
    }

    /// The slot before one.
    pub(crate) fn slot_before(&self, slot_ms: i64) -> i64 {
        slot_ms.saturating_sub(self.precision_ms)
    }

    /// Where a message waits whose slot is `out_ms`, and which enters the timer at `now_ms`.
    pub(super) fn place(&self, out_ms: i64, now_ms: i64) -> Place {
        let written_ms = self.floor(now_ms);
        let window_ms = self.roll_window_slots.saturating_mul(self.precision_ms);
        let beyond_ms = out_ms.saturating_sub(written_ms).saturating_sub(window_ms);
        if beyond_ms < 0 {
            return Place {
                slot_ms: self.floor(out_ms),
                rolls: false,
            };
        }
        // Not to the very end of the window if little would be left for the next round (Java).
        let is_nearly_there = beyond_ms < self.roll_window_slots / 3 * self.precision_ms;
        let ahead_ms = if is_nearly_there {
            self.roll_window_slots / 2 * self.precision_ms
        } else {
            window_ms
        };
        Place {
            slot_ms: written_ms.saturating_add(ahead_ms),
            rolls: true,
        }
    }
}

/// A slot, and whether a message only waits there to enter the timer anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot_ms: i64,
    pub(super) rolls: bool,
}

/// When a message wants to be delivered, by its properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// So long after it was sent, milliseconds.
    After(i64),
    /// At this time, milliseconds.
    At(i64),
    /// It says what nobody can read.
    Unreadable,
}

impl Wish {
    /// The first of Java's three properties that is there; none: the message is not for the timer.
    pub(crate) fn of(properties_text: &str) -> Option<Self> {
        let get = |name| properties::get(properties_text, name);
        let wish = if let Some(seconds) = get(name::TIMER_DELAY_SEC) {
            let seconds = seconds.parse().ok();
            let after_ms = seconds.and_then(|seconds: i64| seconds.checked_mul(1_000));
            after_ms.map(Self::After)
        } else if let Some(after_ms) = get(name::TIMER_DELAY_MS) {
            after_ms.parse().ok().map(Self::After)
        } else {
            get(name::TIMER_DELIVER_MS)?.parse().ok().map(Self::At)
        };
        Some(wish.unwrap_or(Self::Unreadable))
    }

    /// The time that is meant by a message of `from_ms`.
    pub(crate) fn due_ms(self, from_ms: i64) -> Option<i64> {
        match self {
            Self::After(after_ms) => from_ms.checked_add(after_ms),
            Self::At(at_ms) => Some(at_ms),
            Self::Unreadable => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: WheelShape = WheelShape {
        precision_ms: 1_000,
        roll_window_slots: 30,
    };

    #[test]
    fn a_time_belongs_to_the_slot_whose_end_it_does_not_pass() {
        assert_eq!(SHAPE.slot_of_due(5_001), 5_000);
        assert_eq!(SHAPE.slot_of_due(5_999), 5_000);
        assert_eq!(SHAPE.slot_of_due(6_000), 5_000);
        assert_eq!(WheelShape::new(1_000, 1).roll_window_slots, 604_740);
        assert_eq!(WheelShape::new(1_000, 172_800).roll_window_slots, 172_800);
    }

    #[test]
    fn what_is_far_ahead_rolls_by_the_window_or_half_of_it() {
        let place = |out_ms| SHAPE.place(out_ms, 100_500);
        let at = |slot_ms, rolls| Place { slot_ms, rolls };
        assert_eq!(place(129_000), at(129_000, false));
        assert_eq!(place(130_000), at(115_000, true));
        assert_eq!(place(139_000), at(115_000, true));
        assert_eq!(place(140_000), at(130_000, true));
        assert_eq!(place(999_000), at(130_000, true));
    }

    #[test]
    fn rolling_ends() {
        for out_ms in (100_000..400_000).step_by(1_000) {
            let (mut now_ms, mut rolls) = (100_000, 0);
            loop {
                let place = SHAPE.place(out_ms, now_ms);
                assert!(place.slot_ms <= out_ms, "never beyond its time");
                if !place.rolls {
                    break;
                }
                assert!(place.slot_ms > now_ms);
                now_ms = place.slot_ms + 1_000;
                rolls += 1;
            }
            assert!(rolls <= 12, "{out_ms} rolls {rolls} times");
        }
    }

    #[test]
    fn the_first_of_three_properties_counts() {
        let text = |entries: &[(&str, &str)]| {
            let mut text = String::new();
            for (name, value) in entries {
                properties::push(&mut text, name, value);
            }
            Wish::of(&text)
        };
        assert_eq!(text(&[("KEYS", "k")]), None);
        let all = [
            ("TIMER_DELIVER_MS", "7"),
            ("TIMER_DELAY_MS", "8"),
            ("TIMER_DELAY_SEC", "9"),
        ];
        assert_eq!(text(&all), Some(Wish::After(9_000)));
        assert_eq!(text(&all[..2]), Some(Wish::After(8)));
        assert_eq!(text(&all[..1]), Some(Wish::At(7)));
        let bad = text(&[("TIMER_DELAY_SEC", "x"), ("TIMER_DELIVER_MS", "7")]);
        assert_eq!(bad, Some(Wish::Unreadable));
        assert_eq!(Wish::After(i64::MAX).due_ms(1), None);
    }
}
