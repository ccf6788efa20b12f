//! The name server's configuration: one table of keys with their defaults, read from properties text
//! and `key=value` pairs, dumped and changed at run time by GET and UPDATE_NAMESRV_CONFIG.
//!
//! The CLI fills a [`NamesrvConfig`]; the server keeps it in a [`LiveConfig`]. A command can never
//! change a key of the black list: [`LiveConfig::update`] refuses the whole update.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use thrustmq_proto_compat::properties_text;

use crate::atomic_file;
use crate::config_table::{ConfigValue, config, edit_distance};

/// A row of the configuration table.
#[derive(Debug, Clone, Copy)]
pub struct ConfigKey {
    /// The key in files and commands.
    pub java: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Whether a change at run time counts at once; otherwise at the next start.
    pub live: bool,
}

/// Why a value was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no such key.
    #[error("unknown configuration key '{key}', did you mean '{nearest}'?")]
    UnknownKey {
        /// What came.
        key: String,
        /// The key of the table that looks most like it.
        nearest: &'static str,
    },
    /// The text is not a value of the key's type.
    #[error("configuration key '{key}' needs {expected}, not '{text}'")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What it needs.
        expected: &'static str,
        /// What came.
        text: String,
    },
    /// A `--set` argument without `=`.
    #[error("'{0}' is not key=value")]
    NotAPair(String),
}

config! {
    /// Everything that can be configured. Lengths of time and sizes are in the unit their name says.
    NamesrvConfig {
        /// Address to listen on.
        bind_address "bindAddress": String = "0.0.0.0".to_owned(), fixed;
        /// Port to listen on; 0 takes a free one.
        listen_port "listenPort": u16 = 9876, fixed;
        /// File of the key-value configuration.
        kv_config_path "kvConfigPath": String = in_home("kvConfig.json"), fixed;
        /// File that keeps what commands changed; empty keeps nothing.
        config_store_path "configStorePath": String = in_home("namesrv.properties"), fixed;
        /// Keys, separated by `;`, that commands can not change, beside those that never change.
        config_black_list "configBlackList": String = "configBlackList;configStorePath;kvConfigPath".to_owned(), fixed;
        /// Threads that answer route queries of clients.
        client_request_threads "clientRequestThreadPoolNums": usize = 8, fixed;
        /// Longest queue of route queries.
        client_request_queue_capacity "clientRequestThreadPoolQueueCapacity": usize = 50_000, fixed;
        /// Threads that answer everything else.
        default_threads "defaultThreadPoolNums": usize = 16, fixed;
        /// Longest queue of everything else.
        default_queue_capacity "defaultThreadPoolQueueCapacity": usize = 10_000, fixed;
        /// Pause between two scans for silent brokers, milliseconds.
        scan_interval_ms "scanNotActiveBrokerInterval": u64 = 5_000, live;
        /// Unregistrations that may wait to be applied.
        unregister_queue_capacity "unRegisterBrokerQueueCapacity": usize = 3_000, fixed;
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
        wait_for_service_s "waitSecondsForService": u64 = 45, live;
        /// Drops a broker's topics that its registration does not list. Brokers must then register
        /// single topics by command 217, or a registration of one topic drops the others.
        delete_topic_with_broker_registration "deleteTopicWithBrokerRegistration": bool = false, live;
        /// Calls to one peer under way at a time.
        async_calls_max "serverAsyncSemaphoreValue": usize = 64, fixed;
        /// Oneway requests to one peer that wait to be written.
        oneway_calls_max "serverOnewaySemaphoreValue": usize = 256, fixed;
        /// Connections that the system holds until they are accepted.
        backlog "serverSocketBacklog": u32 = 1024, fixed;
        /// Size of each socket's send buffer, bytes; 0 is the system's default.
        send_buffer_bytes "serverSocketSndBufSize": u32 = 0, fixed;
        /// Size of each socket's receive buffer, bytes; 0 is the system's default.
        receive_buffer_bytes "serverSocketRcvBufSize": u32 = 0, fixed;
        /// A connection silent for so long is closed, seconds.
        idle_s_max "serverChannelMaxIdleTimeSeconds": u64 = 120, fixed;
        /// Longest wait for requests in flight when the server stops, seconds.
        shutdown_wait_s "shutdownWaitTimeSeconds": u64 = 30, fixed;
    }
}

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

/// Keys that no command may change, whatever the black list says: a peer that can redirect a file we
/// write can write anywhere (CVE-2023-37582).
const NEVER_CHANGED: [&str; 4] = [
    "configBlackList",
    "configStorePath",
    "kvConfigPath",
    "rocketmqHome",
];

/// Java's default directory of the name server's files.
fn in_home(file: &str) -> String {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    home.join("namesrv").join(file).display().to_string()
}

/// Reads one value for the table.
pub(crate) fn value<T: ConfigValue>(key: &'static str, text: &str) -> Result<T, ConfigError> {
    T::parse(text).ok_or_else(|| ConfigError::BadValue {
        key,
        expected: T::EXPECTED,
        text: text.to_owned(),
    })
}

/// The error for a key that the table does not have.
pub(crate) fn unknown(key: &str) -> ConfigError {
    let near = NamesrvConfig::KEYS.iter();
    let nearest = near.min_by_key(|k| edit_distance(k.java, key));
    ConfigError::UnknownKey {
        key: key.to_owned(),
        nearest: nearest.map_or("", |k| k.java),
    }
}

impl NamesrvConfig {
    /// Applies a configuration file. Unknown keys are returned as warnings, since files are shared
    /// between versions; a value of the wrong type is an error.
    pub fn apply_properties(&mut self, text: &str) -> Result<Vec<ConfigError>, ConfigError> {
        self.apply(&properties_text::parse(text))
    }

    /// Applies one `key=value`, as of `--set`; an unknown key is an error.
    pub fn apply_pair(&mut self, pair: &str) -> Result<(), ConfigError> {
        let not_a_pair = || ConfigError::NotAPair(pair.to_owned());
        let (key, text) = pair.split_once('=').ok_or_else(not_a_pair)?;
        self.set(key.trim(), text.trim())
    }

    /// All keys and values as properties text, sorted as Java sorts them.
    pub fn to_properties(&self) -> String {
        let mut keys: Vec<&str> = Self::KEYS.iter().map(|k| k.java).collect();
        keys.sort_unstable();
        let entries = keys.iter().filter_map(|key| Some((*key, self.get(key)?)));
        let entries: Vec<(&str, String)> = entries.collect();
        properties_text::write(entries.iter().map(|(key, text)| (*key, text.as_str())))
    }

    fn apply(&mut self, properties: &[(String, String)]) -> Result<Vec<ConfigError>, ConfigError> {
        let mut warnings = Vec::new();
        for (key, value) in properties {
            if WITHOUT_EFFECT.contains(&key.as_str()) {
                tracing::info!(key, "configuration key has no effect here");
                continue;
            }
            match self.set(key, value.trim()) {
                Err(unknown @ ConfigError::UnknownKey { .. }) => warnings.push(unknown),
                done => done?,
            }
        }
        Ok(warnings)
    }

    fn is_black_listed(&self, key: &str) -> bool {
        NEVER_CHANGED.contains(&key) || self.config_black_list.split(';').any(|k| k.trim() == key)
    }
}

/// Why an update at run time was refused; nothing of it was applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    #[error("the key is in the black list")]
    BlackListed,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("configuration can not be kept in {path}: {cause}")]
    NotKept { path: String, cause: std::io::Error },
}

/// The configuration of a running server: read by every request, changed by a command.
#[derive(Debug)]
pub(crate) struct LiveConfig {
    current: RwLock<Arc<NamesrvConfig>>,
    /// Held while an update is written, so that two do not cross.
    updating: Mutex<()>,
}

impl LiveConfig {
    pub(crate) fn new(config: NamesrvConfig) -> Self {
        Self {
            current: RwLock::new(Arc::new(config)),
            updating: Mutex::new(()),
        }
    }

    /// The configuration as it is now.
    pub(crate) fn current(&self) -> Arc<NamesrvConfig> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies properties text, all or nothing, and keeps the result on disk. Unknown keys are warned of.
    pub(crate) fn update(&self, text: &str) -> Result<(), UpdateError> {
        let _updating = self.updating.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        let properties = properties_text::parse(text);
        if properties
            .iter()
            .any(|(key, _)| current.is_black_listed(key))
        {
            return Err(UpdateError::BlackListed);
        }
        let mut next = NamesrvConfig::clone(&current);
        for warning in next.apply(&properties)? {
            tracing::warn!(%warning, "configuration key ignored");
        }
        keep(&next)?;
        log_changes(&current, &next);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }
}

fn keep(config: &NamesrvConfig) -> Result<(), UpdateError> {
    let path = &config.config_store_path;
    if path.is_empty() {
        return Ok(());
    }
    let text = config.to_properties();
    atomic_file::replace(Path::new(path), text.as_bytes()).map_err(|cause| UpdateError::NotKept {
        path: path.clone(),
        cause,
    })
}

fn log_changes(before: &NamesrvConfig, after: &NamesrvConfig) {
    for key in NamesrvConfig::KEYS {
        let (old, new) = (before.get(key.java), after.get(key.java));
        if old != new {
            tracing::info!(
                key = key.java,
                ?old,
                ?new,
                at_once = key.live,
                "configuration changed"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_java_file_is_read_and_unknown_keys_name_the_nearest() {
        let mut config = NamesrvConfig::default();
        let text = "rocketmqHome=/opt\nlistenPort=9999\nsupportActingMaster=TRUE\nlistenPrt=1\n";
        let warnings = config.apply_properties(text).unwrap();
        assert_eq!(
            (config.listen_port, config.support_acting_master),
            (9999, true)
        );
        let unknown = ConfigError::UnknownKey {
            key: "listenPrt".to_owned(),
            nearest: "listenPort",
        };
        assert_eq!(warnings, [unknown]);
    }

    #[test]
    fn a_value_of_the_wrong_type_names_its_key() {
        let error = NamesrvConfig::default().apply_pair("listenPort=http");
        assert_eq!(
            error.unwrap_err().to_string(),
            "configuration key 'listenPort' needs a whole number in range, not 'http'"
        );
        let error = NamesrvConfig::default().apply_pair("listenPort");
        assert_eq!(error, Err(ConfigError::NotAPair("listenPort".to_owned())));
    }

    #[test]
    fn what_is_dumped_is_read_back_and_every_key_is_documented() {
        let mut config = NamesrvConfig::default();
        config.apply_pair("scanNotActiveBrokerInterval=77").unwrap();
        let mut again = NamesrvConfig::default();
        assert_eq!(again.apply_properties(&config.to_properties()), Ok(vec![]));
        assert_eq!(again, config);
        assert!(
            NamesrvConfig::KEYS
                .iter()
                .all(|k| !k.about.trim().is_empty())
        );
    }

    #[test]
    fn an_update_is_kept_or_nothing_of_it_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("namesrv.properties");
        let live = LiveConfig::new(NamesrvConfig {
            config_store_path: path.display().to_string(),
            config_black_list: "listenPort".to_owned(),
            ..NamesrvConfig::default()
        });
        live.update("orderMessageEnable=true\nnonsense=1").unwrap();
        assert!(live.current().order_message_enable);
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept.contains("orderMessageEnable=true\n"), "{kept}");

        for refused in ["listenPort=1", "kvConfigPath=/tmp/x", "rocketmqHome=/x"] {
            let text = format!("orderMessageEnable=false\n{refused}");
            assert!(matches!(live.update(&text), Err(UpdateError::BlackListed)));
        }
        live.update("bindAddress=x\\nkvConfigPath=/etc/passwd")
            .unwrap();
        let mut again = NamesrvConfig::default();
        again
            .apply_properties(&std::fs::read_to_string(&path).unwrap())
            .unwrap();
        assert_eq!(
            again.kv_config_path,
            live.current().kv_config_path,
            "no key slips in by a value"
        );

        let wrong = "orderMessageEnable=false\nenableTopicList=perhaps";
        assert!(matches!(live.update(wrong), Err(UpdateError::Config(_))));
        assert!(live.current().order_message_enable);
    }
}
