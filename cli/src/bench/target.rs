//! What is loaded: the queues of a topic, and the masters that hold them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use thrustmq_client::{Admin, AdminError, MessageQueue, NewTopic, RouteError, TopicRoute};

use crate::args::BenchArguments;

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

/// The masters of the topic, which is created if it does not exist.
pub(super) async fn find(arguments: &BenchArguments) -> anyhow::Result<Vec<Target>> {
    let admin = Admin::connect(arguments.name_servers.addresses()).await?;
    let targets = find_with(&admin, arguments).await;
    admin.close().await;
    targets
}

async fn find_with(admin: &Admin, arguments: &BenchArguments) -> anyhow::Result<Vec<Target>> {
    let route = match admin.route(&arguments.topic).await {
        Ok(route) => route,
        Err(AdminError::Route(RouteError::NoSuchTopic(_))) => create(admin, arguments).await?,
        Err(error) => return Err(error.into()),
    };
    let mut by_address: BTreeMap<String, Vec<TargetQueue>> = BTreeMap::new();
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
    let targets = by_address
        .into_iter()
        .map(|(address, queues)| Target { address, queues });
    Ok(targets.collect())
}

async fn create(admin: &Admin, arguments: &BenchArguments) -> anyhow::Result<TopicRoute> {
    let topic = NewTopic::named(&arguments.topic).queues(arguments.queues);
    let clusters = admin.clusters().await?;
    for cluster in clusters.cluster_addr_table.keys() {
        admin.create_topic(cluster, &topic).await?;
    }
    for _ in 0..ROUTE_TRIES {
        if let Ok(route) = admin.route(&arguments.topic).await {
            return Ok(route);
        }
        tokio::time::sleep(ROUTE_DELAY).await;
    }
    bail!(
        "topic '{}' was created, but no name server knows it yet: try again",
        arguments.topic
    )
}
