//! Push consumers, the group's side: subscriptions, members, and which queues are ours.
//!
//! A consumer is one subscription of a group to a topic; consumers of one group share membership, and the group's
//! retry topic comes with it. Queues are shared out when the group starts, when members or routes change, and every
//! 20 s: all members compute the same average shares from the same sorted lists. What a member list does not name us
//! in changes nothing; the broker is told again who we are.
//!
//! Deliberately elsewhere: reading an assigned queue, acks and commits ([`super::deliver`]).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::config::{From, SubscribeOptions};
use super::deliver::Assigned;
use super::error::{ClientError, ErrorKind};
use super::links::Urgency;
use super::message::{MessageQueue, RETRY_PREFIX, check_group, check_topic, parse_tags};
use super::timers::Timer;
use super::{AssignId, Client, ConsumerId, Event, GroupId, Purpose, allocate, refused};
use crate::sorted::{self, Map, Set};
use crate::time::{Instant, Now};
use crate::wire::answer::Answer;
use crate::wire::body::ConsumerIds;
use crate::wire::codes::Code;
use crate::wire::request::{ConsumerData, Request, Subscription};

/// At least this between two rebalances of a group, ms.
const REBALANCE_GAP_MS: u64 = 1_000;
/// How often a subscribed topic that has no route is looked for, ms. Apache: with all routes, every 30 s.
const MISSING_ROUTE_MS: u64 = 3_000;

/// One topic of a group.
#[derive(Debug)]
pub(super) struct Sub {
    /// `None` for the group's retry topic.
    pub(super) consumer: Option<ConsumerId>,
    pub(super) options: SubscribeOptions,
    pub(super) tags: Vec<String>,
    pub(super) version: i64,
    pub(super) paused: bool,
    /// The queues that existed when the route was first known: in others, nothing can have been missed before.
    pub(super) first_queues: Option<Set<MessageQueue>>,
    pub(super) assigned: Map<MessageQueue, AssignId>,
    members_asked: bool,
    /// The queues changed and the consumer has not been told.
    untold: bool,
    /// What was told last, so that it is told once.
    trouble: Option<ErrorKind>,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: Arc<str>,
    broadcast: bool,
    pub(super) subs: Map<Arc<str>, Sub>,
    /// The roster's version from which on a broker knows this group as it is.
    since: u64,
    last_rebalance: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Consumers {
    pub(super) groups: Map<GroupId, Group>,
    by_id: Map<ConsumerId, (GroupId, Arc<str>)>,
    pub(super) assigned: Map<AssignId, Assigned>,
    /// Consumers on their way out, and how many answers they wait for.
    leaving: Map<ConsumerId, usize>,
    next_group: u32,
    next_consumer: u32,
    next_assign: u64,
    last_version: i64,
}

impl Consumers {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn ids(&self) -> Vec<ConsumerId> {
        self.by_id.keys().copied().collect()
    }

    pub(super) fn all_left(&self) -> bool {
        self.by_id.is_empty() && self.leaving.is_empty()
    }

    pub(super) fn take_leaving(&mut self) -> Vec<ConsumerId> {
        self.by_id.keys().chain(self.leaving.keys()).copied().collect()
    }

    pub(super) fn find(&self, consumer: ConsumerId) -> Option<(GroupId, &Arc<str>)> {
        self.by_id.get(&consumer).map(|(group, topic)| (*group, topic))
    }

    pub(super) fn sub(&self, group: GroupId, topic: &str) -> Option<&Sub> {
        self.groups.get(&group)?.subs.get(topic)
    }

    fn sub_mut(&mut self, group: GroupId, topic: &str) -> Option<&mut Sub> {
        self.groups.get_mut(&group)?.subs.get_mut(topic)
    }

    /// The assignment of a queue that the consumer's group has.
    pub(super) fn assignment(&self, consumer: ConsumerId, queue: &MessageQueue) -> Option<AssignId> {
        let (group, _) = self.find(consumer)?;
        self.sub(group, &queue.topic)?.assigned.get(queue).copied()
    }

    /// The groups as a heartbeat tells them.
    pub(super) fn describe(&self) -> Vec<ConsumerData> {
        let subscription = |(topic, sub): (&Arc<str>, &Sub)| Subscription {
            topic: topic.to_string(),
            expression: sub.options.tags.clone(),
            expression_type: "TAG".to_string(),
            tags: sub.tags.clone(),
            version: sub.version,
        };
        let from = |group: &Group| {
            let first = group.subs.values().find(|sub| sub.consumer.is_some()).map(|sub| sub.options.from);
            match first {
                None | Some(From::Last) => "CONSUME_FROM_LAST_OFFSET",
                Some(From::First) => "CONSUME_FROM_FIRST_OFFSET",
                Some(From::Time(_)) => "CONSUME_FROM_TIMESTAMP",
            }
        };
        let data = |group: &Group| ConsumerData {
            group: group.name.to_string(),
            consume_type: "CONSUME_PASSIVELY".to_string(),
            message_model: if group.broadcast { "BROADCASTING" } else { "CLUSTERING" }.to_string(),
            from: from(group).to_string(),
            subscriptions: group.subs.iter().map(subscription).collect(),
        };
        self.groups.values().map(data).collect()
    }
}

impl Client {
    /// Joins a group as a consumer of a topic. Messages come as [`Event::Messages`].
    ///
    /// Consumers of one group on one client are one member of it; a group's members must all subscribe to the same
    /// topics with the same tags. A topic that does not exist yet is waited for.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a bad name or option, or when this client consumes the topic in this group already.
    pub fn subscribe(
        &mut self,
        now: Now,
        group: &str,
        topic: &str,
        options: SubscribeOptions,
    ) -> Result<ConsumerId, ClientError> {
        self.check_open()?;
        check_group(group)?;
        check_topic(topic)?;
        if options.prefetch == 0 || options.prefetch_bytes == 0 {
            return Err(ClientError::usage("prefetch is 0, so nothing could be delivered; use at least 1"));
        }
        if !(1..=1024).contains(&options.batch) {
            return Err(ClientError::usage(format!("batch is {}; use 1 to 1024", options.batch)));
        }
        let known = self.consumers.groups.iter().find(|(_, known)| *known.name == *group).map(|(id, _)| *id);
        let id = known.unwrap_or_else(|| {
            self.consumers.next_group += 1;
            let id = GroupId(self.consumers.next_group);
            let name: Arc<str> = Arc::from(group);
            let broadcast = options.broadcast;
            self.consumers
                .groups
                .insert(id, Group { name, broadcast, subs: Map::new(), since: 0, last_rebalance: None });
            id
        });
        self.consumers.next_consumer += 1;
        let consumer = ConsumerId(self.consumers.next_consumer);
        let Some(entry) = self.consumers.groups.get_mut(&id) else { return Ok(consumer) };
        if entry.subs.contains_key(topic) {
            return Err(ClientError::usage(format!(
                "this client consumes topic '{topic}' in group '{group}' already; use that consumer, or another group"
            )));
        }
        if entry.broadcast != options.broadcast {
            return Err(ClientError::usage(format!(
                "group '{group}' has consumers with the other value of broadcast; use the same, or another group"
            )));
        }
        // A broker takes a subscription over what it knows only when its version is larger.
        let version = now.wall.0.max(self.consumers.last_version + 1);
        self.consumers.last_version = version;
        let topic: Arc<str> = Arc::from(topic);
        let retry: Arc<str> = Arc::from(format!("{RETRY_PREFIX}{group}"));
        let from = if matches!(options.from, From::Time(_)) { From::Last } else { From::First };
        let retry_options = SubscribeOptions { tags: "*".to_string(), from, ..options.clone() };
        let mut names = Vec::from([topic.clone()]);
        if !entry.broadcast {
            entry.subs.get_or_insert_with(retry.clone(), || Sub::new(None, retry_options, version));
            names.push(retry);
        }
        entry.subs.insert(topic.clone(), Sub::new(Some(consumer), options, version));
        entry.since = self.roster.changed();
        self.consumers.by_id.insert(consumer, (id, topic));
        for name in names {
            if self.routes.topic(&name).read.is_empty() {
                self.want_route(now, &name);
            } else {
                self.note_first_queues(&name);
            }
        }
        self.timers.set_sooner(now.mono.plus_ms(MISSING_ROUTE_MS), Timer::MissingRoutes);
        self.timers.set(now.mono.plus_ms(self.config.rebalance_interval), Timer::Rebalance(id));
        self.beat_missing(now);
        self.settle(now);
        Ok(consumer)
    }

    /// Leaves: commits, gives the queues up and, with the last consumer of a group, leaves the group.
    /// [`Event::Unsubscribed`] follows. Messages of this consumer that nobody took yet are dropped.
    pub fn unsubscribe(&mut self, now: Now, consumer: ConsumerId) {
        self.leave(now, consumer);
        self.settle(now);
    }

    /// Stops reading for a consumer. What was delivered, or is on its way, still comes.
    pub fn pause(&mut self, consumer: ConsumerId) {
        if let Some((group, topic)) = self.consumers.by_id.get(&consumer).cloned()
            && let Some(sub) = self.consumers.sub_mut(group, &topic)
        {
            sub.paused = true;
        }
    }

    /// Reads on after [`Self::pause`].
    pub fn resume(&mut self, now: Now, consumer: ConsumerId) {
        if let Some((group, topic)) = self.consumers.by_id.get(&consumer).cloned()
            && let Some(sub) = self.consumers.sub_mut(group, &topic)
        {
            sub.paused = false;
            let assigned: Vec<AssignId> = sub.assigned.values().copied().collect();
            for assign in assigned {
                self.read_on(now, assign);
            }
        }
        self.settle(now);
    }

    /// The queues that a consumer has now and knows where to start in, sorted.
    pub fn assigned(&self, consumer: ConsumerId) -> impl Iterator<Item = &MessageQueue> {
        let found = self.consumers.find(consumer).and_then(|(group, topic)| self.consumers.sub(group, topic));
        let begun = |assign: &AssignId| self.consumers.assigned.get(assign).is_some_and(Assigned::has_begun);
        found.into_iter().flat_map(|sub| &sub.assigned).filter(move |(_, assign)| begun(assign)).map(|(queue, _)| queue)
    }

    pub(super) fn leave(&mut self, now: Now, consumer: ConsumerId) {
        let Some((id, topic)) = self.consumers.by_id.remove(&consumer) else { return };
        self.consumers.leaving.insert(consumer, 1);
        let Some(group) = self.consumers.groups.get_mut(&id) else { return };
        let mut gone: Vec<Sub> = group.subs.remove(&topic).into_iter().collect();
        let name = group.name.clone();
        let last = group.subs.values().all(|sub| sub.consumer.is_none());
        if last {
            gone.extend(core::mem::take(&mut group.subs).into_values());
            self.consumers.groups.remove(&id);
            self.timers.unset(&Timer::Rebalance(id));
        } else {
            // What this consumer holds of the retry topic is for the others: it is read again.
            let retry = group.subs.values_mut().filter(|sub| sub.consumer.is_none());
            let retry: Vec<AssignId> = retry.flat_map(|sub| core::mem::take(&mut sub.assigned).into_values()).collect();
            for assign in retry {
                self.give_up(now, assign, &name, None);
            }
        }
        for assign in gone.into_iter().flat_map(|sub| sub.assigned.into_values()) {
            self.give_up(now, assign, &name, Some(consumer));
        }
        let since = self.roster.changed();
        if last {
            self.unregister_consumer(now, consumer, &name);
        } else {
            if let Some(group) = self.consumers.groups.get_mut(&id) {
                group.since = since;
            }
            self.beat_missing(now);
        }
        self.left(Some(consumer));
    }

    fn unregister_consumer(&mut self, now: Now, consumer: ConsumerId, group: &str) {
        let client_id = self.config.client_id.clone();
        let up = self.links.up().filter(|address| self.roster.knows_us(address));
        let up: Vec<String> = up.map(ToString::to_string).collect();
        for address in &up {
            let request =
                Request::UnregisterClient { client_id: &client_id, producer_group: None, consumer_group: Some(group) };
            self.ask_leaving(now, address, &request, consumer);
        }
    }

    /// Asks something that a leaving consumer waits for.
    pub(super) fn ask_leaving(&mut self, now: Now, address: &str, request: &Request<'_>, consumer: ConsumerId) {
        if let Some(count) = self.consumers.leaving.get_mut(&consumer) {
            *count += 1;
        }
        let timeout = self.config.request_timeout;
        self.ask(now, address, request, timeout, Urgency::Background, Purpose::Leave(Some(consumer)));
    }

    /// One of the answers that a leaving consumer waits for is there, or will not come.
    pub(super) fn left(&mut self, consumer: Option<ConsumerId>) {
        let Some(consumer) = consumer else { return };
        let Some(count) = self.consumers.leaving.get_mut(&consumer) else { return };
        *count -= 1;
        if *count == 0 {
            self.consumers.leaving.remove(&consumer);
            self.events.push_back(Event::Unsubscribed { consumer });
        }
    }

    pub(super) fn is_consumed(&self, topic: &str) -> bool {
        self.consumers.groups.values().any(|group| group.subs.contains_key(topic))
    }

    // Routes and members.

    /// A subscribed topic's queues, or a broker's address, changed.
    pub(super) fn topic_changed(&mut self, now: Now, topic: &Arc<str>) {
        self.note_first_queues(topic);
        if !self.consumers.is_empty() {
            self.beat_missing(now);
        }
        let groups = self.groups_of(topic);
        for group in groups {
            self.rebalance_soon(now, group);
        }
    }

    /// A NameServer knows no route of the topic, or none could be asked.
    pub(super) fn topic_missing(&mut self, now: Now, topic: &Arc<str>, error: &ClientError) {
        if error.kind == ErrorKind::NoRoute {
            self.note_first_queues(topic);
        }
        if !self.routes.topic(topic).read.is_empty() {
            return;
        }
        for group in self.groups_of(topic) {
            self.tell_trouble(group, topic, error);
        }
        if self.groups_of(topic).iter().any(|id| self.consumers.sub(*id, topic).is_some_and(|s| s.consumer.is_some())) {
            self.timers.set_sooner(now.mono.plus_ms(MISSING_ROUTE_MS), Timer::MissingRoutes);
        }
    }

    /// Looks again for what has no route. A retry topic comes into being with the first heartbeat, so one more look
    /// is enough for it; a topic is looked for until it is there.
    pub(super) fn ask_missing_routes(&mut self, now: Now) {
        let subs = self.consumers.groups.values().flat_map(|group| &group.subs);
        let topics: Vec<(Arc<str>, bool)> = subs.map(|(topic, sub)| (topic.clone(), sub.consumer.is_some())).collect();
        for (topic, wanted) in topics {
            if self.routes.topic(&topic).read.is_empty() {
                self.want_route(now, &topic);
                if wanted {
                    self.timers.set_sooner(now.mono.plus_ms(MISSING_ROUTE_MS), Timer::MissingRoutes);
                }
            }
        }
    }

    fn groups_of(&self, topic: &str) -> Vec<GroupId> {
        self.consumers.groups.iter().filter(|(_, group)| group.subs.contains_key(topic)).map(|(id, _)| *id).collect()
    }

    fn note_first_queues(&mut self, topic: &Arc<str>) {
        let queues: Set<MessageQueue> = self.routes.topic(topic).read.iter().cloned().collect();
        for group in self.consumers.groups.values_mut() {
            if let Some(sub) = group.subs.get_mut(topic) {
                sub.first_queues.get_or_insert_with(|| queues.clone());
            }
        }
    }

    /// The members of a group changed, says a broker.
    pub(super) fn members_changed(&mut self, now: Now, group: &str) {
        let found = self.consumers.groups.iter().find(|(_, known)| *known.name == *group).map(|(id, _)| *id);
        if let Some(id) = found {
            self.rebalance_soon(now, id);
        }
    }

    /// A broker confirmed the roster.
    pub(super) fn broker_knows(&mut self, now: Now, before: u64, version: u64) {
        let new = |group: &Group| group.since > before && group.since <= version;
        let groups: Vec<GroupId> =
            self.consumers.groups.iter().filter(|(_, group)| new(group)).map(|(id, _)| *id).collect();
        for id in groups {
            self.rebalance_soon(now, id);
        }
    }

    fn rebalance_soon(&mut self, now: Now, id: GroupId) {
        let Some(group) = self.consumers.groups.get(&id) else { return };
        match group.last_rebalance.map(|last| last.plus_ms(REBALANCE_GAP_MS)) {
            Some(next) if next > now.mono => self.timers.set_sooner(next, Timer::Rebalance(id)),
            _ => self.rebalance(now, id),
        }
    }

    /// Asks for the members of a group, once for each of its topics; a broadcasting group's member has every queue.
    pub(super) fn rebalance(&mut self, now: Now, id: GroupId) {
        self.timers.set(now.mono.plus_ms(self.config.rebalance_interval), Timer::Rebalance(id));
        let Some(group) = self.consumers.groups.get_mut(&id) else { return };
        let (since, name) = (group.since, group.name.clone());
        let mut ask = Vec::new();
        let mut unknown = false;
        for (topic, sub) in &mut group.subs {
            if sub.members_asked || self.routes.topics.get(topic).is_none_or(|topic| topic.read.is_empty()) {
                continue;
            }
            let brokers = self.routes.brokers_of(topic);
            let knowing: Vec<&str> = brokers.into_iter().filter(|address| self.roster.knows(address, since)).collect();
            if let Some(address) = knowing.get(self.random.below(knowing.len())) {
                sub.members_asked = !group.broadcast;
                ask.push((topic.clone(), (*address).to_string()));
            } else {
                unknown = true;
            }
        }
        if !ask.is_empty() {
            group.last_rebalance = Some(now.mono);
        }
        let broadcast = group.broadcast;
        for (topic, address) in ask {
            if broadcast {
                let all = self.routes.topic(&topic).read.clone();
                self.take_share(now, id, &topic, &all);
                continue;
            }
            let purpose = Purpose::Members { group: id, topic };
            let request = Request::ConsumerList { group: &name };
            self.ask(now, &address, &request, self.config.request_timeout, Urgency::Background, purpose);
        }
        if unknown {
            self.beat_missing(now);
            self.timers.set_sooner(now.mono.plus_ms(REBALANCE_GAP_MS), Timer::Rebalance(id));
        }
    }

    pub(super) fn members_answered(&mut self, now: Now, id: GroupId, topic: &Arc<str>, answer: &Answer<'_>) {
        let Some(group) = self.consumers.groups.get_mut(&id) else { return };
        let Some(sub) = group.subs.get_mut(topic) else { return };
        sub.members_asked = false;
        let mut members = match ConsumerIds::decode(answer.body) {
            Ok(members) if answer.is_success() => members.ids,
            // "No consumer for this group": the broker has forgotten us.
            _ if answer.code == Code::SYSTEM_ERROR => Vec::new(),
            Ok(_) => {
                let error = refused("the broker refused the members of the group", answer.code, answer.remark);
                self.members_failed(now, id, topic, &error);
                return;
            }
            Err(why) => {
                let what = format!("the members of group '{}' do not parse: {why}", group.name);
                self.members_failed(now, id, topic, &ClientError::new(ErrorKind::Malformed, what));
                return;
            }
        };
        sorted::sort(&mut members);
        members.dedup();
        if members.binary_search(&self.config.client_id).is_err() {
            // Nothing is given up for that: others would have to know us first to leave us a share.
            self.beat_all(now);
            self.timers.set_sooner(now.mono.plus_ms(REBALANCE_GAP_MS), Timer::Rebalance(id));
            return;
        }
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let Some(route) = self.routes.topics.get(topic) else { return };
        let share = allocate::average(&route.read, &members, &self.config.client_id).to_vec();
        self.take_share(now, id, topic, &share);
    }

    pub(super) fn members_failed(&mut self, now: Now, id: GroupId, topic: &Arc<str>, error: &ClientError) {
        let Some(sub) = self.consumers.sub_mut(id, topic) else { return };
        sub.members_asked = false;
        self.timers.set_sooner(now.mono.plus_ms(REBALANCE_GAP_MS), Timer::Rebalance(id));
        self.tell_trouble(id, topic, error);
        self.doubt_route(now, topic);
    }

    fn take_share(&mut self, now: Now, id: GroupId, topic: &Arc<str>, share: &[MessageQueue]) {
        let Some(sub) = self.consumers.sub_mut(id, topic) else { return };
        let lost: Vec<MessageQueue> = sub.assigned.keys().filter(|queue| !share.contains(queue)).cloned().collect();
        let lost: Vec<AssignId> = lost.iter().filter_map(|queue| sub.assigned.remove(queue)).collect();
        let new: Vec<MessageQueue> = share.iter().filter(|queue| !sub.assigned.contains_key(queue)).cloned().collect();
        sub.untold |= !lost.is_empty() || !new.is_empty();
        let fewer = !lost.is_empty();
        let Some(name) = self.consumers.groups.get(&id).map(|group| group.name.clone()) else { return };
        for assign in lost {
            self.give_up(now, assign, &name, None);
        }
        for queue in new {
            self.consumers.next_assign += 1;
            let assign = AssignId(self.consumers.next_assign);
            let Some(sub) = self.consumers.sub_mut(id, topic) else { return };
            let broadcast = sub.options.broadcast;
            let existed = sub.first_queues.as_ref().is_none_or(|first| first.contains(&queue));
            sub.assigned.insert(queue.clone(), assign);
            self.consumers.assigned.insert(assign, Assigned::new(id, queue, existed, broadcast));
            self.find_start(now, assign);
        }
        self.tell_assigned(id, topic, fewer);
    }

    /// Tells a consumer its queues, once it is known where to start in all of them, so that nothing that is sent
    /// afterwards can be missed; at once when it lost some.
    pub(super) fn tell_assigned(&mut self, id: GroupId, topic: &str, at_once: bool) {
        let Some(sub) = self.consumers.sub(id, topic) else { return };
        let Some(consumer) = sub.consumer.filter(|_| sub.untold) else { return };
        let queues: Vec<MessageQueue> = self.assigned(consumer).cloned().collect();
        let all = queues.len() == sub.assigned.len();
        if all || at_once {
            self.events.push_back(Event::Assigned { consumer, queues });
        }
        if let Some(sub) = self.consumers.sub_mut(id, topic) {
            sub.untold = !all;
        }
    }

    /// Tells a consumer why it cannot read, once for each reason. A retry topic's trouble is nobody's.
    pub(super) fn tell_trouble(&mut self, id: GroupId, topic: &str, error: &ClientError) {
        let Some(sub) = self.consumers.sub_mut(id, topic) else { return };
        let Some(consumer) = sub.consumer else { return };
        if sub.trouble != Some(error.kind) {
            sub.trouble = Some(error.kind);
            self.events.push_back(Event::Trouble { consumer, error: error.clone() });
        }
    }

    /// A consumer reads: the next trouble is news.
    pub(super) fn no_trouble(&mut self, id: GroupId, topic: &str) {
        if let Some(sub) = self.consumers.sub_mut(id, topic) {
            sub.trouble = None;
        }
    }
}

impl Sub {
    fn new(consumer: Option<ConsumerId>, mut options: SubscribeOptions, version: i64) -> Self {
        let tags = parse_tags(&options.tags);
        if tags.is_empty() {
            options.tags = "*".to_string();
        }
        Self {
            consumer,
            options,
            tags,
            version,
            paused: false,
            first_queues: None,
            assigned: Map::new(),
            members_asked: false,
            untold: false,
            trouble: None,
        }
    }
}
