use thrustmq_proto_compat::properties_text;
use thrustmq_proto_compat::request_code::{GetBrokerConfig, UpdateBrokerConfig};

use crate::harness::TestBroker;

async fn shown(broker: &TestBroker) -> Vec<(String, String)> {
    let answer = broker.done::<GetBrokerConfig>(&(), vec![]).await;
    assert!(answer.fields.get("version").unwrap().contains("counter"));
    properties_text::parse(std::str::from_utf8(&answer.body.to_bytes()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_key_changes_and_is_written_back_to_the_file_of_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broker.conf");
    std::fs::write(&file, "# keep me\nautoCreateTopicEnable=true\n").unwrap();
    let broker = TestBroker::start_in(dir, |_| {}).await;
    let change = b"autoCreateTopicEnable=false\nnoSuchKey=1\n".to_vec();
    let answer = broker.done::<UpdateBrokerConfig>(&(), change).await;
    assert_eq!(
        answer.remark.as_deref(),
        Some("ignored unknown keys: noSuchKey")
    );
    let pairs = shown(&broker).await;
    assert!(pairs.contains(&("autoCreateTopicEnable".to_owned(), "false".to_owned())));
    assert!(pairs.contains(&("brokerName".to_owned(), "broker-t".to_owned())));
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text, "# keep me\nautoCreateTopicEnable=false\n");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_change_is_refused() {
    let broker = TestBroker::start().await;
    let before = shown(&broker).await;
    let refused = async |text: &str| {
        broker
            .refused::<UpdateBrokerConfig>(&(), text.as_bytes().to_vec())
            .await
    };
    assert_eq!(
        refused("brokerConfigPath=/etc/passwd").await,
        (16, "Can not update config in black list.".to_owned())
    );
    let (code, remark) = refused("autoCreateTopicEnable=false\nlistenPort=1").await;
    assert_eq!(code, 1);
    assert!(
        remark.contains("listenPort") && remark.contains("restart"),
        "{remark}"
    );
    let (code, remark) = refused("autoCreateTopicEnable=perhaps").await;
    assert_eq!(code, 29);
    assert!(
        remark.ends_with("can not be 'perhaps', allowed is true or false"),
        "{remark}"
    );
    let not_text = broker
        .refused::<UpdateBrokerConfig>(&(), vec![0xff, 0xfe])
        .await;
    assert_eq!(not_text, (1, "string2Properties error".to_owned()));
    assert_eq!(shown(&broker).await, before);
    broker.stop().await;
}
