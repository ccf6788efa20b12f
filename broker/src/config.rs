//! The broker's configuration: one table of keys, and the values that are in force.
//!
//! A key comes from the properties file of `-c`, from `--set key=value` or, while the broker runs,
//! from mqadmin. The table (`table.rs`) is the one place that names keys: a field, its Java key,
//! its type and range, its default, and whether it may change at run time. Keys that the broker
//! doesn't act on are not in it: naming one is answered with a warning and the nearest known key.

mod host;
mod live;
mod table;
mod without_effect;
mod words;

pub use live::LiveConfig;
pub use table::BrokerConfig;
pub use thrustmq_settings::Settings;
pub use words::{BrokerRole, FlushDiskType, RequestMode};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_default_is_allowed_by_its_own_row() {
        let defaults = BrokerConfig::default();
        for (key, text) in defaults.entries() {
            let mut config = BrokerConfig::default();
            config.set(key, &text).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(config.get(key), Some(text), "{key}");
        }
    }

    #[test]
    fn no_key_stands_in_the_table_twice() {
        let distinct: HashSet<_> = BrokerConfig::KEYS.iter().map(|key| key.name).collect();
        assert_eq!(distinct.len(), BrokerConfig::KEYS.len());
    }

    #[test]
    fn keys_without_effect_are_taken_and_are_not_in_the_table() {
        let taken = BrokerConfig::RULES.without_effect;
        let distinct: HashSet<_> = taken.iter().collect();
        assert_eq!(distinct.len(), taken.len());
        let mut config = BrokerConfig::default();
        for key in taken {
            let pair = ((*key).to_owned(), "whatever".to_owned());
            assert!(config.apply(&[pair]).unwrap().is_empty(), "{key}");
            assert_eq!(config.get(key), None, "{key}");
        }
        assert_eq!(config, BrokerConfig::default());
    }

    #[test]
    fn a_bad_value_names_key_value_and_what_is_allowed() {
        let mut config = BrokerConfig::default();
        let error = config.set("brokerPermission", "8").unwrap_err();
        assert_eq!(
            error.to_string(),
            "configuration key brokerPermission can not be '8', allowed is a whole number from 0 to 7"
        );
        let error = config.set("flushDiskType", "SYNC").unwrap_err();
        assert!(error.to_string().ends_with("ASYNC_FLUSH or SYNC_FLUSH"));
        assert!(config.set("brokerRole", "SLAVE").is_err());
        assert_eq!(config, BrokerConfig::default());
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let mut config = BrokerConfig::default();
        let error = config.set("autoCreateTopicEnabled", "false").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown configuration key autoCreateTopicEnabled, did you mean autoCreateTopicEnable?"
        );
    }

    #[test]
    fn assignments_win_over_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "# ours\nbrokerName = broker-x\nlistenPort=10000\nnoSuchKey=1\n";
        std::fs::write(file.path(), text).unwrap();
        let set = ["listenPort=10100".to_owned()];
        let config = BrokerConfig::load(Some(file.path()), &set).unwrap();
        assert_eq!(config.broker_name, "broker-x");
        assert_eq!(config.listen_port, 10_100);
    }
}
