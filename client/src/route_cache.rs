//! The routes of the topics that a client uses. Filled on a miss, renewed by the background task.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::route::{MASTER_ID, TopicRoute};

/// Topic → route.
#[derive(Debug, Default)]
pub(crate) struct RouteCache {
    routes: RwLock<HashMap<String, Arc<TopicRoute>>>,
}

impl RouteCache {
    /// The route, if the topic was asked for before.
    pub(crate) fn get(&self, topic: &str) -> Option<Arc<TopicRoute>> {
        self.read().get(topic).cloned()
    }

    /// Stores a route; whether it differs from the one before.
    pub(crate) fn put(&self, topic: &str, route: TopicRoute) -> bool {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if routes.get(topic).is_some_and(|known| **known == route) {
            return false;
        }
        routes.insert(topic.to_owned(), Arc::new(route));
        true
    }

    /// Every topic with a route.
    pub(crate) fn topics(&self) -> Vec<String> {
        self.read().keys().cloned().collect()
    }

    /// The addresses of all brokers of all topics, or of their masters only.
    pub(crate) fn broker_addresses(&self, masters_only: bool) -> BTreeSet<String> {
        let routes = self.read();
        let brokers = routes.values().flat_map(|route| route.brokers().values());
        brokers
            .flat_map(BTreeMap::iter)
            .filter(|(id, _)| !masters_only || **id == MASTER_ID)
            .map(|(_, address)| address.clone())
            .collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Arc<TopicRoute>>> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::tests::two_brokers;

    #[test]
    fn a_changed_route_replaces_the_old_one() {
        let cache = RouteCache::default();
        assert!(cache.get("t").is_none());
        assert!(cache.put("t", TopicRoute::of("t", &two_brokers())));
        assert!(
            !cache.put("t", TopicRoute::of("t", &two_brokers())),
            "the same again"
        );
        let mut data = two_brokers();
        data.queue_datas.pop();
        assert!(cache.put("t", TopicRoute::of("t", &data)));
        assert_eq!(cache.get("t").unwrap().publish_queues().len(), 2);
        assert_eq!(cache.topics(), ["t"]);
    }

    #[test]
    fn brokers_of_several_topics_are_listed_once() {
        let cache = RouteCache::default();
        cache.put("t", TopicRoute::of("t", &two_brokers()));
        cache.put("u", TopicRoute::of("u", &two_brokers()));
        let all: Vec<_> = cache.broker_addresses(false).into_iter().collect();
        assert_eq!(all, ["a:0", "a:1", "b:0"]);
        let masters: Vec<_> = cache.broker_addresses(true).into_iter().collect();
        assert_eq!(masters, ["a:0", "b:0"]);
    }
}
