//! What a broker is started with.

use std::path::PathBuf;

use thrustmq_store::Disk;

use crate::config::BrokerConfig;

/// How to start a [`crate::BrokerServer`].
#[derive(Debug, Clone, Default)]
pub struct BrokerOptions {
    /// All settings. `store_root_dir` is where everything is kept; with `listen_port` 0 free ports
    /// are taken.
    pub config: BrokerConfig,
    /// The properties file that the settings came from, if one did: changes at run time are written
    /// back to it.
    pub config_file: Option<PathBuf>,
    /// The file system of the store; for tests, one with a watcher.
    pub disk: Disk,
}
