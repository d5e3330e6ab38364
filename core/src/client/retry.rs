//! Messages that a consumer gives back: to the broker, else to the retry topic, else kept here for later.
//!
//! A broker that takes a message back puts it into the group's retry topic after a pause and counts the attempts. One
//! that refuses gets a copy for that topic as an ordinary send. One that does not serve this, or cannot be reached,
//! leaves the message with its consumer: it is delivered again after the same pauses, and holds the commit meanwhile,
//! so it is never lost (DEL-1).

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::links::Urgency;
use super::message::{MessageQueue, ORIGIN_MESSAGE_ID, OutgoingMessage, RECONSUME_TIME, RETRY_PREFIX, RETRY_TOPIC};
use super::timers::Timer;
use super::{AssignId, Client, ConsumerId, Event, Purpose, decode};
use crate::time::Now;
use crate::wire::answer::Answer;
use crate::wire::codes::Code;
use crate::wire::request::Request;

/// Deliveries of a message after the first before a broker puts it aside.
const MAX_RECONSUME: i32 = 16;
/// How long a request to take a message back may take, ms.
const SEND_BACK_MS: u64 = 5_000;
/// Pauses before a message is delivered again, seconds, by how often it was in vain: the broker's delay levels 3 to 18.
const AGAIN_S: [u64; 16] = [10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1_200, 1_800, 3_600, 7_200];

impl Client {
    /// A message could not be consumed: the broker takes it back and delivers it to the group later. A broker that
    /// does not serve that leaves it here: it is delivered again after a pause, and holds the commit meanwhile.
    pub fn nack(&mut self, now: Now, consumer: ConsumerId, queue: &MessageQueue, offset: u64) {
        if let Some(assign) = self.consumers.assignment(consumer, queue) {
            self.send_back(now, assign, offset);
        }
        self.settle(now);
    }

    fn send_back(&mut self, now: Now, assign: AssignId, offset: u64) {
        let Some(assigned) = self.consumers.assigned.get_mut(&assign) else { return };
        let (group, queue) = (assigned.group, assigned.queue.clone());
        let Some(held) = assigned.held(offset).filter(|held| !held.returning) else { return };
        held.returning = true;
        let message = held.message.clone();
        let Some(group) = self.consumers.groups.get(&group).map(|group| group.name.clone()) else { return };
        let master = self.routes.master(&queue.broker).map(ToString::to_string);
        let Some(address) = master.filter(|_| !self.is_broadcast(assign)) else {
            self.deliver_later(now, assign, offset);
            return;
        };
        let request = Request::SendBack {
            at: message.position.0 as i64,
            group: &group,
            delay_level: 0,
            origin_id: &message.offset_message_id,
            origin_topic: &message.topic,
            max_reconsume_times: MAX_RECONSUME,
        };
        self.ask(now, &address, &request, SEND_BACK_MS, Urgency::Background, Purpose::SendBack(assign, offset));
    }

    pub(super) fn send_back_answered(&mut self, now: Now, assign: AssignId, offset: u64, answer: &Answer<'_>) {
        match answer.code {
            Code::SUCCESS => {
                self.acked(now, assign, offset);
                self.find_retry_topic(now, assign);
            }
            Code::REQUEST_CODE_NOT_SUPPORTED => self.deliver_later(now, assign, offset),
            _ => self.send_copy(now, assign, offset),
        }
    }

    /// A message is on its way to the group's retry topic, which may be new.
    fn find_retry_topic(&mut self, now: Now, assign: AssignId) {
        let group = self.consumers.assigned.get(&assign).and_then(|a| self.consumers.groups.get(&a.group));
        let Some(retry) = group.map(|group| format!("{RETRY_PREFIX}{}", group.name)) else { return };
        if self.routes.topic(&retry).read.is_empty() {
            self.doubt_route(now, &retry);
        }
    }

    /// The broker cannot take a message back: a copy goes to the group's retry topic instead.
    fn send_copy(&mut self, now: Now, assign: AssignId, offset: u64) {
        let Some(assigned) = self.consumers.assigned.get_mut(&assign) else { return };
        let group = assigned.group;
        let Some(message) = assigned.held(offset).map(|held| held.message.clone()) else { return };
        let Some(group) = self.consumers.groups.get(&group).map(|group| group.name.clone()) else { return };
        let again = message.reconsume_times.saturating_add(1);
        let raw = match &message.body {
            Ok(body) => body.clone(),
            // A compressed body that is not understood cannot be sent on under a message without its flags.
            Err(_) => return self.deliver_later(now, assign, offset),
        };
        let mut copy = OutgoingMessage::new(format!("{RETRY_PREFIX}{group}"), raw);
        copy.flag = message.flag;
        copy.properties = message.properties.clone();
        copy.properties.retain(|name, _| !decode::is_bookkeeping(name));
        let origin = message.properties.get(ORIGIN_MESSAGE_ID).unwrap_or(&message.offset_message_id).clone();
        let texts = [
            (RETRY_TOPIC, message.topic.to_string()),
            (ORIGIN_MESSAGE_ID, origin),
            (RECONSUME_TIME, again.to_string()),
            ("MAX_RECONSUME_TIMES", MAX_RECONSUME.to_string()),
            ("DELAY", again.saturating_add(2).to_string()),
        ];
        copy.properties.extend(texts.map(|(name, value)| (name.to_string(), value)));
        if self.send_to_retry(now, (assign, offset), &copy, again, MAX_RECONSUME).is_err() {
            self.deliver_later(now, assign, offset);
        }
    }

    /// A copy in the retry topic is stored, or not.
    pub(super) fn returned(&mut self, now: Now, assign: AssignId, offset: u64, stored: bool) {
        if stored {
            self.acked(now, assign, offset);
        } else {
            self.deliver_later(now, assign, offset);
        }
    }

    /// No broker takes the message back: it is delivered again from here.
    pub(super) fn deliver_later(&mut self, now: Now, assign: AssignId, offset: u64) {
        let Some(held) = self.consumers.assigned.get_mut(&assign).and_then(|a| a.held(offset)) else { return };
        let times = usize::try_from(held.message.reconsume_times).unwrap_or(0).min(AGAIN_S.len() - 1);
        self.timers.set(now.mono.plus_ms(AGAIN_S[times] * 1_000), Timer::Redeliver(assign, offset));
    }

    pub(super) fn redeliver(&mut self, assign: AssignId, offset: u64) {
        let Some(assigned) = self.consumers.assigned.get_mut(&assign) else { return };
        let (group, queue) = (assigned.group, assigned.queue.clone());
        let Some(held) = assigned.held(offset) else { return };
        held.returning = false;
        let message = Arc::make_mut(&mut held.message);
        message.reconsume_times = message.reconsume_times.saturating_add(1);
        let message = held.message.clone();
        let Some(group) = self.consumers.groups.get(&group) else { return };
        let own = group.subs.get(&message.topic).and_then(|sub| sub.consumer);
        if let Some(consumer) = own.or_else(|| group.subs.values().find_map(|sub| sub.consumer)) {
            self.events.push_back(Event::Messages { consumer, queue, batch: Vec::from([message]) });
        }
    }
}
