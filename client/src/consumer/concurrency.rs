//! How many listeners may be at work at a time, over all queues of a consumer; changed while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// See the module.
#[derive(Debug)]
pub(super) struct Concurrency {
    /// One permit for each listener at work.
    permits: Arc<Semaphore>,
    limit: AtomicUsize,
}

impl Concurrency {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limit)),
            limit: AtomicUsize::new(limit),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Leave to call a listener, if there is some left. Those who wait come first.
    pub(super) fn permit_at_once(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_owned().ok()
    }

    /// Waits for leave to call a listener; `None` once the consumer has ended. Cancel safe.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().acquire_owned().await.ok()
    }

    /// Allows `limit` listeners from now on. Fewer than before take effect as listeners end.
    pub(super) fn set(&self, limit: usize) {
        let before = self.limit.swap(limit, Ordering::Relaxed);
        if limit >= before {
            return self.permits.add_permits(limit - before);
        }
        let fewer = u32::try_from(before - limit).unwrap_or(u32::MAX);
        let permits = self.permits.clone();
        // Ends with the consumer at the latest: it closes the semaphore.
        tokio::spawn(async move {
            if let Ok(permits) = permits.acquire_many_owned(fewer).await {
                permits.forget();
            }
        });
    }

    /// No listener is called any more.
    pub(super) fn close(&self) {
        self.permits.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_limit_may_change_while_listeners_work() {
        let concurrency = Concurrency::new(2);
        let [one, two] = [concurrency.permit().await, concurrency.permit().await];
        concurrency.set(1);
        tokio::task::yield_now().await;
        drop(one);
        tokio::task::yield_now().await;
        assert_eq!(concurrency.permits.available_permits(), 0, "one is enough");
        drop(two);
        tokio::task::yield_now().await;
        assert_eq!(concurrency.permits.available_permits(), 1);
        concurrency.set(4);
        assert_eq!(
            (concurrency.limit(), concurrency.permits.available_permits()),
            (4, 4)
        );
        concurrency.close();
        assert!(concurrency.permit().await.is_none());
    }
}
