//! Transactions: a message that is stored at once and delivered once the application's own work is
//! done, or never. [`TransactionProducer`] stores it and tells the broker the end; a task answers
//! brokers that did not hear of it.

mod checks;

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use thrustmq_proto_compat::header::EndTransactionRequestHeader;
use thrustmq_proto_compat::message::id::OffsetId;
use thrustmq_proto_compat::message::{property_name, sys_flag};
use thrustmq_proto_compat::request_code::EndTransaction;
use thrustmq_remoting::CallError;
use tokio::task::JoinHandle;
use tracing::debug;

pub(super) use checks::Checker;

use super::{Producer, ProducerBuilder, SendReceipt, SendStatus, master_address};
use crate::error::{SendError, StartError};
use crate::message::{Message, MessageError};
use crate::stop::StopSource;
use checks::{Answerer, Served};

/// What became of a transaction.
///
/// ```
/// use thrustmq_client::Resolution;
/// fn resolve(is_paid: Option<bool>) -> Resolution {
///     match is_paid {
///         Some(true) => Resolution::Commit,
///         Some(false) => Resolution::Rollback,
///         None => Resolution::Unknown,
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The message is to be delivered.
    Commit,
    /// The message is to be forgotten.
    Rollback,
    /// It is not known yet: the broker asks again later, 15 times by default, and then gives the
    /// message up.
    Unknown,
}

impl Resolution {
    fn flag(self) -> i32 {
        match self {
            Self::Commit => sys_flag::TRANSACTION_COMMIT,
            Self::Rollback => sys_flag::TRANSACTION_ROLLBACK,
            Self::Unknown => 0,
        }
    }
}

/// Why a transaction did not go as it should.
///
/// ```
/// use thrustmq_client::TransactionError;
/// /// The broker will ask what became of it.
/// fn will_be_asked(why: &TransactionError) -> bool {
///     matches!(why, TransactionError::Unconfirmed { .. })
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The message is not stored; the local work was not begun.
    #[error("{0}")]
    Send(#[from] SendError),
    /// The message is stored less safely than the broker is configured to, and was rolled back.
    #[error(
        "the message was stored less safely than it should be ({status:?}) and is rolled back: \
         look at the broker's disk and replicas"
    )]
    Unsafe {
        /// How it was stored.
        status: SendStatus,
    },
    /// The broker did not confirm the end. It will ask the producers of the group what became of
    /// the transaction.
    #[error(
        "broker '{broker_name}' did not confirm the end of the transaction and will ask for it: {cause}"
    )]
    Unconfirmed {
        /// The broker.
        broker_name: String,
        /// What came of the call.
        cause: CallError,
    },
}

/// Sends messages that are delivered when the application says so.
///
/// The broker keeps such a message out of sight until it hears [`Resolution::Commit`]. If it does not
/// hear anything, because the producer crashed or the network failed, it asks a producer of the
/// group, whose `check` has to find out what became of the work. So work and message succeed or
/// fail together, as long as `check` can tell.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use thrustmq_client::{Message, Producer, Resolution};
///
/// # async fn is_paid(_order: &str) -> bool { true }
/// # async fn pay(_order: &str) -> Result<(), std::io::Error> { Ok(()) }
/// let producer = Producer::builder("payments")
///     .name_servers("127.0.0.1:9876")
///     .start_transactions(|message| async move {
///         match message.keys().next() {
///             Some(order) if is_paid(order).await => Resolution::Commit,
///             _ => Resolution::Rollback,
///         }
///     })
///     .await?;
///
/// let transaction = producer.begin(Message::new("paid", "4711").key("4711")).await?;
/// match pay("4711").await {
///     Ok(()) => transaction.commit().await?,
///     Err(_) => transaction.roll_back().await?,
/// }
/// producer.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TransactionProducer {
    producer: Producer,
    stop: StopSource,
    /// Answers checks; taken by shutdown.
    checking: Mutex<Option<JoinHandle<()>>>,
}

/// A message that is stored and waits for its end. Dropped, it is left to the broker's check.
///
/// ```no_run
/// # async fn example(producer: thrustmq_client::TransactionProducer) -> Result<(), Box<dyn std::error::Error>> {
/// use thrustmq_client::Message;
/// let transaction = producer.begin(Message::new("payments", "4711")).await?;
/// match std::fs::write("paid", "4711") {
///     Ok(()) => transaction.commit().await?,
///     Err(_) => transaction.roll_back().await?,
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the message is delivered after `commit` only"]
pub struct Transaction {
    producer: Producer,
    receipt: SendReceipt,
}

pub(super) async fn start(
    builder: ProducerBuilder,
    checker: Checker,
) -> Result<TransactionProducer, StartError> {
    let answerer = Answerer {
        group: builder.group(),
        namespace: builder.namespace(),
        checker,
    };
    let Served { routes, checks } = checks::serve(answerer);
    let producer = builder.start_serving(Some(routes)).await?;
    let stop = StopSource::new();
    let checking = tokio::spawn(checks.answer(stop.signal()));
    Ok(TransactionProducer {
        producer,
        stop,
        checking: Mutex::new(Some(checking)),
    })
}

impl TransactionProducer {
    /// Stores the message out of everybody's sight.
    ///
    /// # Errors
    /// It is not stored, or not as safely as the broker is configured to; then it will not be
    /// delivered.
    pub async fn begin(&self, message: Message) -> Result<Transaction, TransactionError> {
        let inner = &self.producer.inner;
        check_for_transaction(&message).map_err(SendError::from)?;
        let half = message
            .with_system(property_name::TRANSACTION_PREPARED, "true")
            .with_system(property_name::PRODUCER_GROUP, inner.sender.group.as_str());
        let receipt = self.producer.send(half).await?;
        let status = receipt.status;
        let transaction = Transaction {
            producer: self.producer.clone(),
            receipt,
        };
        if status != SendStatus::Stored {
            transaction.roll_back().await?;
            return Err(TransactionError::Unsafe { status });
        }
        Ok(transaction)
    }

    /// Stores the message, does `work`, and ends the transaction as that says. With
    /// [`Resolution::Unknown`] it is left to the broker's check.
    ///
    /// # Errors
    /// See [`TransactionError`]. If the message could not be stored, `work` is not begun.
    pub async fn send<F, Fut>(
        &self,
        message: Message,
        work: F,
    ) -> Result<SendReceipt, TransactionError>
    where
        F: FnOnce(SendReceipt) -> Fut,
        Fut: Future<Output = Resolution>,
    {
        let transaction = self.begin(message).await?;
        let receipt = transaction.receipt.clone();
        let resolution = work(receipt.clone()).await;
        transaction.end(resolution).await?;
        Ok(receipt)
    }

    /// For messages without a transaction.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Stops answering checks, and shuts the producer down as [`Producer::shutdown`] does. Brokers ask
    /// another producer of the group, or this one's successor.
    pub async fn shutdown(&self) {
        self.stop.stop();
        let checking = self.checking.lock();
        let checking = checking.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(checking) = checking
            && let Err(cause) = checking.await
        {
            debug!(%cause, "task that answers checks ended badly");
        }
        self.producer.shutdown().await;
    }
}

impl Transaction {
    /// Where the message is stored, and its ids.
    pub fn receipt(&self) -> &SendReceipt {
        &self.receipt
    }

    /// Delivers the message.
    ///
    /// # Errors
    /// The broker did not confirm it; it will ask.
    pub async fn commit(self) -> Result<(), TransactionError> {
        self.end(Resolution::Commit).await
    }

    /// Forgets the message.
    ///
    /// # Errors
    /// The broker did not confirm it; it will ask.
    pub async fn roll_back(self) -> Result<(), TransactionError> {
        self.end(Resolution::Rollback).await
    }

    async fn end(self, resolution: Resolution) -> Result<(), TransactionError> {
        if resolution == Resolution::Unknown {
            return Ok(()); // A broker does nothing with it, and does not answer it.
        }
        let link = &self.producer.inner.link;
        let queue = &self.receipt.queue;
        let header = self.end_header(resolution)?;
        let topic = link.namespace.wrap(&queue.topic);
        let route = link.publish_route(&topic).await;
        let route = route.map_err(SendError::from)?;
        let address = master_address(&route, queue)?;
        let ended = link
            .call::<EndTransaction>(address, &header, Bytes::new())
            .await;
        ended
            .map(drop)
            .map_err(|cause| TransactionError::Unconfirmed {
                broker_name: queue.broker_name.clone(),
                cause,
            })
    }

    fn end_header(&self, resolution: Resolution) -> Result<EndTransactionRequestHeader, SendError> {
        let SendReceipt {
            queue,
            msg_id,
            offset_msg_id,
            queue_offset,
            transaction_id,
            ..
        } = &self.receipt;
        let place = OffsetId::decode(offset_msg_id).map_err(|cause| SendError::BadAnswer {
            broker_name: queue.broker_name.clone(),
            cause: format!("message id '{offset_msg_id}': {cause}"),
        })?;
        let namespace = &self.producer.inner.link.namespace;
        Ok(EndTransactionRequestHeader {
            topic: Some(namespace.wrap(&queue.topic).into_owned()),
            producer_group: self.producer.inner.sender.group.clone(),
            tran_state_table_offset: *queue_offset,
            commit_log_offset: place.physical_offset,
            commit_or_rollback: resolution.flag(),
            from_transaction_check: false,
            msg_id: msg_id.clone(),
            transaction_id: transaction_id.clone(),
            broker_name: Some(queue.broker_name.clone()),
        })
    }
}

fn check_for_transaction(message: &Message) -> Result<(), MessageError> {
    if message.is_delayed() {
        return Err(MessageError::NotForTransaction("delayed"));
    }
    Ok(())
}
