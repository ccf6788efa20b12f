//! What a broker registers at the name server (07-namesrv), as JSON or in the packed layout of
//! brokers that compress:
//!
//! ```text
//! zlib( DataVersion json · count i32 · TopicConfig line* · filter servers json · count i32 · mapping json* )
//! ```
//! where each piece has its length as i32 before it, and brokers before 5.0 end at the filter servers.

use std::collections::BTreeMap;
use std::io::Read;

use bytes::Buf;
use flate2::read::ZlibDecoder;
use serde::de::DeserializeOwned;

use super::table::bodies;
use super::{TopicConfig, TopicConfigAndMappingSerializeWrapper, TopicQueueMappingInfo};
use crate::fastjson::{self, BodyError};

/// A registration may unpack to this size: some 600 000 topics.
pub const UNPACKED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// From this version (5.0.0) on the packed layout ends with mappings.
const VERSION_WITH_MAPPINGS: i32 = 413;

bodies! {
    /// A broker's topics and filter servers.
    RegisterBrokerBody {
        filter_server_list "filterServerList": Vec<String>,
        topic_config_serialize_wrapper "topicConfigSerializeWrapper": TopicConfigAndMappingSerializeWrapper,
    }
}

impl RegisterBrokerBody {
    /// Reads the packed layout of a broker of `version`.
    pub fn from_packed(packed: &[u8], version: i32) -> Result<Self, BodyError> {
        let mut unpacked = Vec::new();
        ZlibDecoder::new(packed)
            .take(UNPACKED_BYTES_MAX + 1)
            .read_to_end(&mut unpacked)
            .map_err(|e| BodyError::Shape(format!("registration does not unpack: {e}")))?;
        if unpacked.len() as u64 > UNPACKED_BYTES_MAX {
            let limit = format!("registration unpacks to more than {UNPACKED_BYTES_MAX} bytes");
            return Err(BodyError::Shape(limit));
        }
        let mut pieces = Pieces(&unpacked);
        let mut body = Self::default();
        let wrapper = &mut body.topic_config_serialize_wrapper;
        wrapper.data_version = pieces.json()?;
        wrapper.topic_config_table = pieces.topics()?;
        body.filter_server_list = pieces.json()?;
        if version >= VERSION_WITH_MAPPINGS {
            wrapper.topic_queue_mapping_info_map = pieces.mappings()?;
        }
        Ok(body)
    }
}

struct Pieces<'a>(&'a [u8]);

impl<'a> Pieces<'a> {
    fn number(&mut self) -> Result<usize, BodyError> {
        let number = self.0.try_get_i32().map_err(|_| ends_early())?;
        usize::try_from(number).map_err(|_| ends_early())
    }

    fn piece(&mut self) -> Result<&'a [u8], BodyError> {
        let length = self.number()?;
        let (piece, rest) = self.0.split_at_checked(length).ok_or_else(ends_early)?;
        self.0 = rest;
        Ok(piece)
    }

    fn json<T: DeserializeOwned>(&mut self) -> Result<T, BodyError> {
        fastjson::from_slice(self.piece()?)
    }

    fn topics(&mut self) -> Result<BTreeMap<String, TopicConfig>, BodyError> {
        let count = self.number()?;
        let mut topics = BTreeMap::new();
        for _ in 0..count {
            let line = String::from_utf8_lossy(self.piece()?);
            let config = TopicConfig::from_line(&line)
                .ok_or_else(|| BodyError::Shape(format!("malformed topic line: '{line}'")))?;
            topics.insert(config.topic_name.clone(), config);
        }
        Ok(topics)
    }

    fn mappings(&mut self) -> Result<BTreeMap<String, TopicQueueMappingInfo>, BodyError> {
        let count = self.number()?;
        let mut mappings = BTreeMap::new();
        for _ in 0..count {
            let mapping: TopicQueueMappingInfo = self.json()?;
            mappings.insert(mapping.topic.clone(), mapping);
        }
        Ok(mappings)
    }
}

fn ends_early() -> BodyError {
    BodyError::Shape("registration ends within a piece".to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    fn packed(pieces: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(pieces).unwrap();
        encoder.finish().unwrap()
    }

    fn piece(text: &str) -> Vec<u8> {
        [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
    }

    fn old_layout() -> Vec<u8> {
        [
            piece("{\"counter\":7,\"timestamp\":5}"),
            1_u32.to_be_bytes().to_vec(),
            piece("t 8 4 6 SINGLE_TAG"),
            piece("[\"a:1\"]"),
        ]
        .concat()
    }

    #[test]
    fn both_ages_of_the_packed_layout_are_read() {
        let old = RegisterBrokerBody::from_packed(&packed(&old_layout()), 401).unwrap();
        assert_eq!(old.filter_server_list, ["a:1"]);
        let topics = &old.topic_config_serialize_wrapper.topic_config_table;
        assert_eq!(topics["t"].write_queue_nums, 4);
        let mapping = [
            1_u32.to_be_bytes().to_vec(),
            piece("{\"topic\":\"t\",\"bname\":\"b\"}"),
        ];
        let new_layout = [old_layout(), mapping.concat()].concat();
        let new = RegisterBrokerBody::from_packed(&packed(&new_layout), 413).unwrap();
        let mappings = &new
            .topic_config_serialize_wrapper
            .topic_queue_mapping_info_map;
        assert_eq!(mappings["t"].bname, "b");
    }

    #[test]
    fn what_is_torn_is_refused_at_every_byte() {
        let whole = old_layout();
        for end in 0..whole.len() {
            let torn = packed(&whole[..end]);
            assert!(
                RegisterBrokerBody::from_packed(&torn, 401).is_err(),
                "{end}"
            );
        }
        assert!(RegisterBrokerBody::from_packed(b"not zlib", 413).is_err());
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = packed(&vec![0; UNPACKED_BYTES_MAX as usize + 1]);
        let error = RegisterBrokerBody::from_packed(&bomb, 413).unwrap_err();
        assert!(error.to_string().contains("more than"), "{error}");
    }
}
