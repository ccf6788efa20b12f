//! Whether and how a failed send is tried again. Pure decisions; `producer/mod.rs` acts on them.

use std::time::Duration;

use thrustmq_proto_compat::response_code::ResponseCode;

/// Answers after which another broker may do better: Java's default set (02-remoting §2.7).
const RETRY_CODES: [ResponseCode; 8] = [
    ResponseCode::TOPIC_NOT_EXIST,
    ResponseCode::SERVICE_NOT_AVAILABLE,
    ResponseCode::SYSTEM_ERROR,
    ResponseCode::SYSTEM_BUSY,
    ResponseCode::NO_PERMISSION,
    ResponseCode::NO_BUYER_ID,
    ResponseCode::NOT_IN_CURRENT_UNIT,
    ResponseCode::GO_AWAY,
];

/// Whether a refused message may be sent to another broker.
pub(crate) fn is_retried(code: ResponseCode) -> bool {
    RETRY_CODES.contains(&code)
}

/// The tries of one message within one budget of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tries {
    begun: u32,
    left: u32,
    deadline_ms: i64,
}

impl Tries {
    /// `count` tries that end at `deadline_ms`.
    pub(crate) fn new(count: u32, deadline_ms: i64) -> Self {
        Self {
            begun: 0,
            left: count,
            deadline_ms,
        }
    }

    /// How many tries were begun.
    pub(crate) fn begun(&self) -> u32 {
        self.begun
    }

    /// Begins the next try and says how long it may take; `None`: no try or no time is left.
    ///
    /// With another broker to go to, a try gets its share of the time left, so that one broker that
    /// does not answer cannot eat the whole budget. With one broker only it gets all of it: asking
    /// the same slow broker twice would store the message twice.
    pub(crate) fn begin(&mut self, now_ms: i64, has_other_broker: bool) -> Option<Duration> {
        let left_ms = u64::try_from(self.deadline_ms - now_ms).ok()?;
        if self.left == 0 || left_ms == 0 {
            return None;
        }
        let share = if has_other_broker {
            u64::from(self.left)
        } else {
            1
        };
        self.left -= 1;
        self.begun += 1;
        Some(Duration::from_millis((left_ms / share).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retry_set_is_that_of_java() {
        for code in [17, 14, 1, 2, 16, 204, 205, 1500] {
            assert!(is_retried(ResponseCode(code)), "{code}");
        }
        for code in [0, 3, 13, 29] {
            assert!(!is_retried(ResponseCode(code)), "{code}");
        }
    }

    #[test]
    fn a_silent_broker_gets_only_its_share() {
        let mut tries = Tries::new(3, 3_000);
        assert_eq!(tries.begin(0, true), Some(Duration::from_millis(1_000)));
        assert_eq!(tries.begin(1_000, true), Some(Duration::from_millis(1_000)));
        assert_eq!(tries.begin(1_010, true), Some(Duration::from_millis(1_990)));
        assert_eq!(tries.begin(1_020, true), None, "three tries");
    }

    #[test]
    fn the_only_broker_gets_all_the_time() {
        let mut tries = Tries::new(3, 3_000);
        assert_eq!(tries.begin(0, false), Some(Duration::from_millis(3_000)));
        assert_eq!(tries.begin(3_000, false), None, "no time left");
        assert_eq!(tries.begin(3_001, false), None);
    }
}
