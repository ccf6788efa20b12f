//! The sends under way: how many and how many bytes there may be, and whether all have ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::SendError;
use crate::stop::StopSource;

/// See the module.
#[derive(Debug)]
pub(crate) struct InFlight {
    sends: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    limits: InFlightLimits,
    stop: StopSource,
}

/// How much may be under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlightLimits {
    pub(crate) sends: u32,
    pub(crate) bytes: u32,
}

/// A send under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _send: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl InFlight {
    pub(crate) fn new(limits: InFlightLimits) -> Self {
        Self {
            sends: Arc::new(Semaphore::new(limits.sends as usize)),
            bytes: Arc::new(Semaphore::new(limits.bytes as usize)),
            limits,
            stop: StopSource::new(),
        }
    }

    /// Waits for a place for so many bytes; more than the limit counts as the limit.
    pub(crate) async fn enter(&self, bytes: usize) -> Result<Place, SendError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let sends = self.sends.clone().acquire_owned();
        let send = sends.await.map_err(|_| SendError::ShutDown)?;
        if self.stop.is_stopped() {
            return Err(SendError::ShutDown);
        }
        let bytes = bytes.min(self.limits.bytes);
        let bytes = self.bytes.clone().acquire_many_owned(bytes);
        let bytes = bytes.await.map_err(|_| SendError::ShutDown)?;
        Ok(Place {
            _send: send,
            _bytes: bytes,
        })
    }

    /// Lets no further send in.
    pub(crate) fn close_entry(&self) {
        self.stop.stop();
    }

    /// Waits until every send has ended, or the time is over. Whether all have.
    pub(crate) async fn settled(&self, within: Duration) -> bool {
        let all = self.sends.acquire_many(self.limits.sends);
        matches!(tokio::time::timeout(within, all).await, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn enters(in_flight: &InFlight, bytes: usize) -> Option<Place> {
        let entered = tokio::time::timeout(Duration::from_millis(1), in_flight.enter(bytes)).await;
        entered.ok().map(|place| place.unwrap())
    }

    #[tokio::test]
    async fn both_limits_hold() {
        let in_flight = InFlight::new(InFlightLimits {
            sends: 2,
            bytes: 100,
        });
        let one = enters(&in_flight, 60).await;
        assert!(one.is_some());
        assert!(enters(&in_flight, 60).await.is_none(), "120 bytes");
        let two = enters(&in_flight, 40).await;
        assert!(two.is_some());
        assert!(enters(&in_flight, 0).await.is_none(), "three sends");
        drop((one, two));
        let long = enters(&in_flight, 1_000).await;
        assert!(long.is_some(), "one that is too long goes alone");
        assert!(enters(&in_flight, 1).await.is_none());
    }

    #[tokio::test]
    async fn what_entered_is_waited_for() {
        let in_flight = InFlight::new(InFlightLimits {
            sends: 2,
            bytes: 100,
        });
        let place = in_flight.enter(1).await.unwrap();
        in_flight.close_entry();
        let late = in_flight.enter(1).await.unwrap_err();
        assert!(matches!(late, SendError::ShutDown));
        assert!(!in_flight.settled(Duration::from_millis(1)).await);
        drop(place);
        assert!(in_flight.settled(Duration::from_secs(1)).await);
    }
}
