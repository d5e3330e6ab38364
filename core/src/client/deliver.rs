//! Push consumers, a queue's side: where to start, the pull loop, delivery, acks, commits.
//!
//! An assigned queue has at most one request under way: first for the group's progress, then one pull after the
//! other. It stops when as much is delivered and unacked as the subscription allows, and goes on with an ack. What
//! is committed is the smallest offset not acked (DEL-4): every 5 s, with each pull to a master, and when the queue
//! is given up. A broker that sends something unreadable is asked again; nothing is stepped over in silence (DEL-1).
//!
//! Start at [`Client::find_start`], then [`Client::read_on`]. Deliberately elsewhere: who owns which queue
//! ([`super::consumer`]), how a message is decoded ([`super::decode`]), messages given back ([`super::retry`]).

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::config::From;
use super::decode;
use super::error::{ClientError, ErrorKind};
use super::links::Urgency;
use super::message::{Message, MessageQueue};
use super::timers::Timer;
use super::window::Window;
use super::{AssignId, Client, ConsumerId, Event, GroupId, Purpose, refused};
use crate::ids::AskId;
use crate::time::{Instant, Now};
use crate::wire::answer::Answer;
use crate::wire::codes::Code;
use crate::wire::request::{Boundary, PullMessage, QueueOf, Request, pull_flag};

/// How far reading may be ahead of the oldest message not acked. Apache lets what is acked out of this count.
const MAX_SPAN: u64 = 2_000;
/// Bytes asked for at once.
const PULL_BYTES: i32 = 256 << 10;
/// The pause when a broker says to slow down, ms.
const FLOW_CONTROL_MS: u64 = 20;
/// An empty answer that came sooner than this and moved nothing is no long poll, ms.
const TOO_SOON_MS: u64 = 10;
/// The pause after such an answer, ms.
const IDLE_MS: u64 = 100;

/// A queue that is ours for now.
#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) group: GroupId,
    pub(super) queue: MessageQueue,
    /// The queue was there when the consumer started.
    existed: bool,
    /// Its group keeps no progress: nothing is asked for and nothing is committed.
    broadcast: bool,
    /// `None` until it is known where to start.
    window: Option<Window<Held>>,
    /// What the broker was last told.
    committed: Option<u64>,
    /// The broker id to read from.
    suggested: i64,
    ask: Option<AskId>,
    asked: Instant,
    /// The broker did not know the group when it was asked last.
    unknown: bool,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) message: Arc<Message>,
    /// Its consumer gave it back.
    pub(super) returning: bool,
}

impl Assigned {
    pub(super) fn new(group: GroupId, queue: MessageQueue, existed: bool, broadcast: bool) -> Self {
        Self {
            group,
            queue,
            existed,
            broadcast,
            window: None,
            committed: None,
            suggested: 0,
            ask: None,
            asked: Instant(0),
            unknown: false,
        }
    }

    /// It is known where to start.
    pub(super) fn has_begun(&self) -> bool {
        self.window.is_some()
    }

    pub(super) fn held(&mut self, offset: u64) -> Option<&mut Held> {
        self.window.as_mut()?.get_mut(offset)
    }
}

impl Client {
    /// A message is done: its offset may be committed. Harmless for one that is not held any more.
    pub fn ack(&mut self, now: Now, consumer: ConsumerId, queue: &MessageQueue, offset: u64) {
        if let Some(assign) = self.consumers.assignment(consumer, queue) {
            self.acked(now, assign, offset);
        }
        self.settle(now);
    }

    pub(super) fn acked(&mut self, now: Now, assign: AssignId, offset: u64) {
        let Some(window) = self.consumers.assigned.get_mut(&assign).and_then(|a| a.window.as_mut()) else { return };
        if window.ack(offset).is_some() {
            self.timers.unset(&Timer::Redeliver(assign, offset));
            self.read_on(now, assign);
        }
    }

    // Where to start.

    /// Asks for the group's progress in a queue.
    pub(super) fn find_start(&mut self, now: Now, assign: AssignId) {
        if self.is_broadcast(assign) {
            self.start_without_progress(now, assign);
            return;
        }
        self.ask_about(now, assign, |group, queue| Request::QueryOffset { group, queue, zero_if_none: false }, false);
    }

    /// Whether the queue is one of a group that keeps no progress.
    pub(super) fn is_broadcast(&self, assign: AssignId) -> bool {
        self.consumers.assigned.get(&assign).is_some_and(|assigned| assigned.broadcast)
    }

    fn ask_about(
        &mut self,
        now: Now,
        assign: AssignId,
        request: impl for<'a> FnOnce(&'a str, QueueOf<'a>) -> Request<'a>,
        start: bool,
    ) {
        let Some(assigned) = self.consumers.assigned.get(&assign) else { return };
        let Some(group) = self.consumers.groups.get(&assigned.group).map(|group| group.name.clone()) else { return };
        let queue = assigned.queue.clone();
        let Some(address) = self.routes.master_or_any(&queue.broker).map(ToString::to_string) else {
            self.read_failed(now, assign, &no_broker(&queue));
            return;
        };
        let request = request(&group, QueueOf { topic: &queue.topic, queue_id: queue.id });
        let purpose = if start { Purpose::Start(assign) } else { Purpose::Progress(assign) };
        let ask = self.ask(now, &address, &request, self.config.request_timeout, Urgency::Background, purpose);
        if let Some(assigned) = self.consumers.assigned.get_mut(&assign) {
            assigned.ask = Some(ask);
        }
    }

    pub(super) fn progress_answered(&mut self, now: Now, assign: AssignId, answer: &Answer<'_>) {
        let Some(assigned) = self.consumers.assigned.get_mut(&assign) else { return };
        assigned.ask = None;
        match (answer.code, answer.offset()) {
            (Code::SUCCESS, Ok(offset @ 0..)) => {
                assigned.committed = Some(offset as u64);
                self.begin(now, assign, offset as u64);
            }
            (Code::SUCCESS, Ok(_)) | (Code::QUERY_NOT_FOUND, _) => self.start_without_progress(now, assign),
            (Code::SUCCESS, Err(why)) => {
                let what = format!("the group's progress in {} does not parse: {why}", assigned.queue);
                self.read_failed(now, assign, &ClientError::new(ErrorKind::Malformed, what));
            }
            (code, _) => {
                let what = format!("the broker refused the group's progress in {}", assigned.queue);
                self.read_failed(now, assign, &refused(&what, code, answer.remark));
            }
        }
    }

    fn start_without_progress(&mut self, now: Now, assign: AssignId) {
        let Some(assigned) = self.consumers.assigned.get(&assign) else { return };
        let Some(sub) = self.consumers.sub(assigned.group, &assigned.queue.topic) else { return };
        match sub.options.from {
            // A queue that came into being after the consumer: all in it is new.
            From::Last if assigned.existed => self.ask_about(now, assign, |_, queue| Request::MaxOffset(queue), true),
            From::Last | From::First => self.begin(now, assign, 0),
            From::Time(at) => {
                let lower = Boundary::Lower;
                self.ask_about(now, assign, |_, queue| Request::SearchOffset { queue, at, boundary: lower }, true);
            }
        }
    }

    pub(super) fn start_answered(&mut self, now: Now, assign: AssignId, answer: &Answer<'_>) {
        let Some(assigned) = self.consumers.assigned.get_mut(&assign) else { return };
        assigned.ask = None;
        match (answer.code, answer.offset()) {
            (Code::SUCCESS, Ok(offset)) => {
                self.begin(now, assign, offset.max(0) as u64);
                // Whoever has the queue next must not start later than here.
                self.commit(now, assign);
            }
            (code, _) => {
                let what = format!("the broker did not say where to start in {}", assigned.queue);
                self.read_failed(now, assign, &refused(&what, code, answer.remark));
            }
        }
    }

    fn begin(&mut self, now: Now, assign: AssignId, offset: u64) {
        if let Some(assigned) = self.consumers.assigned.get_mut(&assign) {
            assigned.window = Some(Window::new(offset));
            let (group, topic) = (assigned.group, assigned.queue.topic.clone());
            self.tell_assigned(group, &topic, false);
            self.read_on(now, assign);
        }
    }

    // The pull loop.

    /// A queue's pause is over.
    pub(super) fn queue_due(&mut self, now: Now, assign: AssignId) {
        match self.consumers.assigned.get(&assign) {
            Some(assigned) if assigned.window.is_none() && assigned.ask.is_none() => self.find_start(now, assign),
            Some(_) => self.read_on(now, assign),
            None => {}
        }
    }

    /// Pulls, unless a request is under way, the queue pauses, or enough is delivered.
    pub(super) fn read_on(&mut self, now: Now, assign: AssignId) {
        let Some(assigned) = self.consumers.assigned.get_mut(&assign) else { return };
        let Some(window) = &assigned.window else { return };
        let Some(group) = self.consumers.groups.get(&assigned.group) else { return };
        let Some(sub) = group.subs.get(&assigned.queue.topic) else { return };
        let paused = match sub.consumer {
            Some(_) => sub.paused,
            None => group.subs.values().all(|sub| sub.consumer.is_none() || sub.paused),
        };
        let full = window.len() >= sub.options.prefetch
            || window.bytes() >= sub.options.prefetch_bytes
            || window.span() > MAX_SPAN;
        if paused || full || assigned.ask.is_some() || self.timers.is_set(&Timer::Queue(assign)) {
            return;
        }
        let queue = assigned.queue.clone();
        let reader = self.routes.reader(&queue.broker, assigned.suggested);
        let Some((address, master)) = reader.map(|(address, master)| (address.to_string(), master)) else {
            self.read_failed(now, assign, &no_broker(&queue));
            return;
        };
        let commit = window.commit();
        let commits = master && commit > 0 && !assigned.broadcast;
        let request = Request::Pull(PullMessage {
            group: &group.name,
            topic: &queue.topic,
            queue_id: queue.id,
            offset: window.position() as i64,
            max: sub.options.batch.min(sub.options.prefetch - window.len()) as i32,
            max_bytes: Some(PULL_BYTES),
            sys_flag: pull_flag::SUSPEND | if commits { pull_flag::COMMIT } else { 0 },
            commit_offset: if commits { commit as i64 } else { 0 },
            suspend_ms: self.config.pull_suspend as i64,
            subscription: None,
            sub_version: sub.version,
            expression_type: Some("TAG"),
        });
        assigned.asked = now.mono;
        let ask = self.links.ask(
            now.mono,
            &mut self.timers,
            &address,
            &request,
            false,
            self.config.pull_timeout,
            Urgency::Background,
            Purpose::Pull(assign),
        );
        assigned.ask = Some(ask);
    }

    pub(super) fn pull_answered(&mut self, now: Now, assign: AssignId, answer: &Answer<'_>) {
        let Some(assigned) = self.consumers.assigned.get_mut(&assign) else { return };
        assigned.ask = None;
        let queue = assigned.queue.clone();
        let quick = now.mono.ms_since(assigned.asked) < TOO_SOON_MS;
        let receipt = match answer.code {
            Code::SUCCESS | Code::PULL_NOT_FOUND | Code::PULL_RETRY_IMMEDIATELY | Code::PULL_OFFSET_MOVED => {
                match answer.pulled() {
                    Ok(receipt) => receipt,
                    Err(why) => {
                        let what = format!("an answer to a pull of {queue} does not parse: {why}");
                        self.read_failed(now, assign, &ClientError::new(ErrorKind::Malformed, what));
                        return;
                    }
                }
            }
            Code::FLOW_CONTROL => {
                self.timers.set(now.mono.plus_ms(FLOW_CONTROL_MS), Timer::Queue(assign));
                return;
            }
            code => {
                if matches!(code, Code::SUBSCRIPTION_NOT_EXIST | Code::SUBSCRIPTION_NOT_LATEST) {
                    // It has not seen, or has lost, our heartbeat. Only if that does not help is it worth a word.
                    let again = core::mem::replace(&mut assigned.unknown, true);
                    let reader = self.routes.reader(&queue.broker, assigned.suggested);
                    if let Some(address) = reader.map(|(address, _)| address.to_string()) {
                        self.beat(now, &address);
                    }
                    if !again {
                        self.timers.set(now.mono.plus_ms(self.config.pull_error_delay), Timer::Queue(assign));
                        return;
                    }
                }
                let what = format!("the broker refused a pull of {queue}");
                self.read_failed(now, assign, &refused(&what, code, answer.remark));
                return;
            }
        };
        assigned.suggested = receipt.suggest;
        assigned.unknown = false;
        let Some(window) = &mut assigned.window else { return };
        let before = window.position();
        let next = receipt.next.max(0) as u64;
        let group = assigned.group;
        match answer.code {
            Code::SUCCESS => {
                if let Err(error) = self.deliver(assign, receipt.records, next) {
                    self.read_failed(now, assign, &error);
                    return;
                }
            }
            Code::PULL_OFFSET_MOVED if next == before => {
                let what = format!("the broker says that offset {next} of {queue} moved to itself");
                self.read_failed(now, assign, &ClientError::new(ErrorKind::Malformed, what));
                return;
            }
            Code::PULL_OFFSET_MOVED => {
                if next > before {
                    window.advance(next);
                } else {
                    // The queue begins anew below: what was delivered of it is not what stands there now.
                    *window = Window::new(next);
                    self.drop_events(group, &queue, None);
                }
                self.commit(now, assign);
            }
            _ => {
                window.advance(next);
                if quick && next <= before {
                    self.timers.set(now.mono.plus_ms(IDLE_MS), Timer::Queue(assign));
                }
            }
        }
        self.no_trouble(group, &queue.topic);
        self.read_on(now, assign);
    }

    /// Something about reading a queue failed: again after a pause.
    pub(super) fn read_failed(&mut self, now: Now, assign: AssignId, error: &ClientError) {
        let Some(assigned) = self.consumers.assigned.get_mut(&assign) else { return };
        assigned.ask = None;
        let (group, topic) = (assigned.group, assigned.queue.topic.clone());
        self.timers.set(now.mono.plus_ms(self.config.pull_error_delay), Timer::Queue(assign));
        self.tell_trouble(group, &topic, error);
        self.doubt_route(now, &topic);
    }

    /// Hands the records of a pull to the group's consumers.
    fn deliver(&mut self, assign: AssignId, mut records: &[u8], next: u64) -> Result<(), ClientError> {
        let Some(assigned) = self.consumers.assigned.get_mut(&assign) else { return Ok(()) };
        let Some(window) = &mut assigned.window else { return Ok(()) };
        let Some(group) = self.consumers.groups.get(&assigned.group) else { return Ok(()) };
        let Some(sub) = group.subs.get(&assigned.queue.topic) else { return Ok(()) };
        let mut batches: VecDeque<(ConsumerId, Vec<Arc<Message>>)> = VecDeque::new();
        let mut result = Ok(());
        while !records.is_empty() {
            let (messages, size, rest) = match decode::next(records, &assigned.queue, self.config.max_decompressed) {
                Ok(found) => found,
                Err(why) => {
                    let what = format!(
                        "a message of {} at or after offset {} does not parse ({why}); the broker's store may be damaged",
                        assigned.queue,
                        window.position()
                    );
                    result = Err(ClientError::new(ErrorKind::Malformed, what));
                    break;
                }
            };
            records = rest;
            for message in messages {
                let matches = sub.tags.is_empty() || message.tag().is_some_and(|tag| sub.tags.iter().any(|t| t == tag));
                let consumer = sub.consumer.or_else(|| {
                    // A redelivered message belongs to whoever consumes its first topic.
                    let own = group.subs.get(&message.topic).and_then(|sub| sub.consumer);
                    own.or_else(|| group.subs.values().find_map(|sub| sub.consumer))
                });
                let (true, Some(consumer)) = (matches, consumer) else { continue };
                let message = Arc::new(message);
                let held = Held { message: message.clone(), returning: false };
                if window.hold(message.offset, size, held) {
                    match batches.back_mut() {
                        Some((last, batch)) if *last == consumer => batch.push(message),
                        _ => batches.push_back((consumer, Vec::from([message]))),
                    }
                }
            }
        }
        if result.is_ok() {
            window.advance(next);
        }
        let queue = assigned.queue.clone();
        for (consumer, batch) in batches {
            self.events.push_back(Event::Messages { consumer, queue: queue.clone(), batch });
        }
        result
    }

    // Progress.

    /// Tells brokers every offset that moved.
    pub(super) fn commit_all(&mut self, now: Now) {
        for assign in self.consumers.assigned.keys().copied().collect::<Vec<_>>() {
            self.commit(now, assign);
        }
    }

    fn commit(&mut self, now: Now, assign: AssignId) {
        let Some(assigned) = self.consumers.assigned.get_mut(&assign) else { return };
        let Some(offset) = assigned.window.as_ref().map(Window::commit) else { return };
        let Some(group) = self.consumers.groups.get(&assigned.group) else { return };
        let Some(address) = self.routes.master_or_any(&assigned.queue.broker) else { return };
        if assigned.committed == Some(offset) || assigned.broadcast {
            return;
        }
        assigned.committed = Some(offset);
        let request = update(&group.name, &assigned.queue, offset);
        self.links.ask(
            now.mono,
            &mut self.timers,
            address,
            &request,
            true,
            self.config.request_timeout,
            Urgency::Background,
            Purpose::Commit(assign),
        );
    }

    pub(super) fn commit_failed(&mut self, assign: AssignId) {
        if let Some(assigned) = self.consumers.assigned.get_mut(&assign) {
            assigned.committed = None;
        }
    }

    /// A connection to a broker broke: whether it had read the last commits is unknown.
    pub(super) fn broker_lost(&mut self, address: &str) {
        for assigned in self.consumers.assigned.values_mut() {
            if self.routes.master_or_any(&assigned.queue.broker) == Some(address) {
                assigned.committed = None;
            }
        }
    }

    /// A queue is not ours any more, or its consumer leaves: commits, and forgets what is outstanding.
    pub(super) fn give_up(&mut self, now: Now, assign: AssignId, name: &str, leaving: Option<ConsumerId>) {
        let Some(assigned) = self.consumers.assigned.remove(&assign) else { return };
        self.timers.unset(&Timer::Queue(assign));
        if let Some(ask) = assigned.ask {
            self.links.forget(&mut self.timers, ask);
        }
        self.drop_events(assigned.group, &assigned.queue, leaving);
        let Some(offset) = assigned.window.as_ref().filter(|_| !assigned.broadcast).map(Window::commit) else { return };
        let Some(address) = self.routes.master_or_any(&assigned.queue.broker).map(ToString::to_string) else { return };
        if assigned.committed == Some(offset) && leaving.is_none() {
            return;
        }
        let request = update(name, &assigned.queue, offset);
        match leaving {
            Some(consumer) => self.ask_leaving(now, &address, &request, consumer),
            None => {
                self.links.ask(
                    now.mono,
                    &mut self.timers,
                    &address,
                    &request,
                    true,
                    self.config.request_timeout,
                    Urgency::Background,
                    Purpose::Commit(assign),
                );
            }
        }
    }

    /// Drops what nobody took yet of a queue that is lost.
    fn drop_events(&mut self, group: GroupId, queue: &MessageQueue, leaving: Option<ConsumerId>) {
        let ours = |consumer: ConsumerId| {
            Some(consumer) == leaving || self.consumers.find(consumer).is_some_and(|(of, _)| of == group)
        };
        self.events.retain(|event| match event {
            Event::Messages { consumer, queue: of, .. } => of != queue || !ours(*consumer),
            _ => true,
        });
    }
}

fn update<'a>(group: &'a str, queue: &'a MessageQueue, offset: u64) -> Request<'a> {
    let queue = QueueOf { topic: &queue.topic, queue_id: queue.id };
    Request::UpdateOffset { group, queue, offset: offset as i64 }
}

fn no_broker(queue: &MessageQueue) -> ClientError {
    ClientError::new(ErrorKind::NoBroker, format!("no broker named '{}' is known for {queue}", queue.broker))
}
