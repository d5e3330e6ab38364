//! The broker's side of routing: a long-lived link to each NameServer, a full registration at start and every 30 s,
//! and an incremental one as soon as topics change (A35). Each NameServer is served on its own: one that is down
//! delays nobody (A15). Start at [`Broker::poll_register`].

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Broker;
use crate::ids::{AskId, Call, Caller, ConnId, LinkId};
use crate::output::{Note, Output};
use crate::store::Store;
use crate::time::{Instant, Now};
use crate::wire::answer::Answer;
use crate::wire::codes::Code;
use crate::wire::encode;
use crate::wire::reply::{Refusal, Reply};
use crate::wire::request::{RegisterBroker, Request};

/// Time between registrations, ms. Java: `registerNameServerPeriod`.
const PERIOD_MS: u64 = 30_000;
/// A registration without an answer after this time gives the link up, ms. Java: `registerBrokerTimeoutMills`.
const ANSWER_MS: u64 = 24_000;
/// First and longest wait before dialling again, ms.
const REDIAL_MS: (u64, u64) = (500, 10_000);
/// How long a topic's creator waits for the NameServers at most, and a stop for their goodbye, ms.
const PATIENCE_MS: u64 = 3000;

#[derive(Debug)]
enum Line {
    /// Dial at this time.
    Down(Instant),
    Dialling,
    Up {
        conn: ConnId,
        address: String,
    },
}

/// One NameServer as the broker sees it.
#[derive(Debug)]
pub struct Namesrv {
    name: String,
    line: Line,
    redial: u64,
    asked: Option<(AskId, i64, Instant)>,
    /// Topic table version that it has; `None` before the first full registration on this link.
    has: Option<i64>,
    due: Instant,
}

impl Namesrv {
    /// One that is dialled at once.
    pub fn new(name: String, now: Now) -> Self {
        Self { name, line: Line::Down(now.mono), redial: REDIAL_MS.0, asked: None, has: None, due: now.mono }
    }

    fn down(&mut self, now: Instant) {
        self.line = Line::Down(now.plus_ms(self.redial));
        self.redial = (self.redial * 2).min(REDIAL_MS.1);
        (self.asked, self.has) = (None, None);
    }
}

/// Someone who asked for a topic and waits until it is saved and known.
#[derive(Debug)]
pub struct TopicWaiter {
    call: Call,
    version: i64,
    deadline: Instant,
}

impl<S: Store> Broker<S> {
    /// A dial succeeded.
    pub fn handle_linked(&mut self, now: Now, link: LinkId, conn: ConnId, caller: Caller) {
        self.now = now;
        let registered = match (&self.config.advertise, self.config.host.ip().is_unspecified()) {
            (Some(address), _) => address.clone(),
            (None, false) => self.config.host.to_string(),
            (None, true) => core::net::SocketAddr::new(caller.local.ip(), self.config.host.port()).to_string(),
        };
        if let Some(namesrv) = self.namesrvs.get_mut(link.0 as usize) {
            namesrv.line = Line::Up { conn, address: registered };
            namesrv.due = now.mono;
        }
        self.poll_register();
    }

    /// A dial failed.
    pub fn handle_link_failed(&mut self, now: Now, link: LinkId, why: &str) {
        self.now = now;
        if let Some(namesrv) = self.namesrvs.get_mut(link.0 as usize) {
            namesrv.down(now.mono);
            let note = Note::RegisterFailed { namesrv: namesrv.name.clone(), why: why.into() };
            self.out.push_back(Output::Note(note));
        }
        self.settle_topic_waiters(now);
    }

    /// A NameServer answered.
    pub fn handle_answer(&mut self, now: Now, conn: ConnId, ask: AskId, answer: &Answer<'_>) {
        self.now = now;
        let Some(namesrv) = self.namesrvs.iter_mut().find(|n| n.asked.is_some_and(|(asked, ..)| asked == ask)) else {
            return;
        };
        if !matches!(namesrv.line, Line::Up { conn: up, .. } if up == conn) {
            return;
        }
        let Some((_, version, _)) = namesrv.asked.take() else { return };
        if self.stopping {
            namesrv.line = Line::Down(Instant(u64::MAX));
            return;
        }
        let note = if answer.code == Code::SUCCESS {
            let first = namesrv.has.is_none();
            namesrv.has = Some(version);
            namesrv.redial = REDIAL_MS.0;
            first.then(|| Note::Registered { namesrv: namesrv.name.clone() })
        } else {
            // As after a lost link: what was refused is not refused less for being asked again at once.
            namesrv.down(now.mono);
            self.out.push_back(Output::Close { conn });
            Some(Note::RegisterFailed { namesrv: namesrv.name.clone(), why: answer.remark.into() })
        };
        self.out.extend(note.map(Output::Note));
        self.settle_topic_waiters(now);
        self.poll_register();
    }

    pub(super) fn namesrv_closed(&mut self, now: Now, conn: ConnId) {
        let lost = self.namesrvs.iter_mut().find(|n| matches!(n.line, Line::Up { conn: up, .. } if up == conn));
        if let Some(namesrv) = lost {
            namesrv.down(now.mono);
            self.settle_topic_waiters(now);
        }
    }

    /// Dials, registers and gives up what is due.
    pub(super) fn poll_register(&mut self) {
        let (now, version) = (self.now.mono, self.topics.version());
        for at in 0..self.namesrvs.len() {
            let namesrv = &mut self.namesrvs[at];
            if let Some((_, _, deadline)) = namesrv.asked
                && deadline <= now
                && let Line::Up { conn, .. } = namesrv.line
            {
                namesrv.down(now);
                self.out.push_back(Output::Close { conn });
            }
            let namesrv = &mut self.namesrvs[at];
            match &namesrv.line {
                Line::Down(when) if *when <= now && !self.stopping => {
                    namesrv.line = Line::Dialling;
                    self.out.push_back(Output::Dial { link: LinkId(at as u32), address: namesrv.name.clone() });
                }
                Line::Up { conn, address } if namesrv.asked.is_none() && !self.stopping => {
                    let full = namesrv.due <= now || namesrv.has.is_none();
                    if !full && namesrv.has == Some(version.counter) {
                        continue;
                    }
                    let (conn, address, since) = (*conn, address.clone(), namesrv.has.filter(|_| !full));
                    if full {
                        namesrv.due = now.plus_ms(PERIOD_MS);
                    }
                    let request = Request::RegisterBroker(self.registration(address, since));
                    let ask = self.ask(conn, &request);
                    self.namesrvs[at].asked = Some((ask, version.counter, now.plus_ms(ANSWER_MS)));
                }
                _ => {}
            }
        }
    }

    fn registration(&self, address: String, changed_since: Option<i64>) -> RegisterBroker {
        let topics = match changed_since {
            Some(version) => self.topics.changed_since(version).cloned().collect(),
            None => self.topics.iter().cloned().collect(),
        };
        RegisterBroker {
            cluster: self.config.cluster.clone(),
            name: self.config.name.clone(),
            ha_address: address.clone(),
            address,
            id: self.config.id,
            heartbeat_timeout_ms: None,
            acting_master: None,
            version: self.topics.version(),
            topics,
        }
    }

    fn ask(&mut self, conn: ConnId, request: &Request<'_>) -> AskId {
        self.next_ask = self.next_ask.wrapping_add(1);
        let ask = AskId(self.next_ask);
        let mut frame = Vec::new();
        encode::request(request, ask, false, &mut frame);
        self.out.push_back(Output::Ask { conn, frame });
        ask
    }

    /// Says goodbye to every NameServer that is linked.
    pub(super) fn unregister(&mut self) {
        for at in 0..self.namesrvs.len() {
            let Line::Up { conn, address } = &self.namesrvs[at].line else { continue };
            let (conn, address) = (*conn, address.clone());
            let (cluster, name) = (self.config.cluster.clone(), self.config.name.clone());
            let id = self.config.id;
            let request = Request::UnregisterBroker { cluster: &cluster, name: &name, address: &address, id };
            let ask = self.ask(conn, &request);
            self.namesrvs[at].asked = Some((ask, 0, self.now.mono.plus_ms(PATIENCE_MS)));
        }
    }

    /// Whether no NameServer still owes an answer to the goodbye.
    pub(super) fn is_unregistered(&self) -> bool {
        let patient = |n: &Namesrv| n.asked.is_some_and(|(_, _, deadline)| deadline > self.now.mono);
        !self.namesrvs.iter().any(|n| matches!(n.line, Line::Up { .. }) && patient(n))
    }

    /// Answers a topic's creator when the topic is saved and every linked NameServer knows it.
    pub(super) fn wait_for_topic(&mut self, now: Now, call: Call) {
        let (version, deadline) = (self.topics.version().counter, now.mono.plus_ms(PATIENCE_MS));
        self.topic_waiters.push_back(TopicWaiter { call, version, deadline });
        self.settle_topic_waiters(now);
        self.poll_register();
    }

    pub(super) fn settle_topic_waiters(&mut self, now: Now) {
        let known =
            self.namesrvs.iter().filter(|n| matches!(n.line, Line::Up { .. })).map(|n| n.has.unwrap_or(-1)).min();
        while let Some(waiter) = self.topic_waiters.front() {
            let (saved, late) = (waiter.version <= self.saving.topics_saved, waiter.deadline <= now.mono);
            let told = known.is_none_or(|known| waiter.version <= known);
            if !(saved && told || late) {
                break;
            }
            let call = waiter.call;
            self.topic_waiters.pop_front();
            let why = "the topic is set, but the disk did not take the topic table in time: see the broker's log";
            self.finish(call, if saved { Ok(Some(Reply::Done)) } else { Err(Refusal::new(Code::SYSTEM_ERROR, why)) });
        }
    }

    pub(super) fn register_deadline(&self) -> Option<Instant> {
        let lines = self.namesrvs.iter().filter_map(|n| match (&n.line, n.asked) {
            (_, Some((_, _, deadline))) => Some(deadline),
            (Line::Down(at), None) => (!self.stopping).then_some(*at),
            (Line::Up { .. }, None) => (!self.stopping).then_some(n.due),
            (Line::Dialling, None) => None,
        });
        lines.chain(self.topic_waiters.front().map(|w| w.deadline)).min()
    }
}
