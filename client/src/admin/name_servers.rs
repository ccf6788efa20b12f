//! Name servers: their configuration, the values they keep, and brokers that they send no producers to.
//! They do not know of each other, so what changes something asks each of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use thrustmq_proto_compat::body::KVTable;
use thrustmq_proto_compat::header::{
    AddWritePermOfBrokerRequestHeader, DeleteKVConfigRequestHeader, GetKVConfigRequestHeader,
    GetKVListByNamespaceRequestHeader, PutKVConfigRequestHeader,
    WipeWritePermOfBrokerRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    AddWritePermOfBroker, DeleteKvConfig, GetKvConfig, GetKvListByNamespace, GetNamesrvConfig,
    PutKvConfig, UpdateNamesrvConfig, WipeWritePermOfBroker,
};
use thrustmq_proto_compat::response_code::ResponseCode;

use super::brokers::{BrokerSetting, properties_text};
use super::{Admin, is_refused_with};
use crate::error::AdminError;

/// What one name server did with the permission of a broker's topics.
///
/// ```no_run
/// # async fn example(admin: thrustmq_client::Admin) -> Result<(), thrustmq_client::AdminError> {
/// for change in admin.wipe_write_permission("broker-a").await? {
///     println!("{} changed {} topics", change.address, change.topics);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionChange {
    /// The name server.
    pub address: String,
    /// Topics that changed.
    pub topics: i32,
}

impl Admin {
    /// The addresses of the name servers that this client knows.
    pub fn name_servers(&self) -> Vec<String> {
        self.link.name_servers().addresses().to_vec()
    }

    /// A name server's whole configuration.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn name_server_config(
        &self,
        address: &str,
    ) -> Result<BTreeMap<String, String>, AdminError> {
        self.properties::<GetNamesrvConfig>(address).await
    }

    /// Changes keys of the configuration of every name server.
    ///
    /// # Errors
    /// One does not answer, or a key or value is not allowed; those before it have changed then.
    pub async fn set_name_server_config(
        &self,
        settings: &[BrokerSetting<'_>],
    ) -> Result<(), AdminError> {
        for address in self.name_servers() {
            self.call::<UpdateNamesrvConfig>(&address, &(), properties_text(settings))
                .await?;
        }
        Ok(())
    }

    /// A value that the name servers keep; nothing if it is not there.
    ///
    /// # Errors
    /// The name server does not answer.
    pub async fn value(&self, namespace: &str, key: &str) -> Result<Option<String>, AdminError> {
        let header = GetKVConfigRequestHeader {
            namespace: namespace.to_owned(),
            key: key.to_owned(),
        };
        let address = self.name_server()?;
        match self.call::<GetKvConfig>(&address, &header, "").await {
            Ok(found) => Ok(found.value),
            Err(error) if is_refused_with(&error, &[ResponseCode::QUERY_NOT_FOUND]) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All values of a namespace that the name servers keep.
    ///
    /// # Errors
    /// The name server does not answer.
    pub async fn values(&self, namespace: &str) -> Result<BTreeMap<String, String>, AdminError> {
        let header = GetKVListByNamespaceRequestHeader {
            namespace: namespace.to_owned(),
        };
        let address = self.name_server()?;
        let asked = self.ask::<GetKvListByNamespace, KVTable>(&address, &header);
        match asked.await {
            Ok(found) => Ok(found.table),
            Err(error) if is_refused_with(&error, &[ResponseCode::QUERY_NOT_FOUND]) => {
                Ok(BTreeMap::new())
            }
            Err(error) => Err(error),
        }
    }

    /// Has every name server keep a value.
    ///
    /// # Errors
    /// One does not answer; those before it keep the value then.
    pub async fn put_value(
        &self,
        namespace: &str,
        key: &str,
        value: &str,
    ) -> Result<(), AdminError> {
        let header = PutKVConfigRequestHeader {
            namespace: namespace.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        };
        for address in self.name_servers() {
            self.call::<PutKvConfig>(&address, &header, "").await?;
        }
        Ok(())
    }

    /// Has every name server forget a value.
    ///
    /// # Errors
    /// One does not answer; those before it have forgotten the value then.
    pub async fn delete_value(&self, namespace: &str, key: &str) -> Result<(), AdminError> {
        let header = DeleteKVConfigRequestHeader {
            namespace: namespace.to_owned(),
            key: key.to_owned(),
        };
        for address in self.name_servers() {
            self.call::<DeleteKvConfig>(&address, &header, Bytes::new())
                .await?;
        }
        Ok(())
    }

    /// Lets producers find no queue of a broker any more, as before it is stopped: consumers can still
    /// empty it. It lasts until [`Admin::add_write_permission`], or until the broker registers changed
    /// topics.
    ///
    /// # Errors
    /// A name server does not answer.
    pub async fn wipe_write_permission(
        &self,
        broker_name: &str,
    ) -> Result<Vec<PermissionChange>, AdminError> {
        let header = WipeWritePermOfBrokerRequestHeader {
            broker_name: broker_name.to_owned(),
        };
        let mut changes = Vec::new();
        for address in self.name_servers() {
            let changed = self.call::<WipeWritePermOfBroker>(&address, &header, "");
            let topics = changed.await?.wipe_topic_count;
            changes.push(PermissionChange { address, topics });
        }
        Ok(changes)
    }

    /// Lets producers find a broker's queues again.
    ///
    /// # Errors
    /// A name server does not answer.
    pub async fn add_write_permission(
        &self,
        broker_name: &str,
    ) -> Result<Vec<PermissionChange>, AdminError> {
        let header = AddWritePermOfBrokerRequestHeader {
            broker_name: broker_name.to_owned(),
        };
        let mut changes = Vec::new();
        for address in self.name_servers() {
            let changed = self.call::<AddWritePermOfBroker>(&address, &header, "");
            let topics = changed.await?.add_topic_count;
            changes.push(PermissionChange { address, topics });
        }
        Ok(changes)
    }
}
