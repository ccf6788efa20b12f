//! What retention goes by: its options, which may change, and what it remembers from pass to pass.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::options::RetentionOptions;

/// Options and memory of retention.
#[derive(Debug)]
pub(crate) struct Retention {
    options: Mutex<RetentionOptions>,
    pass: Mutex<Pass>,
}

/// What one pass leaves to the next.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// The file that could not go because a reader holds it.
    pub(crate) held: Option<HeldFile>,
    /// Queues and index were trimmed to this start of the log.
    pub(crate) followed: i64,
    /// Whether the log already says that files go which have not expired.
    pub(crate) is_forced: bool,
}

/// A file that a reader holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldFile {
    pub(crate) start: i64,
    /// When it was to go for the first time.
    pub(crate) since_ms: i64,
}

impl Retention {
    pub(crate) fn new(options: RetentionOptions) -> Self {
        Self {
            options: Mutex::new(options),
            pass: Mutex::default(),
        }
    }

    /// Changes the options; they count from the next pass on.
    pub(crate) fn set_options(&self, options: RetentionOptions) {
        *self.lock_options() = options;
    }

    /// The options now.
    pub(crate) fn options(&self) -> RetentionOptions {
        self.lock_options().clone()
    }

    fn lock_options(&self) -> MutexGuard<'_, RetentionOptions> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held during a pass.
    pub(crate) fn pass(&self) -> MutexGuard<'_, Pass> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
