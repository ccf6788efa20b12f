//! Brokers: what they do now, and their configuration.

use std::collections::BTreeMap;

use bytes::Bytes;
use thrustmq_proto_compat::body::{HARuntimeInfo, KVTable};
use thrustmq_proto_compat::request_code::{
    CleanExpiredConsumeQueue, CleanUnusedTopic, DeleteExpiredCommitLog, GetBrokerConfig,
    GetBrokerHaStatus, GetBrokerRuntimeInfo, UpdateBrokerConfig,
};
use thrustmq_proto_compat::table::CommandSpec;

use super::{Admin, failed};
use crate::error::AdminError;

/// How a broker replicates: as master the slaves that it sees, as slave its master.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// let address = admin.broker_address("broker-a").await?;
/// println!("{:?}", admin.replication(&address).await?);
/// # Ok(())
/// # }
/// ```
pub type Replication = HARuntimeInfo;

/// A key of a broker's configuration with its value, both as in `broker.conf`.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// for (key, value) in admin.broker_config("127.0.0.1:10911").await? {
///     println!("{key} is {value}");
/// }
/// # Ok(())
/// # }
/// ```
pub type BrokerSetting<'a> = (&'a str, &'a str);

impl Admin {
    /// What a broker says of itself: version, rates, offsets, disks, pools. The names are RocketMQ's.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn broker_info(&self, address: &str) -> Result<BTreeMap<String, String>, AdminError> {
        let info: KVTable = self.ask::<GetBrokerRuntimeInfo, _>(address, &()).await?;
        Ok(info.table)
    }

    /// A broker's whole configuration.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn broker_config(
        &self,
        address: &str,
    ) -> Result<BTreeMap<String, String>, AdminError> {
        self.properties::<GetBrokerConfig>(address).await
    }

    /// Changes keys of a broker's configuration, as a whole or not at all.
    ///
    /// # Errors
    /// It does not answer, or a key or value is not allowed.
    pub async fn set_broker_config(
        &self,
        address: &str,
        settings: &[BrokerSetting<'_>],
    ) -> Result<(), AdminError> {
        let text = properties_text(settings);
        self.call::<UpdateBrokerConfig>(address, &(), text).await?;
        Ok(())
    }

    /// How a broker replicates.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn replication(&self, address: &str) -> Result<Replication, AdminError> {
        self.ask::<GetBrokerHaStatus, _>(address, &()).await
    }

    /// Lets a broker remove index files and consume queues of messages that are gone. It does so by itself
    /// in time.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn clean_expired_queues(&self, address: &str) -> Result<(), AdminError> {
        self.call::<CleanExpiredConsumeQueue>(address, &(), "")
            .await
    }

    /// Lets a broker remove consume queues of topics that it does not know any more.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn clean_unused_topics(&self, address: &str) -> Result<(), AdminError> {
        self.call::<CleanUnusedTopic>(address, &(), "").await
    }

    /// Lets a broker delete now the files of its commit log whose time is over.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn delete_expired_files(&self, address: &str) -> Result<(), AdminError> {
        self.call::<DeleteExpiredCommitLog>(address, &(), "").await
    }

    /// A server's answer of lines `key=value`.
    pub(super) async fn properties<C: CommandSpec<Request = ()>>(
        &self,
        address: &str,
    ) -> Result<BTreeMap<String, String>, AdminError> {
        let called = self.link.call::<C>(address, &(), Bytes::new()).await;
        let reply = called.map_err(|cause| failed(address, cause))?;
        let body = reply.body.to_bytes();
        let text = String::from_utf8_lossy(&body);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let settings = lines.filter_map(|line| line.split_once('='));
        Ok(settings
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect())
    }
}

/// Settings as servers take them.
pub(super) fn properties_text(settings: &[BrokerSetting<'_>]) -> String {
    let lines = settings
        .iter()
        .map(|(key, value)| format!("{key}={value}\n"));
    lines.collect()
}
