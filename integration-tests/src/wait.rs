//! Waiting for something to become true, by asking again.

use std::thread;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer, for about `timeout`; the error says what was waited for.
pub fn wait_for<T>(
    what: &str,
    timeout: Duration,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let attempts = timeout.as_millis() / PAUSE.as_millis() + 1;
    for _ in 0..attempts {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        thread::sleep(PAUSE);
    }
    anyhow::bail!("waited {timeout:?} for {what}")
}
