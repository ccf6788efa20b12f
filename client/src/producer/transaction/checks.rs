//! Brokers that did not hear the end of a transaction ask for it (39): the requests come in on remoting's
//! thread, and a task of the producer answers them with what the application's `check` says.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use thrustmq_proto_compat::command::Command;
use thrustmq_proto_compat::header::{
    CheckTransactionStateRequestHeader, EndTransactionRequestHeader,
};
use thrustmq_proto_compat::message::message_ext::MessageExt;
use thrustmq_proto_compat::request_code::{CheckTransactionState, EndTransaction};
use thrustmq_remoting::{Handled, Incoming, Peer, Pool, PoolOptions, Reply, Routes};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::Resolution;
use crate::ReceivedMessage;
use crate::namespace::Namespace;
use crate::received::BODY_BYTES_MAX;
use crate::stop::StopSignal;

/// Checks that may wait; what comes above that the broker asks again.
const WAITING_MAX: usize = 1_000;
/// Checks under way at a time.
const RUNNING_MAX: usize = 16;

type Checking = Pin<Box<dyn Future<Output = Resolution> + Send>>;

/// The application's `check`, without its type.
#[derive(Clone)]
pub(in crate::producer) struct Checker {
    call: Arc<dyn Fn(ReceivedMessage) -> Checking + Send + Sync>,
}

impl Checker {
    pub(in crate::producer) fn new<F, Fut>(check: F) -> Self
    where
        F: Fn(ReceivedMessage) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Resolution> + Send + 'static,
    {
        Self {
            call: Arc::new(move |message| Box::pin(check(message))),
        }
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checker")
    }
}

/// A broker asks what became of a transaction.
#[derive(Debug)]
struct Check {
    header: CheckTransactionStateRequestHeader,
    half: Bytes,
    broker: Peer,
}

struct Inbox {
    checks: mpsc::Sender<Check>,
}

/// Passes a check on. One that finds no room is dropped: the broker asks again.
fn take_check(
    inbox: &Inbox,
    incoming: Incoming<CheckTransactionStateRequestHeader>,
) -> Handled<()> {
    let check = Check {
        half: incoming.command.body.to_bytes(),
        header: incoming.header,
        broker: incoming.peer,
    };
    if inbox.checks.try_send(check).is_err() {
        debug!("check of a transaction dropped: too many wait, or the producer stops");
    }
    Ok(Reply::success())
}

/// Answers checks: what the application's `check` says, in the name of a group.
#[derive(Debug, Clone)]
pub(super) struct Answerer {
    pub(super) group: String,
    pub(super) namespace: Namespace,
    pub(super) checker: Checker,
}

/// What the task that answers checks owns.
pub(super) struct Checks {
    receiver: mpsc::Receiver<Check>,
    pool: Arc<Pool>,
    answerer: Answerer,
}

/// The routes of the producer's connections, and where checks arrive.
pub(super) struct Served {
    pub(super) routes: Arc<Routes>,
    pub(super) checks: Checks,
}

/// Lets brokers ask.
pub(super) fn serve(answerer: Answerer) -> Served {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let pool = Pool::new(PoolOptions {
        name: "client-requests",
        threads: 1,
        queue_capacity: WAITING_MAX,
        lends: 0,
    });
    let routes = Routes::builder(Arc::new(Inbox { checks: sender }))
        .on::<CheckTransactionState>(&pool, take_check)
        .build();
    let checks = Checks {
        receiver,
        pool,
        answerer,
    };
    Served { routes, checks }
}

impl Checks {
    /// Answers until `stop`.
    pub(super) async fn answer(mut self, mut stop: StopSignal) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.stopped() => break,
                Some(check) = self.receiver.recv(), if running.len() < RUNNING_MAX => {
                    running.spawn(self.answerer.clone().answer(check));
                }
                Some(ended) = running.join_next() => {
                    if let Err(cause) = ended {
                        warn!(%cause, "check of a transaction failed: the broker asks again");
                    }
                }
            }
        }
        // Those under way are given up: the broker asks again.
        running.shutdown().await;
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        // Waits for a handler that only passes on.
        self.pool.shutdown();
    }
}

impl Answerer {
    async fn answer(self, check: Check) {
        let Check {
            header,
            half,
            broker,
        } = check;
        let mut message = match MessageExt::decode(&half, BODY_BYTES_MAX) {
            Ok(message) => message,
            Err(cause) => {
                warn!(%cause, "check of a transaction cannot be read");
                return;
            }
        };
        self.namespace.unwrap(&mut message.topic);
        let msg_id = message.message_id();
        let resolution = (self.checker.call)(message).await;
        let end = EndTransactionRequestHeader {
            topic: header.topic,
            producer_group: self.group,
            tran_state_table_offset: header.tran_state_table_offset,
            commit_log_offset: header.commit_log_offset,
            commit_or_rollback: resolution.flag(),
            from_transaction_check: true,
            msg_id,
            transaction_id: header.transaction_id,
            broker_name: header.broker_name,
        };
        // Without an answer, since brokers do not answer `Unknown`; what is lost is asked again.
        if let Err(cause) = broker.oneway(Command::request::<EndTransaction>(&end)) {
            debug!(%cause, "end of a transaction not sent: the broker asks again");
        }
    }
}
