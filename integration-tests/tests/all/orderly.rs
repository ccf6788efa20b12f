//! Order holds while consumers of a group come, are killed and leave: locks of queues and their expiry.

use std::time::Duration;

use anyhow::Context;
use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::peer::{self, HeaderEncoding};
use thrustmq_integration_tests::toolchain;

#[test]
fn lanes_are_consumed_in_order_whoever_has_them() -> anyhow::Result<()> {
    if toolchain::java(512).is_none() {
        return Ok(());
    }
    // Killed consumers hold up their queues for 5 s instead of a minute.
    let cluster = Cluster::standalone(&["lockMaxLiveTime=5000"])?;
    let (directory, namesrv) = (cluster.directory(), cluster.namesrv());
    let options = [("namesrv", namesrv.as_str()), ("topic", "Orderly")];
    let program = peer::java(&directory, HeaderEncoding::Json, "orderly", &options)
        .context("Java was there before")?;
    let result = peer::run(program, &directory, Duration::from_secs(600))?;
    eprintln!("{result}");
    cluster.stop(&[])
}
