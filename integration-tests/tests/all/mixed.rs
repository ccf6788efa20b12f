//! Ours beside Java's: brokers at foreign name servers.

use thrustmq_integration_tests::cluster::Cluster;
use thrustmq_integration_tests::peer::HeaderEncoding;
use thrustmq_integration_tests::toolchain;

use crate::clients::send_and_receive;

#[test]
fn a_java_broker_serves_at_our_name_server() -> anyhow::Result<()> {
    if toolchain::java(512).is_none() {
        return Ok(());
    }
    let mut cluster = Cluster::with_our_namesrv()?;
    cluster.add_java_broker("broker-a")?;
    send_and_receive(&cluster, HeaderEncoding::Json)?;
    cluster.stop(&[])
}

#[test]
fn our_broker_serves_at_a_java_name_server() -> anyhow::Result<()> {
    let Some(mut cluster) = Cluster::with_java_namesrv()? else {
        return Ok(());
    };
    cluster.add_our_broker("broker-a")?;
    send_and_receive(&cluster, HeaderEncoding::Json)?;
    cluster.stop(&[])
}
