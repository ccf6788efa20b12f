//! The name server's configuration: one table of keys with their defaults, and what commands may do
//! about them.
//!
//! The CLI fills a [`NamesrvConfig`]; the server keeps it in a [`LiveConfig`], which GET and
//! UPDATE_NAMESRV_CONFIG show and change.

use std::path::{Path, PathBuf};

pub use thrustmq_settings::Settings;
use thrustmq_settings::{FixedKeys, KeptIn, LiveSettings, Rules, config};

/// The configuration of a running server: read by every request, changed by a command.
pub(crate) type LiveConfig = LiveSettings<NamesrvConfig>;

/// Puts a configuration in force. Changes are kept in the file that it came from, if that is where
/// `configStorePath` leads, else in a file that holds every key, as Java's.
pub(crate) fn live(config: NamesrvConfig, source: Option<&Path>) -> LiveConfig {
    let kept_in = match config.config_store_path.as_deref().map(Path::new) {
        None => KeptIn::Memory,
        Some(path) if source == Some(path) => KeptIn::Source(path.to_owned()),
        Some(path) => KeptIn::Dump(path.to_owned()),
    };
    LiveSettings::new(config, kept_in)
}

const RULES: Rules = Rules {
    without_effect: WITHOUT_EFFECT,
    // A peer that can redirect a file we write can write anywhere (CVE-2023-37582).
    never_changed: &["configStorePath", "kvConfigPath", "rocketmqHome"],
    fixed_keys: FixedKeys::CountAtNextStart,
};

/// Keys of Java's name server that mean nothing here: they tune Netty, or name what we do not have.
const WITHOUT_EFFECT: &[&str] = &[
    "rocketmqHome",
    "productEnvName",
    "clusterTest",
    "enableControllerInNamesrv",
    "serverWorkerThreads",
    "serverCallbackExecutorThreads",
    "serverSelectorThreads",
    "writeBufferHighWaterMark",
    "writeBufferLowWaterMark",
    "serverNettyWorkerGroupEnable",
    "serverPooledByteBufAllocatorEnable",
    "enableShutdownGracefully",
    "useEpollNativeSelector",
];

config! {
    /// Everything that can be configured. Lengths of time and sizes are in the unit their name says.
    NamesrvConfig with RULES {
        /// Address to listen on.
        bind_address "bindAddress": String = "0.0.0.0".to_owned(), fixed;
        /// Port to listen on; 0 takes a free one.
        listen_port "listenPort": u16 = 9876, fixed;
        /// File of the key-value configuration.
        kv_config_path "kvConfigPath": String = in_home("kvConfig.json"), fixed;
        /// File that keeps what commands changed; if absent, they count until the server stops.
        config_store_path "configStorePath": Option<String> = Some(in_home("namesrv.properties")), fixed;
        /// Keys, separated by `;`, that commands can not change, beside those that never change.
        config_black_list "configBlackList": Option<String> =
            Some("configBlackList;configStorePath;kvConfigPath".to_owned()), fixed;
        /// Threads that answer route queries of clients.
        client_request_threads "clientRequestThreadPoolNums": usize = 8, fixed in 1..=1_024;
        /// Longest queue of route queries.
        client_request_queue_capacity "clientRequestThreadPoolQueueCapacity": usize = 50_000, fixed in 1..=10_000_000;
        /// Threads that answer everything else.
        default_threads "defaultThreadPoolNums": usize = 16, fixed in 1..=1_024;
        /// Longest queue of everything else.
        default_queue_capacity "defaultThreadPoolQueueCapacity": usize = 10_000, fixed in 1..=10_000_000;
        /// Pause between two scans for silent brokers, milliseconds.
        scan_interval_ms "scanNotActiveBrokerInterval": u64 = 5_000, live in 10..=86_400_000;
        /// Unregistrations that may wait to be applied.
        unregister_queue_capacity "unRegisterBrokerQueueCapacity": usize = 3_000, fixed in 1..=10_000_000;
        /// Adds a topic's order configuration to its route.
        order_message_enable "orderMessageEnable": bool = false, live;
        /// Answers a registration with the order configurations of all topics.
        return_order_topic_config_to_broker "returnOrderTopicConfigToBroker": bool = true, live;
        /// Shows the lowest slave as master while a broker group has none.
        support_acting_master "supportActingMaster": bool = false, live;
        /// Allows listing all topics.
        enable_all_topic_list "enableAllTopicList": bool = true, live;
        /// Allows listing the topics of a cluster or a unit.
        enable_topic_list "enableTopicList": bool = true, live;
        /// Tells the members of a broker group when their lowest broker id changes.
        notify_min_broker_id_changed "notifyMinBrokerIdChanged": bool = false, live;
        /// Refuses route queries for a while after the start, until brokers have registered.
        need_wait_for_service "needWaitForService": bool = false, live;
        /// How long route queries are refused then, seconds.
        wait_for_service_s "waitSecondsForService": u64 = 45, live in 0..=86_400;
        /// Drops a broker's topics that its registration does not list. Brokers must then register
        /// single topics by command 217, or a registration of one topic drops the others.
        delete_topic_with_broker_registration "deleteTopicWithBrokerRegistration": bool = false, live;
        /// Calls to one peer under way at a time.
        async_calls_max "serverAsyncSemaphoreValue": usize = 64, fixed in 1..=1_000_000;
        /// Oneway requests to one peer that wait to be written.
        oneway_calls_max "serverOnewaySemaphoreValue": usize = 256, fixed in 1..=1_000_000;
        /// Connections that the system holds until they are accepted.
        backlog "serverSocketBacklog": u32 = 1024, fixed;
        /// Size of each socket's send buffer, bytes; 0 is the system's default.
        send_buffer_bytes "serverSocketSndBufSize": u32 = 0, fixed;
        /// Size of each socket's receive buffer, bytes; 0 is the system's default.
        receive_buffer_bytes "serverSocketRcvBufSize": u32 = 0, fixed;
        /// A connection silent for so long is closed, seconds.
        idle_s_max "serverChannelMaxIdleTimeSeconds": u64 = 120, fixed in 1..=86_400;
        /// Longest wait for requests in flight when the server stops, seconds.
        shutdown_wait_s "shutdownWaitTimeSeconds": u64 = 30, fixed in 0..=3_600;
    }
}

/// Java's default directory of the name server's files.
fn in_home(file: &str) -> String {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    home.join("namesrv").join(file).display().to_string()
}

#[cfg(test)]
mod tests {
    use thrustmq_settings::UpdateError;

    use super::*;

    #[test]
    fn every_default_is_allowed_by_its_own_row() {
        for (key, text) in NamesrvConfig::default().entries() {
            let mut config = NamesrvConfig::default();
            config.set(key, &text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(config, NamesrvConfig::default(), "{key}");
        }
    }

    #[test]
    fn a_java_file_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "rocketmqHome=/opt\nlistenPort=9999\nsupportActingMaster=TRUE\nlistenPrt=1\n";
        std::fs::write(file.path(), text).unwrap();
        let mut config = NamesrvConfig::load(Some(file.path()), &[]).unwrap();
        assert_eq!(
            (config.listen_port, config.support_acting_master),
            (9999, true)
        );
        let unknown = config.set("listenPrt", "1").unwrap_err().to_string();
        assert!(unknown.ends_with("did you mean listenPort?"), "{unknown}");
    }

    #[test]
    fn an_update_is_kept_or_nothing_of_it_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("namesrv.properties");
        let live = live(
            NamesrvConfig {
                config_store_path: Some(path.display().to_string()),
                config_black_list: Some("listenPort".to_owned()),
                ..NamesrvConfig::default()
            },
            None,
        );
        live.update("orderMessageEnable=true\nnonsense=1").unwrap();
        assert!(live.current().order_message_enable);
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept.contains("orderMessageEnable=true\n"), "{kept}");

        for refused in [
            "listenPort=1",
            "kvConfigPath=/tmp/x",
            "configStorePath=/x",
            "configBlackList=",
            "rocketmqHome=/x",
        ] {
            let text = format!("orderMessageEnable=false\n{refused}");
            assert_eq!(live.update(&text), Err(UpdateError::BlackListed));
        }
        live.update("bindAddress=x\\nkvConfigPath=/etc/passwd")
            .unwrap();
        let again = NamesrvConfig::load(Some(&path), &[]).unwrap();
        assert_eq!(again, *live.current(), "no key slips in by a value");

        let wrong = "orderMessageEnable=false\nenableTopicList=perhaps";
        assert!(matches!(live.update(wrong), Err(UpdateError::Set(_))));
        assert!(live.current().order_message_enable);
    }

    #[test]
    fn changes_are_kept_in_the_file_of_the_start_if_it_is_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("namesrv.conf");
        std::fs::write(&path, "# mine\nlistenPort=1\n").unwrap();
        let mut config = NamesrvConfig::load(Some(&path), &[]).unwrap();
        config.config_store_path = Some(path.display().to_string());
        let live = live(config, Some(&path));
        live.update("orderMessageEnable=true").unwrap();
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept, "# mine\nlistenPort=1\norderMessageEnable=true\n");
    }
}
