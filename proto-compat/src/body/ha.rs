//! How replication goes.

use super::table::bodies;

bodies! {
    /// A broker's part in it.
    HARuntimeInfo {
        ha_client_runtime_info "haClientRuntimeInfo": HAClientRuntimeInfo,
        ha_connection_info "haConnectionInfo": Vec<HAConnectionRuntimeInfo>,
        in_sync_slave_nums "inSyncSlaveNums": i32,
        master "master": bool,
        master_commit_log_max_offset "masterCommitLogMaxOffset": i64,
    }

    /// A slave, as its master sees it.
    HAConnectionRuntimeInfo {
        addr "addr": String,
        diff "diff": i64,
        in_sync "inSync": bool,
        slave_ack_offset "slaveAckOffset": i64,
        transfer_from_where "transferFromWhere": i64,
        transferred_byte_in_second "transferredByteInSecond": i64,
    }

    /// A slave, as it sees itself.
    HAClientRuntimeInfo {
        last_read_timestamp "lastReadTimestamp": i64,
        last_write_timestamp "lastWriteTimestamp": i64,
        master_addr "masterAddr": Option<String>,
        master_flush_offset "masterFlushOffset": i64,
        max_offset "maxOffset": i64,
        transferred_byte_in_second "transferredByteInSecond": i64,
    }
}
