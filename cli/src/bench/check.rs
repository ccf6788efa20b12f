//! What was acknowledged has to be what is stored, and what was pulled has to be without a gap.

use std::time::Duration;

use anyhow::{bail, ensure};

use super::arguments::BenchArguments;
use super::measured::Measured;
use super::target;

/// Queues may be behind the log for a moment; Java's more than ours.
const STORED_TRIES: u32 = 100;
const STORED_DELAY: Duration = Duration::from_millis(100);

/// How many messages the topic has more than `before`, once there are as many as were acknowledged.
pub(super) async fn stored_since(
    before: u64,
    arguments: &BenchArguments,
    acknowledged: u64,
) -> anyhow::Result<u64> {
    let mut stored = 0;
    for _ in 0..STORED_TRIES {
        let targets = target::find(arguments).await?;
        stored = target::stored(&targets).saturating_sub(before);
        if stored >= acknowledged {
            break;
        }
        tokio::time::sleep(STORED_DELAY).await;
    }
    Ok(stored)
}

/// Compares a run with what is stored.
///
/// # Errors
/// A message was lost, or more are stored than were sent.
pub(super) fn sent(sum: &Measured, stored: u64) -> anyhow::Result<()> {
    let Measured {
        done, uncertain, ..
    } = sum;
    ensure!(
        stored >= *done,
        "{done} messages were acknowledged, but only {stored} are stored"
    );
    ensure!(
        stored - done <= *uncertain,
        "{done} messages were acknowledged and {uncertain} may be stored as well, but {stored} \
         are: does somebody else send to the topic?"
    );
    Ok(())
}

/// Tells what was wrong with what was pulled: all that was `stored`, where that was to be.
///
/// # Errors
/// Something was.
pub(super) fn pulled(sum: &Measured, stored: Option<u64>) -> anyhow::Result<()> {
    if let Some(mismatch) = &sum.mismatch {
        bail!("{mismatch}");
    }
    let received = sum.done;
    ensure!(
        stored.is_none_or(|stored| stored == received),
        "{} messages are stored, but {received} were received",
        stored.unwrap_or_default()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_has_to_be_what_was_acknowledged() {
        let mut sum = Measured::new();
        (sum.done, sum.uncertain) = (10, 2);
        assert!(sent(&sum, 10).is_ok() && sent(&sum, 12).is_ok());
        let said = |stored| sent(&sum, stored).unwrap_err().to_string();
        assert_eq!(
            said(9),
            "10 messages were acknowledged, but only 9 are stored"
        );
        let received = |stored| pulled(&sum, stored).is_ok();
        assert_eq!(
            [None, Some(10), Some(11)].map(received),
            [true, true, false]
        );
        assert!(said(13).ends_with("but 13 are: does somebody else send to the topic?"));
    }
}
