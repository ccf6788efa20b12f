//! A broker's own settings, statistics and role.

use crate::header;

header! {
    /// The version of the settings; the settings are the body.
    GetBrokerConfigResponseHeader {
        version "version": String,
    }

    /// One item of the statistics.
    ViewBrokerStatsDataRequestHeader {
        stats_name "statsName": String,
        stats_key "statsKey": String,
    }

    /// Name server to broker: the group's smallest broker id is another now.
    NotifyMinBrokerIdChangeRequestHeader {
        min_broker_id "minBrokerId": Option<i64>,
        broker_name "brokerName": Option<String>,
        min_broker_address "minBrokerAddr": Option<String>,
        offline_broker_address "offlineBrokerAddr": Option<String>,
        ha_broker_address "haBrokerAddr": Option<String>,
    }

    /// Master and slave tell each other where they replicate from; request and answer alike.
    ExchangeHAInfoHeader {
        master_address "masterAddress": Option<String>,
        master_ha_address "masterHaAddress": Option<String>,
        master_flush_offset "masterFlushOffset": Option<i64>,
    }

    /// Sets how far the master is flushed.
    ResetMasterFlushOffsetHeader {
        master_flush_offset "masterFlushOffset": i64,
    }

    /// Controller to broker: the group has another master.
    NotifyBrokerRoleChangedRequestHeader {
        master_address "masterAddress": Option<String>,
        master_epoch "masterEpoch": Option<i32>,
        sync_state_set_epoch "syncStateSetEpoch": Option<i32>,
        master_broker_id "masterBrokerId": Option<i64>,
    }
}
