//! Transactions.

use crate::header;

header! {
    /// Commits or rolls back a half message.
    EndTransactionRequestHeader {
        topic "topic": Option<String>,
        producer_group "producerGroup": String,
        /// The half message's queue offset.
        tran_state_table_offset "tranStateTableOffset": i64,
        commit_log_offset "commitLogOffset": i64,
        /// The transaction bits of sysFlag: 0 unknown, 8 commit, 12 roll back.
        commit_or_rollback "commitOrRollback": i32,
        from_transaction_check "fromTransactionCheck": bool = false,
        msg_id "msgId": String,
        transaction_id "transactionId": Option<String>,
        broker_name "bname": Option<String>,
    }

    /// Broker to producer: what became of this half message?
    CheckTransactionStateRequestHeader {
        topic "topic": Option<String>,
        tran_state_table_offset "tranStateTableOffset": i64,
        commit_log_offset "commitLogOffset": i64,
        msg_id "msgId": Option<String>,
        transaction_id "transactionId": Option<String>,
        offset_msg_id "offsetMsgId": Option<String>,
        broker_name "bname": Option<String>,
    }

    /// Lets a half message be checked again.
    ResumeCheckHalfMessageRequestHeader {
        topic "topic": Option<String>,
        msg_id "msgId": Option<String>,
    }
}
