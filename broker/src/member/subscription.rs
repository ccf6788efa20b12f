//! What one member, or a whole group, subscribes to in a topic, compiled once; and the warning to those
//! whose members do not agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use thrustmq_proto_compat::body::SubscriptionData;

use super::Member;
use crate::filter::{FilterError, MessageFilter};

/// By topic.
pub(crate) type Subscriptions = BTreeMap<String, Arc<Subscription>>;

/// Stands for the expression of a member that leaves a topic out.
const NO_SUBSCRIPTION: &str = "(none)";

/// A subscription to one topic.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// As the heartbeat says it.
    pub(crate) data: SubscriptionData,
    /// What it takes, or why nobody can tell.
    pub(crate) filter: Result<MessageFilter, FilterError>,
}

impl Subscription {
    fn new(data: SubscriptionData) -> Self {
        let filter = MessageFilter::of_subscription(&data);
        Self { data, filter }
    }

    /// Whether a heartbeat says the same of the topic.
    pub(super) fn says(&self, data: &SubscriptionData) -> bool {
        self.data == *data
    }

    /// Whether both are by the same expression.
    pub(super) fn wants_the_same(&self, other: &Self) -> bool {
        self.data.expression_type == other.data.expression_type && self.wording() == other.wording()
    }

    /// The expression, with tags in their order.
    fn wording(&self) -> String {
        let data = &self.data;
        if data.tags_set.is_empty() {
            return data.sub_string.clone();
        }
        let tags: Vec<&str> = data.tags_set.iter().map(String::as_str).collect();
        tags.join("||")
    }
}

/// Compiles what a heartbeat brings. What is as `before` is taken from there.
pub(super) fn compile(heartbeat: Vec<SubscriptionData>, before: &Subscriptions) -> Subscriptions {
    let compiled = heartbeat.into_iter().map(|data| {
        let topic = data.topic.clone();
        let known = before.get(&topic).filter(|known| known.says(&data));
        let subscription = known.cloned();
        (
            topic,
            subscription.unwrap_or_else(|| Arc::new(Subscription::new(data))),
        )
    });
    compiled.collect()
}

/// Differences between the members of a group that its log was told of.
#[derive(Debug, Clone, Default)]
pub(super) struct Differences {
    /// What the members said, by topic.
    told: BTreeMap<String, BTreeSet<String>>,
}

impl Differences {
    /// Warns of the topics that a member subscribes to unlike another, once until one of them
    /// changes it; gives the topics that it warned of.
    pub(super) fn tell<'a>(
        &mut self,
        group: &str,
        member: &Member,
        members: impl Iterator<Item = &'a Arc<Member>>,
    ) -> Vec<String> {
        let all: Vec<&Arc<Member>> = members.collect();
        let topics: BTreeSet<&String> = all
            .iter()
            .flat_map(|one| one.subscriptions.keys())
            .collect();
        self.told.retain(|topic, _| topics.contains(topic));
        let mut warned_of = Vec::new();
        for topic in topics {
            let said: BTreeSet<String> = all.iter().map(|one| wording(one, topic)).collect();
            if said.len() < 2 {
                self.told.remove(topic);
                continue;
            }
            let own = wording(member, topic);
            let other = all.iter().find(|other| wording(other, topic) != own);
            if self.told.get(topic) == Some(&said) {
                continue;
            }
            if let Some(other) = other {
                tracing::warn!(
                    group,
                    topic,
                    client_id = member.client.client_id,
                    expression = own,
                    other_client_id = other.client.client_id,
                    other_expression = wording(other, topic),
                    "members of one group subscribe differently: each gets what it asks for, of the \
                     queues that are its own, and messages of those that it leaves out are passed over"
                );
            }
            warned_of.push(topic.clone());
            self.told.insert(topic.clone(), said);
        }
        warned_of
    }
}

fn wording(member: &Member, topic: &str) -> String {
    let subscription = member.subscriptions.get(topic);
    subscription.map_or_else(|| NO_SUBSCRIPTION.to_owned(), |one| one.wording())
}

#[cfg(test)]
mod tests {
    use thrustmq_proto_compat::clock::Clock;
    use thrustmq_proto_compat::command::Language;
    use thrustmq_remoting::{Client, ClientOptions, Routes, Server, ServerOptions};

    use super::super::ClientIdentity;
    use super::*;

    fn of_tags(tags: &[&str]) -> Subscriptions {
        let data = SubscriptionData {
            topic: "t".to_owned(),
            sub_string: tags.join(" || "),
            tags_set: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..SubscriptionData::default()
        };
        compile(vec![data], &Subscriptions::new())
    }

    #[tokio::test]
    async fn a_difference_is_told_once_until_it_changes() {
        let clock = Clock::by_hand(0);
        let options = ServerOptions::new("127.0.0.1:0".parse().unwrap());
        let routes = Routes::builder(Arc::new(())).build();
        let server = Server::bind(options, routes, None, clock.clone());
        let server = server.await.unwrap();
        let address = server.local_addr().to_string();
        let link = Client::new(ClientOptions::default(), None, None, clock);
        let peer = link.connect(&address).await.unwrap();
        let member = |client_id: &str, subscriptions| {
            let client = ClientIdentity {
                peer: peer.clone(),
                client_id: client_id.to_owned(),
                language: Language::Java,
                version: 513,
            };
            Arc::new(Member::new(client, 0).subscribed(subscriptions))
        };
        let mut differences = Differences::default();
        let mut tell = |one: &[&str], two: Option<&[&str]>| {
            let two = two.map_or_else(Subscriptions::new, of_tags);
            let members = [member("one", of_tags(one)), member("two", two)];
            differences.tell("g", &members[0], members.iter())
        };
        assert!(tell(&["a", "b"], Some(&["b", "a"])).is_empty());
        assert_eq!(tell(&["a"], Some(&["b", "a"])), ["t"]);
        assert!(tell(&["a"], Some(&["b", "a"])).is_empty());
        assert!(tell(&["a", "b"], Some(&["a"])).is_empty(), "the same two");
        assert_eq!(tell(&["a"], Some(&["c"])), ["t"]);
        assert!(tell(&["a"], Some(&["a"])).is_empty());
        assert_eq!(
            tell(&["a"], Some(&["c"])),
            ["t"],
            "they had agreed meanwhile"
        );
        assert_eq!(
            tell(&["a"], None),
            ["t"],
            "one of them leaves the topic out"
        );
    }
}
