//! Questions about the cluster, and the creation of topics: each asks one or more servers and has one answer.
//!
//! Some go to a NameServer alone. Others first learn there which brokers they are for, then ask all of those and
//! put the answers together. Start at [`Client::admin`].

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::error::{ClientError, ErrorKind};
use super::links::Urgency;
use super::message::{MessageQueue, check_group, check_topic};
use super::{AdminId, Client, Event, Purpose, refused};
use crate::sorted::{self, Map};
use crate::time::{Now, Unix};
use crate::wire::WireError;
use crate::wire::answer::Answer;
use crate::wire::body::{self, BrokerData, ClusterInfo, ConsumeStats, KeyValues, TopicConfigTable, TopicList};
use crate::wire::body::{TopicRoute, TopicStats};
use crate::wire::codes::Code;
use crate::wire::request::{Request, TopicConfig};

/// What may be asked. A `broker` is a broker's name, or an address `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// All clusters and brokers.
    Clusters,
    /// All topics.
    Topics,
    /// Where a topic lives.
    Route {
        /// The topic.
        topic: String,
    },
    /// All topics of a broker, with their settings.
    TopicConfigs {
        /// The broker.
        broker: String,
    },
    /// First and next offset of each queue of a topic.
    TopicStats {
        /// The topic.
        topic: String,
    },
    /// Creates or changes a topic.
    CreateTopic {
        /// What it shall be.
        config: TopicConfig,
        /// On this broker; otherwise on every master.
        broker: Option<String>,
    },
    /// A group's progress.
    ConsumeStats {
        /// The group.
        group: String,
        /// In this topic; otherwise in all that it has progress in.
        topic: Option<String>,
    },
    /// Texts about a broker.
    BrokerInfo {
        /// The broker.
        broker: String,
    },
}

/// The answer to an [`AdminRequest`], of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAnswer {
    /// All clusters and brokers.
    Clusters(ClusterInfo),
    /// All topics, sorted.
    Topics(Vec<String>),
    /// Where a topic lives.
    Route(TopicRoute),
    /// Topics of a broker, by name.
    TopicConfigs(Vec<TopicConfig>),
    /// Queues of a topic, sorted.
    TopicStats(Vec<QueueRange>),
    /// The topic is as it was asked to be.
    Created,
    /// Queues that a group has progress in, sorted.
    ConsumeStats(Vec<QueueProgress>),
    /// Texts about a broker.
    BrokerInfo(Vec<(String, String)>),
}

/// What a queue holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueRange {
    /// The queue.
    pub queue: MessageQueue,
    /// The first offset still kept.
    pub min: u64,
    /// The next offset to be written.
    pub max: u64,
    /// When the last message was stored.
    pub last_update: Option<Unix>,
}

/// A group's place in a queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueProgress {
    /// The queue.
    pub queue: MessageQueue,
    /// The next offset to be written.
    pub broker: u64,
    /// The next offset to be consumed.
    pub consumer: u64,
}

/// Which step of a call a request under way is.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// A NameServer's answer is the answer.
    Whole,
    /// A NameServer says which brokers to ask.
    Lookup,
    /// One of the brokers.
    Broker(String),
}

#[derive(Debug)]
struct AdminCall {
    request: AdminRequest,
    /// Brokers that have not answered yet.
    waiting: usize,
    /// What those that have answered said.
    answer: Option<AdminAnswer>,
    error: Option<ClientError>,
}

#[derive(Debug, Default)]
pub(super) struct Admins {
    calls: Map<AdminId, AdminCall>,
    next: u64,
}

impl Client {
    /// Asks; the answer comes as [`Event::Admin`].
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a bad name or number, [`ErrorKind::Closed`] when the client is closed.
    pub fn admin(&mut self, now: Now, request: AdminRequest) -> Result<AdminId, ClientError> {
        self.check_open()?;
        let lookup = match &request {
            AdminRequest::Clusters | AdminRequest::Topics => Part::Whole,
            AdminRequest::Route { topic } => {
                check_topic(topic)?;
                Part::Whole
            }
            AdminRequest::TopicConfigs { broker } | AdminRequest::BrokerInfo { broker } => direct(broker),
            AdminRequest::TopicStats { topic } => {
                check_topic(topic)?;
                Part::Lookup
            }
            AdminRequest::CreateTopic { config, broker } => {
                check_config(config)?;
                broker.as_deref().map_or(Part::Lookup, direct)
            }
            AdminRequest::ConsumeStats { group, topic } => {
                check_group(group)?;
                topic.as_deref().map_or(Ok(()), check_topic)?;
                Part::Lookup
            }
        };
        self.admins.next += 1;
        let id = AdminId(self.admins.next);
        self.admins.calls.insert(id, AdminCall { request, waiting: 1, answer: None, error: None });
        match lookup {
            Part::Broker(address) => self.ask_brokers(now, id, &[(address.clone(), address)]),
            part => self.ask_admin_namesrv(now, id, part, 0),
        }
        self.settle(now);
        Ok(id)
    }

    /// Gives a call up: no event follows. What has left may still happen.
    pub fn cancel_admin(&mut self, id: AdminId) {
        self.admins.calls.remove(&id);
    }

    fn ask_admin_namesrv(&mut self, now: Now, id: AdminId, part: Part, tries: usize) {
        let Some(call) = self.admins.calls.get(&id) else { return };
        let topic = match &call.request {
            AdminRequest::Route { topic }
            | AdminRequest::TopicStats { topic }
            | AdminRequest::ConsumeStats { topic: Some(topic), .. } => topic.clone(),
            _ => String::new(),
        };
        let request = match &call.request {
            AdminRequest::Topics => Request::TopicList,
            _ if topic.is_empty() => Request::ClusterInfo,
            _ => Request::Route { topic: &topic, standard_json: true },
        };
        let timeout = self.config.request_timeout;
        self.ask_namesrv(now, &request, timeout, Purpose::Admin { id, part, tries });
    }

    fn ask_brokers(&mut self, now: Now, id: AdminId, brokers: &[(String, String)]) {
        let Some(call) = self.admins.calls.get_mut(&id) else { return };
        call.waiting = brokers.len();
        let asked = call.request.clone();
        let request = match &asked {
            AdminRequest::TopicConfigs { .. } => Request::TopicConfigs,
            AdminRequest::BrokerInfo { .. } => Request::BrokerInfo,
            AdminRequest::TopicStats { topic } => Request::TopicStats { topic },
            AdminRequest::CreateTopic { config, .. } => Request::UpdateTopic { config: config.clone() },
            AdminRequest::ConsumeStats { group, topic } => Request::ConsumeStats { group, topic: topic.as_deref() },
            AdminRequest::Clusters | AdminRequest::Topics | AdminRequest::Route { .. } => return,
        };
        for (name, address) in brokers {
            let purpose = Purpose::Admin { id, part: Part::Broker(name.clone()), tries: 0 };
            self.ask(now, address, &request, self.config.request_timeout, Urgency::Now, purpose);
        }
    }

    pub(super) fn admin_answered(&mut self, now: Now, id: AdminId, part: &Part, answer: &Answer<'_>) {
        let Some(call) = self.admins.calls.get(&id) else { return };
        if answer.code != Code::SUCCESS {
            let who = match part {
                Part::Whole | Part::Lookup => "the NameServer".to_string(),
                Part::Broker(name) => format!("broker '{name}'"),
            };
            let error = refused(&format!("{who} refused to {}", what(&call.request)), answer.code, answer.remark);
            match part {
                Part::Broker(_) => self.admin_part(now, id, Err(error)),
                Part::Whole | Part::Lookup => self.finish_admin(id, Err(error)),
            }
            return;
        }
        let malformed = |why: WireError| {
            ClientError::new(
                ErrorKind::Malformed,
                format!("the answer to '{}' does not parse: {why}", what(&call.request)),
            )
        };
        match part {
            Part::Whole => {
                let result = match &call.request {
                    AdminRequest::Topics => TopicList::decode(answer.body).map(|list| {
                        let mut topics = list.topics;
                        sorted::sort(&mut topics);
                        topics.dedup();
                        AdminAnswer::Topics(topics)
                    }),
                    AdminRequest::Route { .. } => TopicRoute::decode(answer.body).map(AdminAnswer::Route),
                    _ => ClusterInfo::decode(answer.body).map(AdminAnswer::Clusters),
                };
                let result = result.map_err(malformed);
                self.finish_admin(id, result);
            }
            Part::Lookup => match masters(&call.request, answer.body) {
                Ok(Ok(brokers)) => self.ask_brokers(now, id, &brokers),
                Ok(Err(error)) => self.finish_admin(id, Err(error)),
                Err(why) => {
                    let error = malformed(why);
                    self.finish_admin(id, Err(error));
                }
            },
            Part::Broker(_) => {
                let result = broker_answer(&call.request, answer.body).map_err(malformed);
                self.admin_part(now, id, result);
            }
        }
    }

    pub(super) fn admin_failed(&mut self, now: Now, id: AdminId, part: Part, tries: usize, error: ClientError) {
        if matches!(part, Part::Broker(_)) {
            self.admin_part(now, id, Err(error));
        } else if self.next_namesrv(tries) {
            self.ask_admin_namesrv(now, id, part, tries + 1);
        } else {
            let error = ClientError::new(ErrorKind::NoNameServer, format!("no NameServer answers: {error}"));
            self.finish_admin(id, Err(error));
        }
    }

    /// One broker's part is there; the last one ends the call.
    fn admin_part(&mut self, now: Now, id: AdminId, part: Result<AdminAnswer, ClientError>) {
        let Some(call) = self.admins.calls.get_mut(&id) else { return };
        call.waiting = call.waiting.saturating_sub(1);
        match part {
            Ok(part) => match (&mut call.answer, part) {
                (Some(AdminAnswer::TopicStats(all)), AdminAnswer::TopicStats(part)) => all.extend(part),
                (Some(AdminAnswer::ConsumeStats(all)), AdminAnswer::ConsumeStats(part)) => all.extend(part),
                (answer, part) => *answer = Some(part),
            },
            Err(error) => call.error = Some(error),
        }
        if call.waiting > 0 {
            return;
        }
        let (answer, error) = (call.answer.take(), call.error.take());
        // A group need not be known to every broker; anything else must succeed everywhere.
        let some_suffice = matches!(&call.request, AdminRequest::ConsumeStats { topic: None, .. });
        let created = match &call.request {
            AdminRequest::CreateTopic { config, .. } => Some(config.name.clone()),
            _ => None,
        };
        let result = match (answer, error) {
            (Some(answer), None) => Ok(sorted(answer)),
            (Some(answer), Some(_)) if some_suffice => Ok(sorted(answer)),
            (_, Some(error)) => Err(error),
            (None, None) => Err(ClientError::new(ErrorKind::NoBroker, "no broker was asked")),
        };
        self.finish_admin(id, result);
        if let Some(topic) = created.filter(|topic| self.routes.topics.contains_key(topic.as_str())) {
            self.want_route(now, &topic);
        }
    }

    fn finish_admin(&mut self, id: AdminId, result: Result<AdminAnswer, ClientError>) {
        if self.admins.calls.remove(&id).is_some() {
            self.events.push_back(Event::Admin { id, result });
        }
    }

    pub(super) fn fail_admins(&mut self, error: &ClientError) {
        for id in self.admins.calls.keys().copied().collect::<Vec<_>>() {
            self.finish_admin(id, Err(error.clone()));
        }
    }
}

fn check_config(config: &TopicConfig) -> Result<(), ClientError> {
    check_topic(&config.name)?;
    for (what, n) in [("read", config.read_queues), ("write", config.write_queues)] {
        if !(1..=65_535).contains(&n) {
            return Err(ClientError::usage(format!("{n} {what} queues are asked for; use 1 to 65535")));
        }
    }
    if !(0..=7).contains(&config.perm) {
        return Err(ClientError::usage(format!("the permission is {}; use 6 (read and write), 4 or 2", config.perm)));
    }
    Ok(())
}

/// An address is asked directly; a name is looked up.
fn direct(broker: &str) -> Part {
    if broker.contains(':') { Part::Broker(broker.to_string()) } else { Part::Lookup }
}

fn what(request: &AdminRequest) -> String {
    match request {
        AdminRequest::Clusters => "list clusters".to_string(),
        AdminRequest::Topics => "list topics".to_string(),
        AdminRequest::Route { topic } => format!("show the route of topic '{topic}'"),
        AdminRequest::TopicConfigs { broker } => format!("list the topics of broker '{broker}'"),
        AdminRequest::TopicStats { topic } => format!("show the queues of topic '{topic}'"),
        AdminRequest::CreateTopic { config, .. } => format!("create topic '{}'", config.name),
        AdminRequest::ConsumeStats { group, .. } => format!("show the progress of group '{group}'"),
        AdminRequest::BrokerInfo { broker } => format!("describe broker '{broker}'"),
    }
}

/// Names and addresses of the masters to ask.
fn masters(request: &AdminRequest, body: &[u8]) -> Result<Result<Vec<(String, String)>, ClientError>, WireError> {
    let by_topic =
        matches!(request, AdminRequest::TopicStats { .. } | AdminRequest::ConsumeStats { topic: Some(_), .. });
    let brokers: Vec<BrokerData> =
        if by_topic { TopicRoute::decode(body)?.brokers } else { ClusterInfo::decode(body)?.brokers };
    let wanted = match request {
        AdminRequest::TopicConfigs { broker }
        | AdminRequest::BrokerInfo { broker }
        | AdminRequest::CreateTopic { broker: Some(broker), .. } => Some(broker),
        _ => None,
    };
    let found: Vec<(String, String)> = brokers
        .iter()
        .filter(|broker| wanted.is_none_or(|wanted| broker.name == *wanted))
        .filter_map(|broker| Some((broker.name.clone(), broker.master()?.to_string())))
        .collect();
    if found.is_empty() {
        let what = match wanted {
            Some(name) => {
                format!("the NameServer knows no master of broker '{name}'; check the name, or give an address")
            }
            None => {
                "the NameServer knows no broker with a master; start one, or wait until it has registered".to_string()
            }
        };
        return Ok(Err(ClientError::new(ErrorKind::NoBroker, what)));
    }
    Ok(Ok(found))
}

fn queue(queue: &body::MessageQueue) -> MessageQueue {
    MessageQueue {
        topic: Arc::from(queue.topic.as_str()),
        broker: Arc::from(queue.broker.as_str()),
        id: queue.queue_id,
    }
}

fn broker_answer(request: &AdminRequest, body: &[u8]) -> Result<AdminAnswer, WireError> {
    Ok(match request {
        AdminRequest::TopicConfigs { .. } => AdminAnswer::TopicConfigs(TopicConfigTable::decode(body)?.topics),
        AdminRequest::BrokerInfo { .. } => AdminAnswer::BrokerInfo(KeyValues::decode(body)?.entries),
        AdminRequest::TopicStats { .. } => {
            let range = |(of, stats): &(body::MessageQueue, body::QueueStats)| QueueRange {
                queue: queue(of),
                min: stats.min.max(0) as u64,
                max: stats.max.max(0) as u64,
                last_update: Some(Unix(stats.last_update)).filter(|at| at.0 > 0),
            };
            AdminAnswer::TopicStats(TopicStats::decode(body)?.queues.iter().map(range).collect())
        }
        AdminRequest::ConsumeStats { .. } => {
            let progress = |(of, progress): &(body::MessageQueue, body::Progress)| QueueProgress {
                queue: queue(of),
                broker: progress.broker.max(0) as u64,
                consumer: progress.consumer.max(0) as u64,
            };
            AdminAnswer::ConsumeStats(ConsumeStats::decode(body)?.queues.iter().map(progress).collect())
        }
        AdminRequest::CreateTopic { .. }
        | AdminRequest::Clusters
        | AdminRequest::Topics
        | AdminRequest::Route { .. } => AdminAnswer::Created,
    })
}

fn sorted(mut answer: AdminAnswer) -> AdminAnswer {
    match &mut answer {
        AdminAnswer::TopicConfigs(topics) => sorted::sort_by(topics, |a, b| a.name.cmp(&b.name)),
        AdminAnswer::TopicStats(queues) => sorted::sort(queues),
        AdminAnswer::ConsumeStats(queues) => sorted::sort(queues),
        _ => {}
    }
    answer
}
