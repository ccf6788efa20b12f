//! Half messages: some that the first broker ends, and some that each later one ends.

use thrustmq_integration_tests::requests;
use thrustmq_integration_tests::wire::RawConnection;

use super::PATIENCE;
use crate::survival::transaction::{COMMIT, Half, ROLLBACK, TOPIC};

/// Brokers that end some, besides the first.
const LATER_LIVES: usize = 2;

/// Those that are open.
pub(super) struct Halves {
    open: Vec<Pair>,
    committed: Vec<String>,
}

struct Pair {
    body: String,
    committed: Half,
    rolled_back: Half,
}

impl Halves {
    pub(super) fn prepare(connection: &mut RawConnection) -> anyhow::Result<Self> {
        Half::send(connection, "before")?.end(connection, COMMIT)?;
        Half::send(connection, "rolled back before")?.end(connection, ROLLBACK)?;
        let mut open = Vec::new();
        for number in 0..2 * LATER_LIVES {
            let body = format!("committed {number}");
            open.push(Pair {
                committed: Half::send(connection, &body)?,
                rolled_back: Half::send(connection, &format!("rolled back {number}"))?,
                body,
            });
        }
        Ok(Self {
            open,
            committed: vec!["before".to_owned()],
        })
    }

    /// Ends some, or all that are left.
    pub(super) fn end(
        &mut self,
        connection: &mut RawConnection,
        is_last: bool,
    ) -> anyhow::Result<()> {
        let kept = if is_last { 0 } else { self.open.len() / 2 };
        for pair in self.open.split_off(kept) {
            pair.committed.end(connection, COMMIT)?;
            pair.rolled_back.end(connection, ROLLBACK)?;
            self.committed.push(pair.body);
        }
        Ok(())
    }

    pub(super) fn check(&self, connection: &mut RawConnection) -> anyhow::Result<()> {
        let count = self.committed.len();
        let came = requests::pull_all(connection, TOPIC, 0, count, PATIENCE)?;
        let mut bodies: Vec<&str> = came.iter().map(|message| message.body.as_str()).collect();
        let mut expected: Vec<&str> = self.committed.iter().map(String::as_str).collect();
        bodies.sort_unstable();
        expected.sort_unstable();
        anyhow::ensure!(bodies == expected, "{bodies:?}");
        Ok(())
    }
}
