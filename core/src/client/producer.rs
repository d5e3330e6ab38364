//! Producers: a send from the moment it is asked for to its one result.
//!
//! Queues are taken in turn, per group and topic: the first from the seed, then the next. An attempt that failed is
//! followed at once by another on a different broker, where there is one, until attempts or time are used up; the
//! time is for all attempts together. A broker that refuses for good ends the send at once. Nothing is remembered
//! about a broker from one send to the next.
//!
//! After a timeout or a broken connection nobody knows whether the message was stored; a retry may store it twice.
//! Start at [`Client::send`] and [`Client::attempt`].

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use super::config::{ClientConfig, SendOptions};
use super::error::{ClientError, ErrorKind, retryable_code};
use super::links::Urgency;
use super::message::{
    self, DELAY, MessageQueue, OutgoingMessage, RETRY_PREFIX, SendResult, SendStatus, WAIT, check_group, check_message,
};
use super::route::{DEFAULT_QUEUES, DEFAULT_TOPIC};
use super::timers::Timer;
use super::{AssignId, Client, Event, Purpose, Random, SendId, refused};
use crate::ids::AskId;
use crate::record::batch;
use crate::record::unique_key::UniqueKeys;
use crate::sorted::{Map, Set};
use crate::time::{Instant, Now, Unix};
use crate::wire::answer::Answer;
use crate::wire::codes::Code;
use crate::wire::request::{Request, SendMessage};

/// The group that sends back what consumers could not consume.
pub(super) const INNER_GROUP: &str = "CLIENT_INNER_PRODUCER";

/// Who wants to know how a send ended.
#[derive(Clone, Copy, Debug)]
enum Owner {
    User,
    /// A message that its consumer gave back, on its way to the retry topic.
    Returned(AssignId, u64),
}

#[derive(Debug)]
struct Send {
    owner: Owner,
    group: Arc<str>,
    topic: Arc<str>,
    body: Vec<u8>,
    properties: String,
    /// One for each message.
    keys: Vec<String>,
    batch: bool,
    flag: i32,
    reconsume_times: i32,
    max_reconsume_times: Option<i32>,
    born: Unix,
    fixed: Option<MessageQueue>,
    oneway: bool,
    attempts_left: u32,
    attempts: u32,
    deadline: Instant,
    timeout: u64,
    ask: Option<AskId>,
    /// Where the attempt under way, or the last one, went.
    queue: Option<MessageQueue>,
    error: Option<ClientError>,
}

#[derive(Debug)]
pub(super) struct Producers {
    /// Boxed, so that little moves when one ends.
    sends: Map<SendId, Box<Send>>,
    /// Bytes of the bodies in `sends`.
    bytes: usize,
    next: u64,
    groups: Set<Arc<str>>,
    /// The queue that is next, by group and topic.
    turns: Map<(Arc<str>, Arc<str>), usize>,
    keys: UniqueKeys,
}

impl Producers {
    pub(super) fn new(config: &ClientConfig, random: &mut Random) -> Self {
        let ip = config.ip.unwrap_or_else(|| IpAddr::V4(Ipv4Addr::from_bits(random.next() as u32)));
        let keys = UniqueKeys::new(ip, config.pid, random.next() as u32, random.next() as u16);
        Self { sends: Map::new(), bytes: 0, next: 0, groups: Set::new(), turns: Map::new(), keys }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.sends.is_empty()
    }

    pub(super) fn ids(&self) -> Vec<SendId> {
        self.sends.keys().copied().collect()
    }

    pub(super) fn groups(&self) -> Vec<Arc<str>> {
        self.groups.iter().cloned().collect()
    }
}

impl Client {
    /// Makes a producer group known to brokers before its first send. Sending does so too.
    pub fn register_producer(&mut self, now: Now, group: &str) -> Result<(), ClientError> {
        self.check_open()?;
        check_group(group)?;
        self.know_producer(group);
        self.settle(now);
        Ok(())
    }

    /// Sends a message; its result comes as [`Event::Sent`].
    ///
    /// # Errors
    /// At once when the message cannot be sent as it is ([`ErrorKind::Usage`], [`ErrorKind::TooLarge`]), when too much
    /// is in flight ([`ErrorKind::Overloaded`]), or when the client is closed.
    pub fn send(
        &mut self,
        now: Now,
        group: &str,
        message: OutgoingMessage,
        options: &SendOptions,
    ) -> Result<SendId, ClientError> {
        check_message(&message, self.config.max_message_size)?;
        let key = self.producers.keys.next(now);
        let properties = message::property_string(&message, &key)?;
        let (topic, flag) = (Arc::from(message.topic), message.flag);
        self.start_send(now, group, topic, message.body, properties, Vec::from([key]), false, flag, options)
    }

    /// Sends several messages of one topic as one request, which is stored whole or not at all.
    ///
    /// # Errors
    /// As [`Self::send`]; also when the messages do not fit together: different topics or `WAIT`, a `DELAY`, a retry
    /// topic, or more than `max_message_size` bytes together.
    pub fn send_batch(
        &mut self,
        now: Now,
        group: &str,
        messages: &[OutgoingMessage],
        options: &SendOptions,
    ) -> Result<SendId, ClientError> {
        let Some(first) = messages.first() else {
            return Err(ClientError::usage("the batch is empty; put at least one message in it"));
        };
        let (topic, wait) = (first.topic.clone(), first.properties.get(WAIT).cloned());
        if topic.starts_with(RETRY_PREFIX) {
            return Err(ClientError::usage("a batch cannot go to a retry topic; send its messages one by one"));
        }
        let (mut body, mut keys) = (Vec::new(), Vec::with_capacity(messages.len()));
        for message in messages {
            check_message(message, self.config.max_message_size)?;
            if message.topic != topic || message.properties.get(WAIT) != wait.as_ref() {
                return Err(ClientError::usage(
                    "all messages of a batch have one topic and one WAIT; send the others apart",
                ));
            }
            if message.properties.keys().any(|name| name == DELAY || name.starts_with("TIMER_")) {
                return Err(ClientError::usage("a delayed message cannot be in a batch; send it by itself"));
            }
            let key = self.producers.keys.next(now);
            let properties = message::property_string(message, &key)?;
            let entry = batch::Entry { flag: message.flag, body: &message.body, properties: &properties };
            batch::write(&entry, &mut body);
            if body.len() > self.config.max_message_size {
                return Err(ClientError::new(
                    ErrorKind::TooLarge,
                    format!(
                        "the batch has more than {} bytes; send fewer messages at once",
                        self.config.max_message_size
                    ),
                ));
            }
            keys.push(key);
        }
        let mut whole = OutgoingMessage::new(topic.as_str(), "-");
        if let Some(wait) = wait {
            whole.properties.insert(WAIT.to_string(), wait);
        }
        let properties = message::property_string(&whole, &self.producers.keys.next(now))?;
        self.start_send(now, group, Arc::from(topic), body, properties, keys, true, 0, options)
    }

    /// Gives a send up: no event follows. What has left may still be stored.
    pub fn cancel(&mut self, now: Now, id: SendId) {
        self.take_send(id);
        self.settle(now);
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a message, from two callers")]
    fn start_send(
        &mut self,
        now: Now,
        group: &str,
        topic: Arc<str>,
        body: Vec<u8>,
        properties: String,
        keys: Vec<String>,
        batch: bool,
        flag: i32,
        options: &SendOptions,
    ) -> Result<SendId, ClientError> {
        self.check_open()?;
        check_group(group)?;
        if let Some(queue) = options.queue.as_ref().filter(|queue| queue.topic != topic) {
            return Err(ClientError::usage(format!(
                "the queue {queue} belongs to topic '{}' and the message to '{topic}'; choose a queue of the message's topic",
                queue.topic
            )));
        }
        let producers = &self.producers;
        if producers.sends.len() >= self.config.max_sends
            || (!producers.sends.is_empty() && producers.bytes + body.len() > self.config.max_send_bytes)
        {
            return Err(ClientError::new(
                ErrorKind::Overloaded,
                format!(
                    "{} sends with {} bytes are in flight; wait for some to end, or raise max_sends or max_send_bytes",
                    producers.sends.len(),
                    producers.bytes
                ),
            ));
        }
        let retries = if options.queue.is_some() || options.oneway {
            0
        } else {
            options.retries.unwrap_or(self.config.send_retries)
        };
        let timeout = options.timeout.unwrap_or(self.config.send_timeout);
        let send = Send {
            owner: Owner::User,
            group: self.know_producer(group),
            topic,
            body,
            properties,
            keys,
            batch,
            flag,
            reconsume_times: 0,
            max_reconsume_times: None,
            born: now.wall,
            fixed: options.queue.clone(),
            oneway: options.oneway,
            attempts_left: retries.saturating_add(1),
            attempts: 0,
            deadline: now.mono.plus_ms(timeout),
            timeout,
            ask: None,
            queue: None,
            error: None,
        };
        let id = self.enter_send(now, send);
        self.settle(now);
        Ok(id)
    }

    /// Sends a message that its consumer gave back to the group's retry topic.
    pub(super) fn send_to_retry(
        &mut self,
        now: Now,
        owner: (AssignId, u64),
        message: &OutgoingMessage,
        reconsume_times: i32,
        max_reconsume_times: i32,
    ) -> Result<(), ClientError> {
        let key = self.producers.keys.next(now);
        let properties = message::property_string(message, &key)?;
        let timeout = self.config.send_timeout;
        let send = Send {
            owner: Owner::Returned(owner.0, owner.1),
            group: Arc::from(INNER_GROUP),
            topic: Arc::from(message.topic.as_str()),
            body: message.body.clone(),
            properties,
            keys: Vec::from([key]),
            batch: false,
            flag: message.flag,
            reconsume_times,
            max_reconsume_times: Some(max_reconsume_times),
            born: now.wall,
            fixed: None,
            oneway: false,
            attempts_left: self.config.send_retries.saturating_add(1),
            attempts: 0,
            deadline: now.mono.plus_ms(timeout),
            timeout,
            ask: None,
            queue: None,
            error: None,
        };
        self.enter_send(now, send);
        Ok(())
    }

    fn enter_send(&mut self, now: Now, send: Send) -> SendId {
        self.producers.next += 1;
        let id = SendId(self.producers.next);
        self.producers.bytes += send.body.len();
        self.timers.set(send.deadline, Timer::Send(id));
        self.producers.sends.insert(id, Box::new(send));
        self.attempt(now, id);
        id
    }

    fn know_producer(&mut self, group: &str) -> Arc<str> {
        if let Some(known) = self.producers.groups.get(group) {
            return known.clone();
        }
        let group: Arc<str> = Arc::from(group);
        self.producers.groups.insert(group.clone());
        self.roster.changed();
        group
    }

    /// Whether a send or a producer's turn needs this topic's route.
    pub(super) fn is_produced(&self, topic: &str) -> bool {
        self.producers.turns.keys().any(|(_, used)| **used == *topic)
    }

    /// One attempt: chooses a queue and asks its broker, or waits for the route.
    pub(super) fn attempt(&mut self, now: Now, id: SendId) {
        let Some(send) = self.producers.sends.get_mut(&id) else { return };
        if send.attempts_left == 0 || now.mono >= send.deadline {
            let error = send.error.take().unwrap_or_else(|| out_of_time(send));
            self.finish_send(now, id, Err(error));
            return;
        }
        let topic = self.routes.topic(&send.topic);
        let queue = if let Some(queue) = &send.fixed {
            Some(queue.clone())
        } else {
            let of = (send.group.clone(), send.topic.clone());
            let turn = self.producers.turns.get_or_insert_with(of, || self.random.below(usize::MAX));
            choose(&topic.write, turn, send.queue.as_ref().map(|queue| &*queue.broker)).cloned()
        };
        let address = queue.as_ref().and_then(|queue| self.routes.master(&queue.broker)).map(ToString::to_string);
        let (Some(queue), Some(address)) = (queue, address) else {
            self.wait_for_route(now, id);
            return;
        };
        send.attempts_left -= 1;
        send.attempts += 1;
        let request = Request::Send(SendMessage {
            group: &send.group,
            topic: &send.topic,
            default_topic: DEFAULT_TOPIC,
            default_topic_queues: DEFAULT_QUEUES,
            queue_id: queue.id,
            sys_flag: 0,
            born: send.born,
            flag: send.flag,
            properties: &send.properties,
            reconsume_times: send.reconsume_times,
            max_reconsume_times: send.max_reconsume_times,
            batch: send.batch,
            body: &send.body,
        });
        let left = send.deadline.ms_since(now.mono);
        let ask = self.links.ask(
            now.mono,
            &mut self.timers,
            &address,
            &request,
            send.oneway,
            left,
            Urgency::Now,
            Purpose::Send(id),
        );
        send.ask = Some(ask);
        send.queue = Some(queue);
    }

    fn wait_for_route(&mut self, now: Now, id: SendId) {
        let Some(send) = self.producers.sends.get_mut(&id) else { return };
        let topic = send.topic.clone();
        let entry = self.routes.topic(&topic);
        // A fixed queue whose broker the route does not name would ask for ever.
        if let Some(queue) = &send.fixed
            && entry.answered
            && !entry.write.is_empty()
        {
            let what = format!(
                "no master of broker '{}' is in the route of topic '{topic}'; choose another queue",
                queue.broker
            );
            self.finish_send(now, id, Err(ClientError::new(ErrorKind::NoBroker, what)));
            return;
        }
        entry.waiting.push_back(id);
        self.want_route(now, &topic);
    }

    pub(super) fn send_answered(&mut self, now: Now, id: SendId, answer: &Answer<'_>) {
        let Some(send) = self.producers.sends.get_mut(&id) else { return };
        send.ask = None;
        let status = match answer.code {
            Code::SUCCESS => SendStatus::SendOk,
            Code::FLUSH_DISK_TIMEOUT => SendStatus::FlushDiskTimeout,
            Code::FLUSH_SLAVE_TIMEOUT => SendStatus::FlushSlaveTimeout,
            Code::SLAVE_NOT_AVAILABLE => SendStatus::SlaveNotAvailable,
            code => {
                let broker = send.queue.as_ref().map_or("", |queue| &*queue.broker);
                let what = format!("broker '{broker}' refused a message for topic '{}'", send.topic);
                let error = refused(&what, code, answer.remark);
                if retryable_code(code) {
                    self.send_failed(now, id, error);
                } else {
                    self.finish_send(now, id, Err(error));
                }
                return;
            }
        };
        let result = results(send, status, answer);
        self.finish_send(now, id, result);
    }

    /// An attempt failed in a way that another may not.
    pub(super) fn send_failed(&mut self, now: Now, id: SendId, error: ClientError) {
        let Some(send) = self.producers.sends.get_mut(&id) else { return };
        send.ask = None;
        let topic = send.topic.clone();
        let waited = error.kind == ErrorKind::NoRoute || error.kind == ErrorKind::NoNameServer;
        if send.attempts_left == 0 || waited || now.mono >= send.deadline {
            let error = if send.attempts > 1 {
                ClientError { kind: error.kind, message: format!("after {} attempts: {error}", send.attempts) }
            } else {
                error
            };
            self.finish_send(now, id, Err(error));
        } else {
            send.error = Some(error);
            self.attempt(now, id);
        }
        self.doubt_route(now, &topic);
    }

    /// A one-way send is on its connection.
    pub(super) fn send_handed_over(&mut self, now: Now, id: SendId) {
        let Some(send) = self.producers.sends.get(&id) else { return };
        let Some(queue) = send.queue.clone() else { return };
        let result = |key: &String| SendResult {
            status: SendStatus::SendOk,
            message_id: key.clone(),
            offset_message_id: String::new(),
            queue: queue.clone(),
            offset: None,
        };
        let results = send.keys.iter().map(result).collect();
        self.finish_send(now, id, Ok(results));
    }

    /// The time is used up while the send waits for a route; one that waits for an answer ends with its ask.
    pub(super) fn send_expired(&mut self, now: Now, id: SendId) {
        let Some(send) = self.producers.sends.get_mut(&id) else { return };
        let error = send.error.take().unwrap_or_else(|| out_of_time(send));
        let topic = send.topic.clone();
        self.finish_send(now, id, Err(error));
        self.doubt_route(now, &topic);
    }

    pub(super) fn finish_send(&mut self, now: Now, id: SendId, result: Result<Vec<SendResult>, ClientError>) {
        let Some(send) = self.take_send(id) else { return };
        match send.owner {
            Owner::User => self.events.push_back(Event::Sent { id, result }),
            Owner::Returned(assign, offset) => self.returned(now, assign, offset, result.is_ok()),
        }
    }

    fn take_send(&mut self, id: SendId) -> Option<Send> {
        let send = self.producers.sends.remove(&id)?;
        self.producers.bytes -= send.body.len();
        self.timers.unset(&Timer::Send(id));
        if let Some(ask) = send.ask {
            self.links.forget(&mut self.timers, ask);
        }
        if let Some(topic) = self.routes.topics.get_mut(&send.topic) {
            topic.waiting.retain(|waiting| *waiting != id);
        }
        Some(*send)
    }
}

/// The queue whose turn it is, not of the broker to avoid where another has one.
fn choose<'q>(queues: &'q [MessageQueue], turn: &mut usize, avoid: Option<&str>) -> Option<&'q MessageQueue> {
    if queues.is_empty() {
        return None;
    }
    let mut next = || {
        let queue = queues.get(*turn % queues.len());
        *turn = (*turn % queues.len() + 1) % queues.len();
        queue
    };
    if let Some(avoid) = avoid {
        for _ in 0..queues.len() {
            if let Some(queue) = next().filter(|queue| *queue.broker != *avoid) {
                return Some(queue);
            }
        }
    }
    next()
}

fn out_of_time(send: &Send) -> ClientError {
    ClientError::new(
        ErrorKind::Timeout,
        format!(
            "no route of topic '{}' and no answer in {} ms; check that the NameServer and a broker run",
            send.topic, send.timeout
        ),
    )
}

fn results(send: &Send, status: SendStatus, answer: &Answer<'_>) -> Result<Vec<SendResult>, ClientError> {
    let malformed = |what: &str| {
        let what =
            format!("the broker stored a message for topic '{}', but its answer does not parse: {what}", send.topic);
        ClientError::new(ErrorKind::Malformed, what)
    };
    let receipt = answer.sent().map_err(|why| malformed(&why.to_string()))?;
    let broker = send.queue.as_ref().map(|queue| queue.broker.clone()).unwrap_or_default();
    let queue = MessageQueue { topic: send.topic.clone(), broker, id: receipt.queue_id };
    let first = u64::try_from(receipt.queue_offset).map_err(|_| malformed("a negative offset"))?;
    let mut ids = receipt.msg_id.split(',');
    Ok((0_u64..)
        .zip(&send.keys)
        .map(|(i, key)| SendResult {
            status,
            message_id: key.clone(),
            offset_message_id: ids.next().unwrap_or_default().to_string(),
            queue: queue.clone(),
            offset: Some(first.saturating_add(i)),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(brokers: &[(&str, i32)]) -> Vec<MessageQueue> {
        let all = brokers.iter().flat_map(|(broker, n)| (0..*n).map(move |id| (*broker, id)));
        all.map(|(broker, id)| MessageQueue { topic: "T".into(), broker: broker.into(), id }).collect()
    }

    #[test]
    fn queues_are_taken_in_turn() {
        let queues = queues(&[("a", 2), ("b", 1)]);
        let mut turn = 1;
        let taken: Vec<_> = (0..5).filter_map(|_| choose(&queues, &mut turn, None)).map(ToString::to_string).collect();
        assert_eq!(taken, ["T/a/1", "T/b/0", "T/a/0", "T/a/1", "T/b/0"]);
    }

    #[test]
    fn the_last_broker_is_avoided_where_there_is_another() {
        let two = queues(&[("a", 3), ("b", 1)]);
        assert_eq!(choose(&two, &mut 0, Some("a")).map(ToString::to_string).as_deref(), Some("T/b/0"));
        let one = queues(&[("a", 2)]);
        assert_eq!(choose(&one, &mut 1, Some("a")).map(|queue| &*queue.broker), Some("a"));
        assert!(choose(&[], &mut 0, None).is_none());
    }

    #[test]
    fn a_turn_survives_fewer_queues() {
        let mut turn = 7;
        assert_eq!(choose(&queues(&[("a", 2)]), &mut turn, None).map(|queue| queue.id), Some(1));
        assert_eq!(turn, 0);
    }
}
