//! Typed headers: every field that Java has, by Java's name.

use serde_json::Value;
use thrustmq_proto_compat::field::{ExtFields, HeaderError};
use thrustmq_proto_compat::header::*;
use thrustmq_proto_compat::request_code::*;
use thrustmq_proto_compat::table::{CommandSpec, Header};

use crate::fixture::{read, text};
use crate::frames::decode;

type Recoded = Result<ExtFields, HeaderError>;

fn recode<H: Header>(fields: &ExtFields) -> Recoded {
    let mut again = ExtFields::new();
    H::decode(fields)?.encode(&mut again);
    Ok(again)
}

macro_rules! recode_request {
    ($($command:ident),* $(,)?) => {
        /// Reads and writes the header of the named request; `None` if it is none of ours.
        fn recode_request(name: &str, fields: &ExtFields) -> Option<Recoded> {
            $( if name == $command::NAME { return Some(recode::<<$command as CommandSpec>::Request>(fields)); } )*
            None
        }

        const COMMANDS: &[&str] = &[$( $command::NAME ),*];
    };
}
recode_request! {
    SendMessage, PullMessage, QueryMessage, QueryConsumerOffset, UpdateConsumerOffset,
    UpdateAndCreateTopic, UpdateAndCreateTopicList, GetAllTopicConfig, UpdateBrokerConfig,
    GetBrokerConfig, GetBrokerRuntimeInfo, SearchOffsetByTimestamp, GetMaxOffset, GetMinOffset,
    GetEarliestMsgStoretime, ViewMessageById, HeartBeat, UnregisterClient, ConsumerSendMsgBack,
    EndTransaction, GetConsumerListByGroup, CheckTransactionState, NotifyConsumerIdsChanged,
    LockBatchMq, UnlockBatchMq, GetAllConsumerOffset, GetAllDelayOffset, CheckClientConfig,
    GetTimerCheckPoint, GetTimerMetrics, PutKvConfig, GetKvConfig, DeleteKvConfig, RegisterBroker,
    UnregisterBroker, GetRouteInfoByTopic, GetBrokerClusterInfo, UpdateAndCreateSubscriptionGroup,
    GetAllSubscriptionGroupConfig, GetTopicStatsInfo, GetConsumerConnectionList,
    GetProducerConnectionList, WipeWritePermOfBroker, GetAllTopicListFromNameserver,
    DeleteSubscriptionGroup, GetConsumeStats, DeleteTopicInBroker, DeleteTopicInNamesrv,
    RegisterTopicInNamesrv, GetKvListByNamespace, ResetConsumerClientOffset,
    GetConsumerStatusFromClient, InvokeBrokerToResetOffset, InvokeBrokerToGetConsumerStatus,
    GetTopicsByCluster, UpdateAndCreateSubscriptionGroupList, QueryTopicConsumeByWho,
    QueryConsumeTimeSpan, GetSystemTopicListFromNs, GetSystemTopicListFromBroker,
    CleanExpiredConsumeQueue, GetConsumerRunningInfo, QueryCorrectionOffset,
    ConsumeMessageDirectly, SendMessageV2, GetUnitTopicList, GetHasUnitSubTopicList,
    GetHasUnitSubUnunitTopicList, CloneGroupOffset, ViewBrokerStatsData, CleanUnusedTopic,
    GetBrokerConsumeStats, UpdateNamesrvConfig, GetNamesrvConfig, SendBatchMessage,
    QueryConsumeQueue, QueryDataVersion, ResumeCheckHalfMessage, SendReplyMessage,
    SendReplyMessageV2, PushReplyMessageToClient, AddWritePermOfBroker, GetAllProducerInfo,
    DeleteExpiredCommitLog, QueryTopicsByConsumer, QuerySubscriptionByConsumer, GetTopicConfig,
    GetSubscriptionGroupConfig, UpdateAndGetGroupForbidden, LitePullMessage, RecallMessage,
    QueryAssignment, SetMessageRequestMode, GetAllMessageRequestMode, GetBrokerMemberGroup,
    BrokerHeartbeat, NotifyMinBrokerIdChange, ExchangeBrokerHaInfo, GetBrokerHaStatus,
    ResetMasterFlushOffset, GetBrokerEpochCache, NotifyBrokerRoleChanged, PopMessage, AckMessage,
    PeekMessage, ChangeMessageInvisibleTime, Notification, PollingInfo, BatchAckMessage,
}

macro_rules! recode_answer {
    ($($header:ident),* $(,)?) => {
        /// Reads and writes the named header of an answer; `None` if it is none of ours.
        fn recode_answer(name: &str, fields: &ExtFields) -> Option<Recoded> {
            match name {
                $( stringify!($header) => Some(recode::<$header>(fields)), )*
                "ExchangeHAInfoResponseHeader" => Some(recode::<ExchangeHAInfoHeader>(fields)),
                _ => None,
            }
        }
    };
}
recode_answer! {
    AddWritePermOfBrokerResponseHeader,
    ChangeInvisibleTimeResponseHeader,
    GetAllSubscriptionGroupResponseHeader,
    GetAllTopicConfigResponseHeader,
    GetBrokerConfigResponseHeader,
    GetEarliestMsgStoretimeResponseHeader,
    GetKVConfigResponseHeader,
    GetMaxOffsetResponseHeader,
    GetMinOffsetResponseHeader,
    NotificationResponseHeader,
    PollingInfoResponseHeader,
    PopMessageResponseHeader,
    PullMessageResponseHeader,
    QueryConsumerOffsetResponseHeader,
    QueryDataVersionResponseHeader,
    QueryMessageResponseHeader,
    RecallMessageResponseHeader,
    RegisterBrokerResponseHeader,
    SearchOffsetResponseHeader,
    SendMessageResponseHeader,
    WipeWritePermOfBrokerResponseHeader,
}

/// Served by no process of ours, or without fields.
const NOT_OURS: &[&str] = &[
    "ADD_BROKER",
    "REMOVE_BROKER",
    "CheckTransactionStateResponseHeader",
    "EndTransactionResponseHeader",
    "GetConsumerListByGroupResponseHeader",
    "UnregisterClientResponseHeader",
    "UpdateConsumerOffsetResponseHeader",
    "ViewMessageResponseHeader",
];

/// Fields that came after the protocol we follow (5.3).
const LATER_FIELDS: &[(&str, &str)] = &[
    ("ACK_MESSAGE", "liteTopic"),
    ("CHANGE_MESSAGE_INVISIBLETIME", "liteTopic"),
    ("CHANGE_MESSAGE_INVISIBLETIME", "suspend"),
    ("LITE_PULL_MESSAGE", "liteTopic"),
    ("NOTIFICATION", "exp"),
    ("NOTIFICATION", "expType"),
    ("PULL_MESSAGE", "liteTopic"),
    ("QUERY_MESSAGE", "indexType"),
    ("QUERY_MESSAGE", "lastKey"),
    ("SEARCH_OFFSET_BY_TIMESTAMP", "liteTopic"),
];

fn recode_fixture(fixture: &Value) -> Option<Recoded> {
    let name = text(&fixture["name"]);
    let fields = decode(fixture).fields;
    if fixture["direction"] == "request" {
        recode_request(name, &fields)
    } else {
        recode_answer(name, &fields)
    }
}

#[test]
fn every_field_of_java_s_comes_back() {
    let mut seen = 0;
    for fixture in read("frames.json")
        .iter()
        .filter(|f| !f["header"].is_null())
    {
        let name = text(&fixture["name"]);
        let about = format!("{name} {} {}", fixture["variant"], fixture["encoding"]);
        let Some(recoded) = recode_fixture(fixture) else {
            assert!(NOT_OURS.contains(&name), "{about}");
            continue;
        };
        // Java calls the topic optional and then fails without it; we name it.
        if name == "QUERY_CONSUME_QUEUE" && fixture["variant"] == "minimal" {
            assert_eq!(recoded, Err(HeaderError::Missing("topic")));
            continue;
        }
        let recoded = recoded.unwrap_or_else(|e| panic!("{about}: {e}"));
        let java = decode(fixture).fields;
        let known = java
            .iter()
            .filter(|(key, _)| !LATER_FIELDS.contains(&(name, *key)));
        for (key, value) in known {
            assert_eq!(recoded.get(key), Some(value), "{about}: {key}");
        }
        for (key, value) in recoded.iter().filter(|(key, _)| java.get(key).is_none()) {
            let is_default = ["0", "false", "-1", "true"].contains(&value);
            assert!(is_default, "{about}: {key} = {value} from nowhere");
        }
        seen += 1;
    }
    assert!(seen > 350, "{seen}");
}

#[test]
fn the_list_here_has_every_command() {
    for code in 0..=200_200 {
        if let Some(name) = name_of(code) {
            assert!(COMMANDS.contains(&name), "{name}");
        }
    }
}
