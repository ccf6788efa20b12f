//! What the senders of messages are told when one is not stored. Called by the handlers of sends,
//! batches and send-backs.

use thrustmq_remoting::Refusal;
use thrustmq_store::{AppendError, DiskPlace, NotWritable};

use crate::config::BrokerConfig;
use crate::refusal;

pub(super) fn illegal(config: &BrokerConfig) -> Refusal {
    refusal::message_illegal(config.message_bytes_max)
}

/// What a producer is told when the store does not take its message (03 §3.2, 9).
pub(super) fn append_refusal(config: &BrokerConfig, error: &AppendError) -> Refusal {
    match error {
        AppendError::Illegal { .. } | AppendError::PropertiesTooLong { .. } => illegal(config),
        AppendError::NotWritable(NotWritable::DiskFull(full)) => {
            refusal::disk_full(full, full_dir(config, full.place))
        }
        AppendError::NotWritable(reason) => refusal::store_not_writable(reason),
        AppendError::ShutDown => refusal::store_not_writable("the broker is shutting down"),
        AppendError::CreateFile { source } => {
            tracing::error!(error = %source, "no file to append to");
            refusal::file_not_created()
        }
        AppendError::PageCacheBusy { held_ms } => refusal::page_cache_busy(*held_ms),
        AppendError::TooManyLightQueues { queues_max } => {
            refusal::too_many_light_queues(*queues_max)
        }
    }
}

/// What a producer is told when the message of its commit, or the mark of its rollback, is not stored.
pub(super) fn end_refusal(config: &BrokerConfig, error: &AppendError) -> Refusal {
    match error {
        AppendError::Illegal { .. } | AppendError::PropertiesTooLong { .. } => {
            refusal::commit_illegal(config.message_bytes_max)
        }
        AppendError::NotWritable(_) | AppendError::ShutDown => refusal::commit_not_stored(),
        AppendError::CreateFile { source } => {
            tracing::error!(error = %source, "no file to append to");
            refusal::commit_file_not_created()
        }
        AppendError::PageCacheBusy { .. } => refusal::commit_page_cache_busy(),
        AppendError::TooManyLightQueues { queues_max } => {
            refusal::too_many_light_queues(*queues_max)
        }
    }
}

/// The directory whose disk is full.
fn full_dir(config: &BrokerConfig, place: DiskPlace) -> &str {
    match (place, &config.commit_log_dir) {
        (DiskPlace::CommitLog, Some(dir)) => dir,
        (DiskPlace::CommitLog | DiskPlace::ConsumeQueues, _) => &config.store_root_dir,
    }
}

/// The name that Java gives the state of a failed append, which ends up in remarks of send-backs.
pub(super) fn append_status(error: &AppendError) -> &'static str {
    match error {
        AppendError::Illegal { .. } => "MESSAGE_ILLEGAL",
        AppendError::PropertiesTooLong { .. } => "PROPERTIES_SIZE_EXCEEDED",
        AppendError::NotWritable(_) | AppendError::ShutDown => "SERVICE_NOT_AVAILABLE",
        AppendError::CreateFile { .. } => "CREATE_MAPPED_FILE_FAILED",
        AppendError::PageCacheBusy { .. } => "OS_PAGE_CACHE_BUSY",
        AppendError::TooManyLightQueues { .. } => "LMQ_CONSUME_QUEUE_NUM_EXCEEDED",
    }
}
