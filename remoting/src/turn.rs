//! A turn of a worker thread: what its jobs leave behind is done once for all of them, at its end.
//! First the answers go out, then whoever follows what the jobs did is woken: a producer should not
//! wait for that.
//!
//! A thread that has nothing more to do writes the answers itself, which saves the wake-up of the
//! connections' tasks, and runs what its jobs had others do, if it is little. As long as jobs come, the
//! tasks and the others do it meanwhile.

use std::cell::RefCell;
use std::mem;
use std::sync::Arc;
use std::task::Waker;

/// So many connections a thread writes to itself; more are faster on several threads.
const WRITTEN_MAX: usize = 4;

/// So many jobs of others a thread runs at the end of a turn: those who wait for the turn's answers may
/// have sent it more requests meanwhile.
const TAKEN_OVER_MAX: usize = 4;

/// What one of another pool's threads would run.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Answers of one connection that wait to be written.
pub(crate) trait Answers: Send + Sync {
    /// Has the connection's task write them.
    fn wake(&self);
    /// Writes them on this thread, as far as the socket takes them at once; the task does the rest.
    fn write(&self);
}

thread_local! {
    static TURN: RefCell<Left> = const { RefCell::new(Left::nothing()) };
}

/// What the jobs of a turn left to be done.
struct Left {
    is_on: bool,
    answers: Vec<Arc<dyn Answers>>,
    followers: Vec<Waker>,
    taken_over: Vec<Job>,
    /// How many were taken over in this turn.
    taken_over_count: usize,
}

impl Left {
    const fn nothing() -> Self {
        Self {
            is_on: false,
            answers: Vec::new(),
            followers: Vec::new(),
            taken_over: Vec::new(),
            taken_over_count: 0,
        }
    }

    fn is_nothing(&self) -> bool {
        self.answers.is_empty() && self.followers.is_empty() && self.taken_over.is_empty()
    }
}

/// The turn of this thread; it ends when this is dropped.
#[must_use]
pub(crate) struct Turn(());

impl Turn {
    pub(crate) fn begin() -> Self {
        TURN.with_borrow_mut(|left| left.is_on = true);
        Self(())
    }

    /// Has done what is left so far; the turn goes on.
    pub(crate) fn flush(&self) {
        finish_with(|answers| answers.iter().for_each(|answers| answers.wake()));
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // What is done last may leave something as well.
        while !TURN.with_borrow(Left::is_nothing) {
            finish_with(write_some);
            let taken_over = TURN.with_borrow_mut(|left| mem::take(&mut left.taken_over));
            taken_over.into_iter().for_each(|job| job());
        }
        TURN.with_borrow_mut(|left| {
            left.is_on = false;
            left.taken_over_count = 0;
        });
    }
}

fn write_some(answers: &[Arc<dyn Answers>]) {
    let (written, others) = answers.split_at(answers.len().min(WRITTEN_MAX));
    others.iter().for_each(|answers| answers.wake());
    written.iter().for_each(|answers| answers.write());
}

fn finish_with(send: impl FnOnce(&[Arc<dyn Answers>])) {
    // Taken out meanwhile, for what is called may come back here.
    let (mut answers, mut followers) = TURN.with_borrow_mut(|left| {
        let answers = mem::take(&mut left.answers);
        (answers, mem::take(&mut left.followers))
    });
    send(&answers);
    followers.drain(..).for_each(Waker::wake);
    answers.clear();
    // Their memory is for the next turn, unless those that were called left something new.
    TURN.with_borrow_mut(|left| {
        if left.answers.is_empty() {
            left.answers = answers;
        }
        if left.followers.is_empty() {
            left.followers = followers;
        }
    });
}

/// Has answers written at the end of this thread's turn; now, if it has none.
pub(crate) fn send_after_turn<A: Answers + 'static>(answers: &Arc<A>) {
    let is_on = TURN.with_borrow_mut(|left| {
        if left.is_on {
            left.answers.push(Arc::<A>::clone(answers));
        }
        left.is_on
    });
    if !is_on {
        answers.wake();
    }
}

/// Wakes whoever follows what handlers do, once for all of this thread's turn and when its answers
/// are on their way. `false`: the thread is in no turn, nothing was done.
pub fn wake_after_turn(follower: &Waker) -> bool {
    TURN.with_borrow_mut(|left| {
        if left.is_on && !left.followers.iter().any(|known| known.will_wake(follower)) {
            left.followers.push(follower.clone());
        }
        left.is_on
    })
}

/// Has a job run at the end of this thread's turn; gives it back if the thread has none, or has enough.
pub(crate) fn take_over(job: Job) -> Result<(), Job> {
    TURN.with_borrow_mut(|left| {
        if !left.is_on || left.taken_over_count >= TAKEN_OVER_MAX {
            return Err(job);
        }
        left.taken_over_count += 1;
        left.taken_over.push(job);
        Ok(())
    })
}

#[cfg(test)]
mod tests;
