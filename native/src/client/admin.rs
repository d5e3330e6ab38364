//! Questions about the cluster, as futures.

use std::sync::Arc;

use skylark_core::client::{AdminAnswer, AdminId, AdminRequest, ClientError, ErrorKind, QueueProgress, QueueRange};
use skylark_core::wire::body::{ClusterInfo, TopicRoute};
use skylark_core::wire::request::TopicConfig;
use tokio::sync::oneshot;

use super::driver::{Handle, Shared};

/// Asks about brokers, topics and groups. A `broker` is a broker's name, or an address `host:port`.
#[derive(Clone, Debug)]
pub struct Admin {
    handle: Arc<Handle>,
}

struct Asking<'s> {
    shared: &'s Arc<Shared>,
    id: AdminId,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.shared.with(|state, _| {
            if state.admins.remove(&self.id).is_some() {
                state.machine.cancel_admin(self.id);
            }
        });
    }
}

impl Admin {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    async fn ask<T>(
        &self,
        request: AdminRequest,
        pick: impl FnOnce(AdminAnswer) -> Option<T>,
    ) -> Result<T, ClientError> {
        let shared = &self.handle.shared;
        let (waiter, outcome) = oneshot::channel();
        let id = shared.with(|state, now| {
            let id = state.machine.admin(now, request)?;
            state.admins.insert(id, waiter);
            Ok::<_, ClientError>(id)
        })?;
        let _asking = Asking { shared, id };
        let ended =
            || ClientError { kind: ErrorKind::Closed, message: "the client ended before the answer came".into() };
        pick(outcome.await.map_err(|_| ended())??).ok_or_else(ended)
    }

    /// All clusters and brokers.
    ///
    /// # Errors
    /// See [`ErrorKind`]; so for all of these.
    pub async fn clusters(&self) -> Result<ClusterInfo, ClientError> {
        self.ask(AdminRequest::Clusters, |answer| match answer {
            AdminAnswer::Clusters(info) => Some(info),
            _ => None,
        })
        .await
    }

    /// All topics, sorted.
    pub async fn topics(&self) -> Result<Vec<String>, ClientError> {
        self.ask(AdminRequest::Topics, |answer| match answer {
            AdminAnswer::Topics(topics) => Some(topics),
            _ => None,
        })
        .await
    }

    /// Where a topic lives.
    pub async fn route(&self, topic: &str) -> Result<TopicRoute, ClientError> {
        self.ask(AdminRequest::Route { topic: topic.to_owned() }, |answer| match answer {
            AdminAnswer::Route(route) => Some(route),
            _ => None,
        })
        .await
    }

    /// All topics of a broker, by name.
    pub async fn topic_configs(&self, broker: &str) -> Result<Vec<TopicConfig>, ClientError> {
        self.ask(AdminRequest::TopicConfigs { broker: broker.to_owned() }, |answer| match answer {
            AdminAnswer::TopicConfigs(topics) => Some(topics),
            _ => None,
        })
        .await
    }

    /// First and next offset of each queue of a topic, sorted.
    pub async fn topic_stats(&self, topic: &str) -> Result<Vec<QueueRange>, ClientError> {
        self.ask(AdminRequest::TopicStats { topic: topic.to_owned() }, |answer| match answer {
            AdminAnswer::TopicStats(queues) => Some(queues),
            _ => None,
        })
        .await
    }

    /// Creates or changes a topic, on one broker or on every master.
    pub async fn create_topic(&self, config: TopicConfig, broker: Option<&str>) -> Result<(), ClientError> {
        let request = AdminRequest::CreateTopic { config, broker: broker.map(ToOwned::to_owned) };
        self.ask(request, |answer| matches!(answer, AdminAnswer::Created).then_some(())).await
    }

    /// A group's progress in one topic, or in all, sorted.
    pub async fn consume_stats(&self, group: &str, topic: Option<&str>) -> Result<Vec<QueueProgress>, ClientError> {
        let request = AdminRequest::ConsumeStats { group: group.to_owned(), topic: topic.map(ToOwned::to_owned) };
        self.ask(request, |answer| match answer {
            AdminAnswer::ConsumeStats(queues) => Some(queues),
            _ => None,
        })
        .await
    }

    /// Texts about a broker.
    pub async fn broker_info(&self, broker: &str) -> Result<Vec<(String, String)>, ClientError> {
        self.ask(AdminRequest::BrokerInfo { broker: broker.to_owned() }, |answer| match answer {
            AdminAnswer::BrokerInfo(entries) => Some(entries),
            _ => None,
        })
        .await
    }
}
