//! What must survive SIGKILL, and what must not: a file a kind of state.

mod delay;
mod filter;
mod light_queues;
mod locks;
mod offsets;
mod pop;
mod pop_order;
mod timer;
mod topics;
pub(crate) mod transaction;
