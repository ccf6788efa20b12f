//! Topics: their configuration, and lists of them.

use std::collections::{BTreeMap, BTreeSet};

use super::table::bodies;
use super::{DataVersion, TopicFilterType, TopicQueueMappingDetail, TopicQueueMappingInfo};
use crate::fastjson;

const SEPARATOR: char = ' ';

bodies! {
    /// How a broker keeps a topic.
    TopicConfig {
        attributes "attributes": BTreeMap<String, String>,
        order "order": bool,
        /// 1 inherit, 2 write, 4 read.
        perm "perm": i32 = 6,
        read_queue_nums "readQueueNums": i32 = 16,
        topic_filter_type "topicFilterType": TopicFilterType,
        topic_name "topicName": String,
        /// 1 unit, 2 unit subscription.
        topic_sys_flag "topicSysFlag": i32,
        write_queue_nums "writeQueueNums": i32 = 16,
    }

    /// All topics of a broker: `topics.json`.
    TopicConfigSerializeWrapper {
        data_version "dataVersion": DataVersion,
        topic_config_table "topicConfigTable": BTreeMap<String, TopicConfig>,
    }

    /// All topics of a broker, with static topics' mappings.
    TopicConfigAndMappingSerializeWrapper {
        data_version "dataVersion": DataVersion,
        mapping_data_version "mappingDataVersion": DataVersion,
        topic_config_table "topicConfigTable": BTreeMap<String, TopicConfig>,
        topic_queue_mapping_detail_map "topicQueueMappingDetailMap": BTreeMap<String, TopicQueueMappingDetail>,
        topic_queue_mapping_info_map "topicQueueMappingInfoMap": BTreeMap<String, TopicQueueMappingInfo>,
    }

    /// One topic, with its static mapping if it has one.
    TopicConfigAndQueueMapping {
        attributes "attributes": BTreeMap<String, String>,
        mapping_detail "mappingDetail": Option<TopicQueueMappingDetail>,
        order "order": bool,
        perm "perm": i32 = 6,
        read_queue_nums "readQueueNums": i32 = 16,
        topic_filter_type "topicFilterType": TopicFilterType,
        topic_name "topicName": String,
        topic_sys_flag "topicSysFlag": i32,
        write_queue_nums "writeQueueNums": i32 = 16,
    }

    /// Topics to create.
    CreateTopicListRequestBody {
        topic_config_list "topicConfigList": Vec<TopicConfig>,
    }

    /// Names of topics.
    #[derive(Eq)]
    TopicList {
        broker_addr "brokerAddr": Option<String>,
        topic_list "topicList": BTreeSet<String>,
    }

    /// Names and values: runtime information, values of a namespace.
    #[derive(Eq)]
    KVTable {
        table "table": BTreeMap<String, String>,
    }
}

impl TopicConfig {
    /// A topic with Java's defaults: 16 queues, readable and writable.
    pub fn new(topic_name: impl Into<String>) -> Self {
        Self {
            topic_name: topic_name.into(),
            ..Self::default()
        }
    }

    /// The line form in a compressed registration, which knows neither `order` nor `topic_sys_flag`.
    /// `None` if the text is not one.
    pub(super) fn from_line(line: &str) -> Option<Self> {
        let mut words = line.splitn(6, SEPARATOR);
        let mut config = Self::new(words.next()?);
        config.read_queue_nums = words.next()?.parse().ok()?;
        config.write_queue_nums = words.next()?.parse().ok()?;
        config.perm = words.next()?.parse().ok()?;
        config.topic_filter_type = TopicFilterType::from_name(words.next()?)?;
        // Brokers before 5.0 write no attributes.
        let attributes = words.next().filter(|json| !json.is_empty());
        if let Some(Ok(attributes)) = attributes.map(|json| fastjson::from_slice(json.as_bytes())) {
            config.attributes = attributes;
        }
        Some(config)
    }
}

impl From<TopicConfig> for TopicConfigAndQueueMapping {
    fn from(config: TopicConfig) -> Self {
        Self {
            attributes: config.attributes,
            mapping_detail: None,
            order: config.order,
            perm: config.perm,
            read_queue_nums: config.read_queue_nums,
            topic_filter_type: config.topic_filter_type,
            topic_name: config.topic_name,
            topic_sys_flag: config.topic_sys_flag,
            write_queue_nums: config.write_queue_nums,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_and_without_attributes() {
        let plain = TopicConfig::from_line("t 8 4 6 SINGLE_TAG").unwrap();
        assert_eq!((plain.read_queue_nums, plain.write_queue_nums), (8, 4));
        let full = TopicConfig::from_line("t 8 4 6 MULTI_TAG {\"a b\":\"c d\"}").unwrap();
        assert_eq!(full.topic_filter_type, TopicFilterType::MultiTag);
        assert_eq!(full.attributes["a b"], "c d");
        for wrong in ["", "t", "t x 4 6 SINGLE_TAG", "t 8 4 6 OTHER", "t 8 4 6"] {
            assert_eq!(TopicConfig::from_line(wrong), None, "{wrong}");
        }
    }
}
