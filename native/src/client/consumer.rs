//! Consuming, as a stream of messages that are acked by asking for the next.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use skylark_core::client::{ClientError, ConsumerId, From, Message, MessageQueue, SubscribeOptions};
use tokio::sync::Notify;

use super::driver::{Handle, Inbox};

/// What a consumer shall be. Start it with [`Self::start`].
#[derive(Clone, Debug)]
#[must_use = "a consumer reads nothing before it is started"]
pub struct ConsumerBuilder {
    handle: Arc<Handle>,
    group: String,
    topic: String,
    options: SubscribeOptions,
}

impl ConsumerBuilder {
    pub(super) fn new(handle: Arc<Handle>, group: &str, topic: &str) -> Self {
        Self { handle, group: group.to_owned(), topic: topic.to_owned(), options: SubscribeOptions::default() }
    }

    /// Only these tags: `A || B`. Without it, all messages.
    pub fn tags(mut self, expression: &str) -> Self {
        expression.clone_into(&mut self.options.tags);
        self
    }

    /// Where to start in a queue in which the group has no progress yet. Without it, with new messages.
    pub fn from(mut self, from: From) -> Self {
        self.options.from = from;
        self
    }

    /// Messages of one queue that may be delivered and not yet acked. Without it, 1000.
    pub fn prefetch(mut self, messages: usize) -> Self {
        self.options.prefetch = messages;
        self
    }

    /// Reads every queue, whoever else is in the group, and keeps no progress; nothing is left on the broker.
    pub fn broadcast(mut self) -> Self {
        self.options.broadcast = true;
        self
    }

    /// Joins the group.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](super::ErrorKind::Usage) for a bad name or number, or when this client consumes the topic
    /// in this group already.
    pub fn start(self) -> Result<Consumer, ClientError> {
        let arrived = Arc::new(Notify::new());
        let id = self.handle.shared.with(|state, now| {
            let id = state.machine.subscribe(now, &self.group, &self.topic, self.options)?;
            state.inboxes.insert(id, Inbox { arrived: arrived.clone(), ..Inbox::default() });
            Ok(id)
        })?;
        Ok(Consumer { handle: self.handle, id, arrived, last: None })
    }
}

/// A member of a consumer group, reading one topic.
///
/// A message is acked when the next one is asked for, unless it was settled or [held](Delivery::hold) before. What
/// was never acked is delivered again, here after a restart or to another member. A consumer that is dropped leaves
/// its group in the background.
#[derive(Debug)]
pub struct Consumer {
    handle: Arc<Handle>,
    id: ConsumerId,
    arrived: Arc<Notify>,
    /// The message that the next call acks.
    last: Option<(MessageQueue, u64, Arc<AtomicBool>)>,
}

/// What may happen to a consumer.
#[derive(Debug)]
pub enum ConsumerEvent {
    /// A message came.
    Message(Delivery),
    /// These are its queues now. What is sent to them from now on is delivered.
    Assigned(Vec<MessageQueue>),
    /// It cannot read for now, and goes on trying.
    Trouble(ClientError),
}

impl Consumer {
    /// Acks the message before, and waits for the next; `None` once the consumer or the client is closed.
    ///
    /// Cancel safe: a future that is dropped has taken no message.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            if let ConsumerEvent::Message(delivery) = self.next_event().await? {
                return Some(delivery);
            }
        }
    }

    /// As [`Self::next`], telling also which queues the consumer has and why it cannot read.
    pub async fn next_event(&mut self) -> Option<ConsumerEvent> {
        if let Some((queue, offset, settled)) = self.last.take()
            && !settled.swap(true, Ordering::Relaxed)
        {
            self.handle.shared.with(|state, now| state.machine.ack(now, self.id, &queue, offset));
        }
        loop {
            let arrived = self.arrived.clone();
            match self.handle.shared.look(|state| state.inboxes.get_mut(&self.id).map(take)) {
                Some(Taken::Message(queue, message)) => {
                    let settled = Arc::new(AtomicBool::new(false));
                    self.last = Some((queue.clone(), message.offset, settled.clone()));
                    let handle = self.handle.clone();
                    return Some(ConsumerEvent::Message(Delivery { handle, id: self.id, queue, message, settled }));
                }
                Some(Taken::Other(event)) => return Some(event),
                Some(Taken::Nothing) => arrived.notified().await,
                Some(Taken::End) | None => return None,
            }
        }
    }

    /// Stops reading. What was read before still comes.
    pub fn pause(&self) {
        self.handle.shared.with(|state, _| state.machine.pause(self.id));
    }

    /// Reads on.
    pub fn resume(&self) {
        self.handle.shared.with(|state, now| state.machine.resume(now, self.id));
    }

    /// The queues that the consumer has now and knows where to start in, sorted.
    pub fn assigned(&self) -> Vec<MessageQueue> {
        self.handle.shared.look(|state| state.machine.assigned(self.id).cloned().collect())
    }

    /// Leaves the group, and waits until the progress is committed. The last message is not acked by this.
    pub async fn close(self) {
        self.handle.shared.with(|state, now| state.machine.unsubscribe(now, self.id));
        loop {
            let ended = self.handle.shared.look(|state| state.inboxes.get(&self.id).is_none_or(|inbox| inbox.ended));
            if ended {
                return;
            }
            self.arrived.notified().await;
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.handle.shared.with(|state, now| {
            state.inboxes.remove(&self.id);
            state.machine.unsubscribe(now, self.id);
        });
    }
}

enum Taken {
    Message(MessageQueue, Arc<Message>),
    Other(ConsumerEvent),
    Nothing,
    End,
}

fn take(inbox: &mut Inbox) -> Taken {
    if inbox.ended {
        return Taken::End;
    }
    if let Some(queues) = inbox.assigned.take() {
        return Taken::Other(ConsumerEvent::Assigned(queues));
    }
    if let Some((queue, message)) = inbox.messages.pop_front() {
        return Taken::Message(queue, message);
    }
    inbox.trouble.take().map_or(Taken::Nothing, |error| Taken::Other(ConsumerEvent::Trouble(error)))
}

/// A message, and the duty to settle it. Reads like a [`Message`].
#[derive(Debug)]
pub struct Delivery {
    handle: Arc<Handle>,
    id: ConsumerId,
    queue: MessageQueue,
    message: Arc<Message>,
    settled: Arc<AtomicBool>,
}

impl Delivery {
    /// It is done.
    pub fn ack(self) {
        self.settled.store(true, Ordering::Relaxed);
        self.handle.shared.with(|state, now| state.machine.ack(now, self.id, &self.queue, self.message.offset));
    }

    /// It could not be consumed: it is delivered again later, to this member or another.
    pub fn nack(self) {
        self.settled.store(true, Ordering::Relaxed);
        self.handle.shared.with(|state, now| state.machine.nack(now, self.id, &self.queue, self.message.offset));
    }

    /// Asking for the next message shall not ack this one: [`Self::ack`] or [`Self::nack`] will be called, perhaps
    /// from another task. Until then the group's progress does not pass it.
    #[must_use = "a message that is held and never acked stops the group's progress"]
    pub fn hold(self) -> Self {
        self.settled.store(true, Ordering::Relaxed);
        self
    }
}

impl Deref for Delivery {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}
