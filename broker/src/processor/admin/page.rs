//! Pages of long lists: 5.3 and later ask for topics and groups by position.

use std::collections::BTreeMap;

use thrustmq_proto_compat::body::DataVersion;
use thrustmq_proto_compat::fastjson;

use crate::config::BrokerConfig;

/// What part of a list is wanted; all of it if nothing is said.
pub(super) struct PageRequest<'a> {
    pub(super) first: Option<i32>,
    pub(super) entries_max: Option<i32>,
    /// The version that the pages before were of, as JSON.
    pub(super) data_version: Option<&'a str>,
}

/// The wanted entries, in the order of their names. A list that has changed since the page before
/// begins anew.
pub(super) fn take<T>(
    request: PageRequest<'_>,
    config: &BrokerConfig,
    data_version: &DataVersion,
    list: BTreeMap<String, T>,
) -> impl Iterator<Item = (String, T)> + use<T> {
    let (skipped, entries_max) = bounds(&request, config, data_version);
    list.into_iter().skip(skipped).take(entries_max)
}

fn bounds(
    request: &PageRequest<'_>,
    config: &BrokerConfig,
    data_version: &DataVersion,
) -> (usize, usize) {
    let wants_all =
        request.first.is_none() && request.entries_max.is_none() && request.data_version.is_none();
    if wants_all || !config.split_metadata {
        return (0, usize::MAX);
    }
    let known = request.data_version.unwrap_or_default().as_bytes();
    let is_unchanged =
        fastjson::from_slice::<DataVersion>(known).is_ok_and(|known| known == *data_version);
    let first = request.first.filter(|_| is_unchanged).unwrap_or(0);
    let entries_max = request.entries_max.unwrap_or(i32::MAX);
    let entries_max = usize::try_from(entries_max).unwrap_or(0);
    (
        usize::try_from(first).unwrap_or(0),
        entries_max.min(config.split_metadata_max),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(request: PageRequest<'_>, version: &DataVersion) -> Vec<String> {
        let config = BrokerConfig {
            split_metadata_max: 3,
            ..BrokerConfig::default()
        };
        let list: BTreeMap<String, ()> = ["a", "b", "c", "d", "e"].map(|n| (n.into(), ())).into();
        take(request, &config, version, list)
            .map(|(name, ())| name)
            .collect()
    }

    #[test]
    fn a_page_begins_where_the_last_one_ended_if_nothing_has_changed() {
        let version = DataVersion::new(5);
        let json = String::from_utf8(fastjson::to_vec(&version).unwrap()).unwrap();
        let request = |first, data_version| PageRequest {
            first: Some(first),
            entries_max: Some(2),
            data_version,
        };
        assert_eq!(names(request(2, Some(&json)), &version), ["c", "d"]);
        assert_eq!(names(request(4, Some(&json)), &version), ["e"]);
        assert_eq!(names(request(9, Some(&json)), &version), [""; 0]);
        assert_eq!(
            names(request(2, Some(&json)), &DataVersion::new(6)),
            ["a", "b"]
        );
        assert_eq!(names(request(2, None), &version), ["a", "b"]);
        assert_eq!(names(request(-1, Some("rubbish")), &version), ["a", "b"]);
    }

    #[test]
    fn old_callers_get_everything_and_greedy_ones_a_full_page() {
        let all = PageRequest {
            first: None,
            entries_max: None,
            data_version: None,
        };
        assert_eq!(names(all, &DataVersion::default()).len(), 5);
        let greedy = PageRequest {
            first: Some(0),
            entries_max: Some(i32::MAX),
            data_version: None,
        };
        assert_eq!(names(greedy, &DataVersion::default()).len(), 3);
    }
}
