//! Places of the store that could not be read, so that each is told of once.
//!
//! Reads report here at the store's border; consumers try again and again.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::error::ReadError;

/// More places than that are told of again.
const PLACES_MAX: usize = 1_000;

/// The places told of.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    places: Mutex<HashSet<(PathBuf, u64)>>,
}

impl Unreadable {
    /// Logs an error that somebody should look at, unless that was done.
    pub(crate) fn report(&self, error: &ReadError) {
        let (path, position) = match error {
            ReadError::Disk { path, position, .. } | ReadError::Damaged { path, position, .. } => {
                (path, *position)
            }
            ReadError::OutOfRange { .. } | ReadError::NoRecord { .. } | ReadError::NotInMemory => {
                return;
            }
        };
        if self.is_news(path.clone(), position) {
            tracing::error!(%error, "stored messages cannot be read");
        }
    }

    fn is_news(&self, path: PathBuf, position: u64) -> bool {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= PLACES_MAX {
            places.clear();
        }
        places.insert((path, position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_news_once() {
        let unreadable = Unreadable::default();
        assert!(unreadable.is_news("a".into(), 1));
        assert!(!unreadable.is_news("a".into(), 1));
        assert!(unreadable.is_news("a".into(), 2) && unreadable.is_news("b".into(), 1));
        for position in 0..=PLACES_MAX as u64 {
            unreadable.is_news("c".into(), position);
        }
        assert!(unreadable.places.lock().unwrap().len() <= PLACES_MAX);
    }
}
