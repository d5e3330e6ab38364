//! The client as a machine without I/O: producers, push consumers, admin calls, over a few kept connections.
//!
//! A [`Client`] has the shape of every machine here: commands and `handle_*` in, [`Client::poll_output`] and
//! [`Client::poll_event`] out, [`Client::poll_timeout`] for when to call again. It chooses queues, retries,
//! shares queues out among the members of a group, keeps what was delivered until it is acked, and commits.
//! Nothing a caller does blocks; everything it started ends in one [`Event`].
//!
//! Must stay true: the same seed and inputs give the same outputs; a committed offset never passes a message that
//! was delivered and not acked (DEL-4); everything that waits has a deadline; all memory is bounded by the
//! configuration and by what callers have in flight (SEC-10).
//!
//! Where to start: a send is followed in [`producer`], a delivery in [`consumer`], [`deliver`] and [`retry`]; [`links`] owns connections and
//! requests under way, [`route`] what NameServers said, [`window`] what is delivered and not acked.
//! Deliberately elsewhere: bytes (`wire`, `record`), sockets and futures (the native and the wasm driver).

mod admin;
mod allocate;
mod close;
mod config;
mod consumer;
mod decode;
mod deliver;
mod error;
mod group;
mod links;
mod message;
mod producer;
mod retry;
mod route;
mod timers;
mod window;

#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use admin::{AdminAnswer, AdminRequest, QueueProgress, QueueRange};
pub use allocate::average;
pub use config::{ClientConfig, From, SendOptions, SubscribeOptions};
pub use error::{ClientError, ErrorKind};
pub use message::{BodyError, BodyTrouble, Message, MessageQueue, OutgoingMessage, SendResult, SendStatus};

use crate::ids::{AskId, Call, Caller, ConnId, LinkId};
use crate::output::Output;
use crate::time::{Instant, Now};
use crate::wire::answer::Answer;
use crate::wire::body::TopicRoute;
use crate::wire::codes::Code;
use crate::wire::reply::{Refusal, Reply};
use crate::wire::request::Request;
use links::{Failure, Links, Urgency};
use route::{DEFAULT_TOPIC, Routes};
use timers::{Timer, Timers};

/// A client sends no stored messages, so its outputs hold no leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLease {}

impl AsRef<[u8]> for NoLease {
    fn as_ref(&self) -> &[u8] {
        match *self {}
    }
}

/// A send, from [`Client::send`] to its [`Event::Sent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub u64);

/// A subscription of a group to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u32);

/// An admin call, from [`Client::admin`] to its [`Event::Admin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdminId(pub u64);

/// A consumer group of this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupId(u32);

/// One assignment of a queue to this client. A queue that is lost and comes back has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct AssignId(u64);

/// What a client tells its user. Nothing is lost when nobody takes it at once; what is delivered is bounded by
/// [`SubscribeOptions::prefetch`], everything else by what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A send ended: one result, or one for each message of a batch, in order.
    Sent {
        /// Which.
        id: SendId,
        /// How.
        result: Result<Vec<SendResult>, ClientError>,
    },
    /// Messages of one queue, in order. Each is to be acked or given back.
    Messages {
        /// Whose.
        consumer: ConsumerId,
        /// Where they were read, as [`Client::ack`] wants it.
        queue: MessageQueue,
        /// The messages.
        batch: Vec<Arc<Message>>,
    },
    /// The queues of a consumer changed: all that it has now, sorted. What is sent to them from now on is delivered.
    Assigned {
        /// Whose.
        consumer: ConsumerId,
        /// Its queues.
        queues: Vec<MessageQueue>,
    },
    /// A consumer cannot read for now. It goes on trying; told once until it reads again or the reason changes.
    Trouble {
        /// Whose.
        consumer: ConsumerId,
        /// What.
        error: ClientError,
    },
    /// A consumer has left its group and its progress is committed, or its time for that is over.
    Unsubscribed {
        /// Whose.
        consumer: ConsumerId,
    },
    /// An admin call ended.
    Admin {
        /// Which.
        id: AdminId,
        /// How.
        result: Result<AdminAnswer, ClientError>,
    },
    /// The client is closed; nothing follows.
    Closed,
}

/// What a request under way is for.
#[derive(Clone, Debug)]
enum Purpose {
    Route { topic: Arc<str>, default: bool, tries: usize },
    Send(SendId),
    Heartbeat { address: String, version: u64 },
    Members { group: GroupId, topic: Arc<str> },
    Progress(AssignId),
    Start(AssignId),
    Pull(AssignId),
    SendBack(AssignId, u64),
    Commit(AssignId),
    Leave(Option<ConsumerId>),
    Admin { id: AdminId, part: admin::Part, tries: usize },
}

/// The client. See the module for its shape.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    random: Random,
    links: Links,
    timers: Timers,
    routes: Routes,
    /// Which NameServer is in use.
    namesrv: usize,
    producers: producer::Producers,
    consumers: consumer::Consumers,
    roster: group::Roster,
    admins: admin::Admins,
    events: VecDeque<Event>,
    closing: Option<close::Closing>,
}

impl Client {
    /// A client that has not done anything yet. The seed decides which NameServer and which queues come first.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] when a NameServer's address is not `host:port`, or there is none.
    pub fn new(config: ClientConfig, seed: u64, now: Now) -> Result<Self, ClientError> {
        if config.namesrvs.is_empty() {
            return Err(ClientError::usage("no NameServer is given; name at least one as host:port"));
        }
        for address in &config.namesrvs {
            let port =
                address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                return Err(ClientError::usage(format!(
                    "'{address}' is not the address of a NameServer; write host:port, such as 127.0.0.1:9876"
                )));
            }
        }
        if config.client_id.is_empty() {
            return Err(ClientError::usage("the client id is empty; choose one that no other running client has"));
        }
        let mut random = Random(seed);
        let mut timers = Timers::default();
        timers.set(now.mono.plus_ms(config.route_interval), Timer::Routes);
        timers.set(now.mono.plus_ms(config.heartbeat_interval), Timer::Heartbeat);
        timers.set(now.mono.plus_ms(config.commit_interval), Timer::Commit);
        let namesrv = random.below(config.namesrvs.len());
        Ok(Self {
            links: Links::new(config.connect_timeout),
            producers: producer::Producers::new(&config, &mut random),
            config,
            random,
            timers,
            routes: Routes::default(),
            namesrv,
            consumers: consumer::Consumers::default(),
            roster: group::Roster::default(),
            admins: admin::Admins::default(),
            events: VecDeque::new(),
            closing: None,
        })
    }

    /// A dial succeeded.
    pub fn handle_linked(&mut self, now: Now, link: LinkId, conn: ConnId, _caller: Caller) {
        if let Some(address) = self.links.linked(now.mono, &mut self.timers, link, conn) {
            // A broker must know who asks before it is asked anything.
            self.roster.forget(&address);
            if self.routes.is_broker(&address) {
                self.beat(now, &address);
            }
            self.links.release(now.mono, &mut self.timers, &address);
        }
        self.settle(now);
    }

    /// A dial failed; `why` is a sentence's part, such as "connection refused".
    pub fn handle_link_failed(&mut self, now: Now, link: LinkId, why: &str) {
        self.links.dial_failed(now.mono, &mut self.timers, link, why);
        self.settle(now);
    }

    /// A connection is gone.
    pub fn handle_closed(&mut self, now: Now, conn: ConnId) {
        if let Some(address) = self.links.closed(&mut self.timers, conn) {
            self.link_lost(&address);
        }
        self.settle(now);
    }

    /// A peer answered.
    pub fn handle_answer(&mut self, now: Now, conn: ConnId, ask: AskId, answer: &Answer<'_>) {
        if let Some(purpose) = self.links.answered(now.mono, &mut self.timers, conn, ask) {
            match purpose {
                Purpose::Route { topic, default, tries } => self.route_answered(now, topic, default, tries, answer),
                Purpose::Send(id) => self.send_answered(now, id, answer),
                Purpose::Heartbeat { address, version } => self.beat_answered(now, &address, version, answer),
                Purpose::Members { group, topic } => self.members_answered(now, group, &topic, answer),
                Purpose::Progress(assign) => self.progress_answered(now, assign, answer),
                Purpose::Start(assign) => self.start_answered(now, assign, answer),
                Purpose::Pull(assign) => self.pull_answered(now, assign, answer),
                Purpose::SendBack(assign, offset) => self.send_back_answered(now, assign, offset, answer),
                Purpose::Commit(_) => {}
                Purpose::Leave(consumer) => self.left(consumer),
                Purpose::Admin { id, part, tries: _ } => self.admin_answered(now, id, &part, answer),
            }
        }
        self.settle(now);
    }

    /// A broker asks something of this client.
    pub fn handle_request(&mut self, now: Now, call: Call, request: &Request<'_>) {
        self.links.heard(now.mono, call.conn);
        let reply = if let Request::NotifyConsumerIds { group } = request {
            self.members_changed(now, group);
            Reply::Done
        } else {
            Reply::Refused(Refusal {
                code: Code::REQUEST_CODE_NOT_SUPPORTED,
                remark: "this client does not serve that request".to_string(),
            })
        };
        if !call.oneway {
            self.links.outputs.push_back(Output::Reply { call, reply });
        }
        self.settle(now);
    }

    /// The time that [`Self::poll_timeout`] named has come. Harmless when called early.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop(now.mono) {
            match timer {
                Timer::Ask(ask) => {
                    if let Some(address) = self.links.ask_expired(&mut self.timers, ask) {
                        self.link_lost(&address);
                    }
                }
                Timer::Dial(dial) => {
                    let why = format!("no connection in {} ms", self.config.connect_timeout);
                    self.links.dial_failed(now.mono, &mut self.timers, dial, &why);
                }
                Timer::Send(id) => self.send_expired(now, id),
                Timer::Routes => {
                    self.timers.set(now.mono.plus_ms(self.config.route_interval), Timer::Routes);
                    self.refresh_all(now);
                }
                Timer::MissingRoutes => self.ask_missing_routes(now),
                Timer::Heartbeat => {
                    self.timers.set(now.mono.plus_ms(self.config.heartbeat_interval), Timer::Heartbeat);
                    self.drop_unused();
                    self.beat_all(now);
                }
                Timer::Rebalance(group) => self.rebalance(now, group),
                Timer::Commit => {
                    self.timers.set(now.mono.plus_ms(self.config.commit_interval), Timer::Commit);
                    self.commit_all(now);
                }
                Timer::Queue(assign) => self.queue_due(now, assign),
                Timer::Redeliver(assign, offset) => self.redeliver(assign, offset),
                Timer::Close => self.close_expired(now),
            }
            self.settle(now);
        }
    }

    /// The next effect; take all before sleeping.
    pub fn poll_output(&mut self) -> Option<Output<NoLease>> {
        self.links.outputs.pop_front()
    }

    /// The next thing to tell the user.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`]; `None` when nothing is waited for.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The settings.
    pub const fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// Failures and hand-overs that the last step caused, until nothing follows from them any more.
    fn settle(&mut self, now: Now) {
        loop {
            if let Some(Failure { purpose, error }) = self.links.failures.pop_front() {
                self.failed(now, purpose, error);
            } else if let Some(purpose) = self.links.handed_over.pop_front() {
                if let Purpose::Send(id) = purpose {
                    self.send_handed_over(now, id);
                }
            } else {
                break;
            }
        }
        self.go_on_closing(now);
    }

    fn failed(&mut self, now: Now, purpose: Purpose, error: ClientError) {
        match purpose {
            Purpose::Route { topic, default, tries } => self.route_failed(now, topic, default, tries, &error),
            Purpose::Send(id) => self.send_failed(now, id, error),
            Purpose::Heartbeat { address, version } => self.roster.beat_failed(&address, version),
            Purpose::Members { group, topic } => self.members_failed(now, group, &topic, &error),
            Purpose::Progress(assign) | Purpose::Start(assign) | Purpose::Pull(assign) => {
                self.read_failed(now, assign, &error);
            }
            Purpose::SendBack(assign, offset) => self.deliver_later(now, assign, offset),
            Purpose::Commit(assign) => self.commit_failed(assign),
            Purpose::Leave(consumer) => self.left(consumer),
            Purpose::Admin { id, part, tries } => self.admin_failed(now, id, part, tries, error),
        }
    }

    /// A connection broke: what its broker knew of us is gone with it.
    fn link_lost(&mut self, address: &str) {
        self.roster.forget(address);
        self.broker_lost(address);
    }

    /// Asks the NameServer in use. After `tries` failed ones the next is taken by [`Self::next_namesrv`].
    fn ask_namesrv(&mut self, now: Now, request: &Request<'_>, timeout_ms: u64, purpose: Purpose) -> AskId {
        let address = self.config.namesrvs[self.namesrv % self.config.namesrvs.len()].clone();
        self.ask(now, &address, request, timeout_ms, Urgency::Now, purpose)
    }

    fn ask(
        &mut self,
        now: Now,
        address: &str,
        request: &Request<'_>,
        timeout_ms: u64,
        urgency: Urgency,
        purpose: Purpose,
    ) -> AskId {
        self.links.ask(now.mono, &mut self.timers, address, request, false, timeout_ms, urgency, purpose)
    }

    /// Takes the next NameServer after one failed. `false` when all were tried.
    fn next_namesrv(&mut self, tries: usize) -> bool {
        self.namesrv = (self.namesrv + 1) % self.config.namesrvs.len();
        tries + 1 < self.config.namesrvs.len()
    }

    // Routes.

    /// Asks for a topic's route unless that is under way.
    fn want_route(&mut self, now: Now, topic: &str) {
        let entry = self.routes.topic(topic);
        if entry.asking {
            return;
        }
        entry.asking = true;
        entry.last_ask = Some(now.mono);
        let purpose = Purpose::Route { topic: Arc::from(topic), default: false, tries: 0 };
        self.ask_route(now, topic, purpose);
    }

    /// As [`Self::want_route`], at most once a second: something failed, and the route may be why.
    fn doubt_route(&mut self, now: Now, topic: &str) {
        let last = self.routes.topic(topic).last_ask;
        if last.is_none_or(|last| now.mono.ms_since(last) >= 1_000) {
            self.want_route(now, topic);
        }
    }

    fn ask_route(&mut self, now: Now, topic: &str, purpose: Purpose) {
        let timeout = self.config.request_timeout;
        self.ask_namesrv(now, &Request::Route { topic, standard_json: true }, timeout, purpose);
    }

    fn route_answered(&mut self, now: Now, topic: Arc<str>, default: bool, tries: usize, answer: &Answer<'_>) {
        if answer.code == Code::SUCCESS {
            match TopicRoute::decode(answer.body) {
                Ok(route) => self.route_learned(now, &topic, &route, default),
                Err(why) => {
                    let what = format!("the NameServer's route of topic '{topic}' does not parse: {why}");
                    self.route_failed(now, topic, default, tries, &ClientError::new(ErrorKind::Malformed, what));
                }
            }
            return;
        }
        let entry = self.routes.topic(&topic);
        entry.answered = true;
        if answer.code == Code::TOPIC_NOT_EXIST && !default && entry.write.is_empty() && !entry.waiting.is_empty() {
            // A producer needs it: how are topics created that do not exist?
            self.ask_route(now, DEFAULT_TOPIC, Purpose::Route { topic, default: true, tries: 0 });
            return;
        }
        let error = if answer.code == Code::TOPIC_NOT_EXIST {
            let or = if default { " or creates topics by itself" } else { "" };
            ClientError::new(
                ErrorKind::NoRoute,
                format!("no registered broker has the topic '{topic}'{or}; create the topic, or start its broker"),
            )
        } else {
            refused(&format!("the NameServer refused the route of topic '{topic}'"), answer.code, answer.remark)
        };
        self.route_missing(now, &topic, &error);
    }

    fn route_failed(&mut self, now: Now, topic: Arc<str>, default: bool, tries: usize, error: &ClientError) {
        if self.next_namesrv(tries) {
            let name = if default { DEFAULT_TOPIC } else { &topic };
            let name = name.to_string();
            self.ask_route(now, &name, Purpose::Route { topic, default, tries: tries + 1 });
            return;
        }
        let error = ClientError::new(ErrorKind::NoNameServer, format!("no NameServer answers: {error}"));
        self.route_missing(now, &topic, &error);
    }

    fn route_learned(&mut self, now: Now, topic: &Arc<str>, route: &TopicRoute, default: bool) {
        let changed = self.routes.learn(topic, route, default);
        let entry = self.routes.topic(topic);
        entry.asking = false;
        entry.answered = true;
        let waiting = core::mem::take(&mut entry.waiting);
        if entry.write.is_empty() && !waiting.is_empty() {
            let what =
                format!("topic '{topic}' has no writable queue on any broker with a master; check its permission");
            for id in waiting {
                self.send_failed(now, id, ClientError::new(ErrorKind::NoRoute, what.clone()));
            }
        } else {
            for id in waiting {
                self.attempt(now, id);
            }
        }
        if changed {
            self.topic_changed(now, topic);
        }
    }

    fn route_missing(&mut self, now: Now, topic: &Arc<str>, error: &ClientError) {
        let entry = self.routes.topic(topic);
        entry.asking = false;
        entry.error = Some(error.clone());
        let usable = !entry.write.is_empty();
        for id in core::mem::take(&mut entry.waiting) {
            if usable {
                self.attempt(now, id);
            } else {
                self.finish_send(now, id, Err(error.clone()));
            }
        }
        self.topic_missing(now, topic, error);
    }

    /// Refreshes the route of every topic in use; forgets those that are not.
    fn refresh_all(&mut self, now: Now) {
        let names: Vec<Arc<str>> = self.routes.topics.keys().cloned().collect();
        for name in names {
            if self.is_produced(&name) || self.is_consumed(&name) {
                self.want_route(now, &name);
            } else if self.routes.topics.get(&name).is_some_and(|topic| !topic.asking && topic.waiting.is_empty()) {
                self.routes.topics.remove(&name);
            }
        }
    }

    /// Closes connections to brokers that no route names any more.
    fn drop_unused(&mut self) {
        self.routes.forget_unused();
        let known = self.routes.addresses(true);
        let unused = |address: &&str| {
            let namesrv = self.config.namesrvs.iter().any(|namesrv| namesrv == address);
            !namesrv && !known.contains(*address) && !self.links.is_busy(address)
        };
        let drop: Vec<String> = self.links.up().filter(unused).map(ToString::to_string).collect();
        for address in drop {
            if self.links.hang_up(&mut self.timers, &address).is_some() {
                self.link_lost(&address);
            }
        }
    }

    fn check_open(&self) -> Result<(), ClientError> {
        match self.closing {
            None => Ok(()),
            Some(_) => Err(ClientError::new(ErrorKind::Closed, "the client is closed; make a new one")),
        }
    }
}

/// A refusal as an error: what was asked, the code, and the server's sentence.
fn refused(what: &str, code: Code, remark: &str) -> ClientError {
    let remark = if remark.is_empty() { "no reason given" } else { remark };
    ClientError::new(ErrorKind::Refused(code), format!("{what}: {} ({}): {remark}", code.name(), code.0))
}

/// Numbers from a seed: splitmix64.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 when `n` is 0.
    fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }
}
