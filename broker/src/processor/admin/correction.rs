//! How far the slowest group of a topic is, queue by queue: 308.

use std::collections::{BTreeMap, BTreeSet};

use thrustmq_proto_compat::body::QueryCorrectionOffsetBody;
use thrustmq_proto_compat::header::QueryCorrectionOffsetHeader;
use thrustmq_remoting::{Handled, Incoming, Reply};

use crate::broker::Broker;
use crate::processor::json_body;

/// Stands for a queue in which the compared group is behind all others.
const NOTHING_TO_CORRECT: i64 = i64::MAX;

type Offsets = BTreeMap<i32, i64>;

/// `QUERY_CORRECTION_OFFSET`. Groups that are filtered out do not count. (Java deletes all their
/// offsets on the way, in every topic: a question must not do that.)
pub(crate) fn query_correction(
    broker: &Broker,
    incoming: Incoming<QueryCorrectionOffsetHeader>,
) -> Handled<()> {
    let header = incoming.header;
    let mut groups = broker.offsets.of_topic(&header.topic);
    let compared = groups.get(&header.compare_group).cloned();
    let left_out = header.filter_groups.as_deref().unwrap_or_default();
    let left_out: BTreeSet<&str> = left_out.split(',').collect();
    groups.retain(|group, _| !left_out.contains(group.as_str()));
    let oldest = |queue_id| broker.store.queue_range(&header.topic, queue_id).min;
    let body = QueryCorrectionOffsetBody {
        correction_offsets: corrections(groups.values(), &compared.unwrap_or_default(), oldest),
    };
    json_body::answer(Reply::success(), &body)
}

/// The smallest offset of each queue that still has a message, but of those where `compared` is
/// behind it.
fn corrections<'a>(
    groups: impl Iterator<Item = &'a Offsets>,
    compared: &Offsets,
    oldest: impl Fn(i32) -> i64,
) -> Offsets {
    let mut smallest = Offsets::new();
    for (queue_id, offset) in groups.flatten() {
        if *offset >= oldest(*queue_id) {
            let known = smallest.entry(*queue_id).or_insert(*offset);
            *known = (*known).min(*offset);
        }
    }
    for (queue_id, offset) in &mut smallest {
        if compared
            .get(queue_id)
            .is_some_and(|compared| *offset > *compared)
        {
            *offset = NOTHING_TO_CORRECT;
        }
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_group_counts_where_the_compared_one_is_not_behind() {
        let offsets = |offsets: [i64; 4]| (0..).zip(offsets).collect::<Offsets>();
        let groups = [offsets([5, 9, 1, 7]), offsets([6, 8, 4, 7])];
        let compared = BTreeMap::from([(0, 5), (1, 3), (2, 9), (9, 1)]);
        let oldest = |queue_id| if queue_id == 2 { 2 } else { 0 };
        let corrected = corrections(groups.iter(), &compared, oldest);
        assert_eq!(corrected, offsets([5, NOTHING_TO_CORRECT, 4, 7]));
    }
}
