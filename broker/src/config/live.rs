//! The configuration in force, and its version for mqadmin.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use thrustmq_proto_compat::body::DataVersion;
use thrustmq_proto_compat::clock::Clock;
use thrustmq_proto_compat::fastjson;
use thrustmq_settings::{KeptIn, LiveSettings, UpdateError, Updated};

use super::BrokerConfig;

/// A handle of the configuration in force; clones show the same.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: LiveSettings<BrokerConfig>,
    version: Mutex<DataVersion>,
    clock: Clock,
}

impl LiveConfig {
    /// Puts a configuration in force. `file` is the properties file it came from, if one did: it
    /// follows every change.
    pub fn new(config: BrokerConfig, file: Option<PathBuf>, clock: Clock) -> Self {
        let kept_in = file.map_or(KeptIn::Memory, KeptIn::Source);
        Self {
            shared: Arc::new(Shared {
                settings: LiveSettings::new(config, kept_in),
                version: Mutex::default(),
                clock,
            }),
        }
    }

    /// The configuration now.
    pub fn current(&self) -> Arc<BrokerConfig> {
        self.shared.settings.current()
    }

    /// Changes keys, all or none, and writes them to the file they came from.
    ///
    /// # Errors
    /// A key is on the black list or fixed, or a value is not what its key takes.
    pub(crate) fn update(&self, text: &str) -> Result<Updated, UpdateError> {
        let updated = self.shared.settings.update(text)?;
        if !updated.changed.is_empty() {
            let version = self.shared.version.lock();
            let mut version = version.expect("no holder of this lock panics");
            version.next(0, self.shared.clock.now_ms());
        }
        Ok(updated)
    }

    /// The version of the configuration, as JSON.
    pub(crate) fn version_json(&self) -> String {
        let version = self
            .shared
            .version
            .lock()
            .expect("no holder of this lock panics");
        let json = fastjson::to_vec(&*version).unwrap_or_default();
        String::from_utf8_lossy(&json).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> LiveConfig {
        LiveConfig::new(BrokerConfig::default(), None, Clock::by_hand(1))
    }

    #[test]
    fn each_change_is_a_version() {
        let live = live();
        live.update("autoCreateTopicEnable=false\nmaxMessageSize=9")
            .unwrap();
        assert!(!live.clone().current().auto_create_topic);
        assert!(live.version_json().contains("\"counter\":1"));
        let same = live.update("listenPort=10911\nnoSuchKey=1").unwrap();
        assert_eq!(same.unknown, ["noSuchKey"]);
        assert!(live.version_json().contains("\"counter\":1"));
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let live = live();
        let refused = |text: &str| live.update(text).unwrap_err();
        assert_eq!(refused("configBlackList="), UpdateError::BlackListed);
        assert_eq!(
            refused("brokerConfigPath=/etc/passwd"),
            UpdateError::BlackListed
        );
        let listed = BrokerConfig {
            config_black_list: "traceOn; regionId".to_owned(),
            ..BrokerConfig::default()
        };
        let guarded = LiveConfig::new(listed, None, Clock::by_hand(1));
        assert_eq!(guarded.update("regionId=x"), Err(UpdateError::BlackListed));
        let fixed = "autoCreateTopicEnable=false\nlistenPort=1";
        assert!(matches!(refused(fixed), UpdateError::Fixed { .. }));
        let bad = "autoCreateTopicEnable=false\nbrokerPermission=x";
        assert!(matches!(refused(bad), UpdateError::Set(_)));
        assert_eq!(*live.current(), BrokerConfig::default());
        assert!(live.version_json().contains("\"counter\":0"));
    }
}
