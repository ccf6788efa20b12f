use thrustmq_proto_compat::body::GetConsumerStatusBody;
use thrustmq_proto_compat::header::{
    ConsumeMessageDirectlyResultRequestHeader, GetConsumerRunningInfoRequestHeader,
    GetConsumerStatusRequestHeader,
};
use thrustmq_proto_compat::request_code::{
    ConsumeMessageDirectly, GetConsumerRunningInfo, InvokeBrokerToGetConsumerStatus,
};

use crate::harness::{Consumer, TestBroker};

fn running_info(client_id: &str) -> GetConsumerRunningInfoRequestHeader {
    GetConsumerRunningInfoRequestHeader {
        consumer_group: "g".to_owned(),
        client_id: client_id.to_owned(),
        jstack_enable: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_asked_through_the_broker() {
    let broker = TestBroker::start().await;
    let (one, two) = (Consumer::new(&broker, "one"), Consumer::new(&broker, "two"));
    one.join("g", &["t"]).await;
    two.join("g", &["t"]).await;
    let answer = broker
        .done::<GetConsumerRunningInfo>(&running_info("two"), vec![])
        .await;
    assert_eq!(answer.body.to_bytes(), "two");
    assert_eq!(
        broker
            .refused::<GetConsumerRunningInfo>(&running_info("three"), vec![])
            .await,
        (1, "The Consumer <g> <three> not online".to_owned())
    );
    let header = GetConsumerStatusRequestHeader {
        topic: "t".to_owned(),
        group: "g".to_owned(),
        client_address: None,
    };
    let status: GetConsumerStatusBody = broker
        .show::<InvokeBrokerToGetConsumerStatus, _>(&header)
        .await;
    assert_eq!(status.consumer_table.len(), 2);
    assert_eq!(
        status.consumer_table["one"].values().collect::<Vec<_>>(),
        [&42]
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_gets_one_message_to_consume_now() {
    let broker = TestBroker::start().await;
    let sent = broker.send("t", 0, "hello").await;
    let one = Consumer::new(&broker, "one");
    one.join("g", &["t"]).await;
    let mut header = ConsumeMessageDirectlyResultRequestHeader {
        consumer_group: "g".to_owned(),
        client_id: Some("one".to_owned()),
        msg_id: Some(sent.msg_id),
        topic: Some("t".to_owned()),
        ..ConsumeMessageDirectlyResultRequestHeader::default()
    };
    let answer = broker.done::<ConsumeMessageDirectly>(&header, vec![]).await;
    let remark = answer.remark.unwrap();
    let (broker_name, bytes) = remark.split_once(' ').unwrap();
    assert_eq!(broker_name, "broker-t");
    assert!(bytes.parse::<usize>().unwrap() > 90, "{remark}");
    header.msg_id = Some("rubbish".to_owned());
    assert_eq!(
        broker
            .refused::<ConsumeMessageDirectly>(&header, vec![])
            .await
            .0,
        1
    );
    header.msg_id = Some("7F00000100002A9F00000000FFFFFFFF".to_owned());
    assert_eq!(
        broker
            .refused::<ConsumeMessageDirectly>(&header, vec![])
            .await
            .0,
        1
    );
    broker.stop().await;
}
