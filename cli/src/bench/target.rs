//! What is loaded: the queues of one or more topics, and the masters that hold them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use thrustmq_client::{Admin, AdminError, MessageQueue, NewTopic, RouteError, TopicRoute};

use super::arguments::BenchArguments;
use super::topics;

/// A new topic takes a moment to reach the name server.
const ROUTE_TRIES: u32 = 50;
const ROUTE_DELAY: Duration = Duration::from_millis(100);
const MASTER_ID: i64 = 0;

/// A queue and where the next pull begins.
#[derive(Debug, Clone)]
pub(super) struct TargetQueue {
    pub(super) queue: MessageQueue,
    pub(super) offset_min: i64,
    pub(super) offset_max: i64,
}

/// A master and its queues.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) address: String,
    pub(super) queues: Vec<TargetQueue>,
}

/// How many messages were ever stored in the topics.
pub(super) fn stored(targets: &[Target]) -> u64 {
    let queues = targets.iter().flat_map(|target| &target.queues);
    let ends = queues.map(|queue| u64::try_from(queue.offset_max).unwrap_or_default());
    ends.sum()
}

/// The masters of the topics, which are created if they do not exist.
pub(super) async fn find(arguments: &BenchArguments) -> anyhow::Result<Vec<Target>> {
    let admin = Admin::connect(arguments.name_servers.addresses()).await?;
    let targets = find_with(&admin, arguments).await;
    admin.close().await;
    targets
}

async fn find_with(admin: &Admin, arguments: &BenchArguments) -> anyhow::Result<Vec<Target>> {
    let mut by_address = BTreeMap::new();
    for topic in topics::names(&arguments.topic, arguments.topics) {
        find_topic(admin, &topic, arguments.queues, &mut by_address).await?;
    }
    let targets = by_address
        .into_iter()
        .map(|(address, queues)| Target { address, queues });
    Ok(targets.collect())
}

async fn find_topic(
    admin: &Admin,
    topic: &str,
    queues: u16,
    by_address: &mut BTreeMap<String, Vec<TargetQueue>>,
) -> anyhow::Result<()> {
    let route = match admin.route(topic).await {
        Ok(route) => route,
        Err(AdminError::Route(RouteError::NoSuchTopic(_))) => create(admin, topic, queues).await?,
        Err(error) => return Err(error.into()),
    };
    for queue in route.publish_queues() {
        let master = route
            .brokers()
            .get(&queue.broker_name)
            .and_then(|ids| ids.get(&MASTER_ID));
        let address = master.with_context(|| format!("no master of {}", queue.broker_name))?;
        let range = admin.offsets(queue).await?;
        by_address
            .entry(address.clone())
            .or_default()
            .push(TargetQueue {
                queue: queue.clone(),
                offset_min: range.min,
                offset_max: range.max,
            });
    }
    Ok(())
}

async fn create(admin: &Admin, topic: &str, queues: u16) -> anyhow::Result<TopicRoute> {
    let new = NewTopic::named(topic).queues(queues);
    let clusters = admin.clusters().await?;
    for cluster in clusters.cluster_addr_table.keys() {
        admin.create_topic(cluster, &new).await?;
    }
    for _ in 0..ROUTE_TRIES {
        if let Ok(route) = admin.route(topic).await {
            return Ok(route);
        }
        tokio::time::sleep(ROUTE_DELAY).await;
    }
    bail!("topic '{topic}' was created, but no name server knows it yet: try again")
}
