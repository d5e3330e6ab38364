//! A send: check, append, index, acknowledge when durable. Start at [`Broker::send`].
//!
//! Must stay true: a refused send has changed nothing; queue offsets are taken only for records that stand in the
//! log; an acknowledgement leaves only after the mark of its mode has passed the record's end (DUR-3).

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::durable::{Ack, Entry};
use super::topics::{self, RETRY};
use super::{Broker, Taken};
use crate::ids::{Call, LogPos, QueueOffset};
use crate::record::properties::{self, Known, RESERVED};
use crate::record::{Draft, batch, tag_code};
use crate::store::queues::TopicKey;
use crate::store::{Room, Store, StoreError};
use crate::time::Now;
use crate::wire::codes::Code;
use crate::wire::reply::{Positions, Refusal, Sent};
use crate::wire::request::SendMessage;

/// Most messages in one batch.
const MAX_BATCH: usize = 4096;
/// sysFlag bits of the transaction kind.
const TRANSACTION: i32 = 0xC;

const FAILED: &str = "the store failed and takes no more messages: see the broker's log, then restart it";

/// Where a checked message goes.
struct Place {
    topic: TopicKey,
    queue_id: u32,
}

/// Records that stand in the log.
struct Stored {
    at: LogPos,
    end: LogPos,
    first: QueueOffset,
}

/// Why a send did not happen.
enum Stop {
    /// It is refused.
    Refused(Refusal),
    /// There is no room yet: present it again.
    Later,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<S: Store> Broker<S> {
    pub(super) fn send(&mut self, now: Now, call: Call, send: &SendMessage<'_>) -> Taken {
        let result = match self.check_open() {
            Err(refusal) => Err(refusal.into()),
            Ok(()) if send.batch => self.store_batch(now, call, send),
            Ok(()) => self.store_single(now, call, send),
        };
        match result {
            Ok(()) => Taken::Yes,
            Err(Stop::Later) => Taken::Later,
            Err(Stop::Refused(refusal)) => {
                self.finish(call, Err(refusal));
                Taken::Yes
            }
        }
    }

    fn store_single(&mut self, now: Now, call: Call, send: &SendMessage<'_>) -> Result<(), Stop> {
        let known = Known::of(send.properties);
        self.check_kind(send, &known)?;
        let place = self.check_place(now, send)?;
        let made = known.unique_key.is_none().then(|| self.unique_keys.next(now));
        let unique_key = known.unique_key.or(made.as_deref()).unwrap_or_default();
        let cluster = Arc::clone(&self.cluster);
        let added =
            [("MSG_REGION", "DefaultRegion"), ("TRACE_ON", "true"), ("CLUSTER", &*cluster), ("UNIQ_KEY", unique_key)];
        let extra = if made.is_some() { &added[..] } else { &added[..3] };
        let properties = if known.reserved {
            properties::without(send.properties, &RESERVED)
        } else {
            Cow::Borrowed(send.properties)
        };
        let draft = Draft { properties: &properties, extra, ..self.draft(now, call, send, &place) };
        let stored = self.append(&[(draft, tag_code(known.tags))], &place)?;
        let at = Positions::One(stored.at);
        self.acknowledge(now, call, &stored, known.wait, self.sent(&stored, at, &place, unique_key.into()));
        Ok(())
    }

    fn store_batch(&mut self, now: Now, call: Call, send: &SendMessage<'_>) -> Result<(), Stop> {
        self.check_kind(send, &Known::of(send.properties))?;
        if send.topic.starts_with(RETRY) {
            return Err(illegal("a batch cannot go to a retry topic: send its messages one by one").into());
        }
        let place = self.check_place(now, send)?;
        let mut drafts = Vec::new();
        for entry in batch::entries(send.body) {
            let entry = entry.map_err(|e| illegal(&format!("the batch does not parse ({e}): encode it again")))?;
            let known = Known::of(entry.properties);
            self.check_kind(send, &known)?;
            if drafts.len() == MAX_BATCH {
                return Err(illegal(&format!("the batch has more than {MAX_BATCH} messages: split it")).into());
            }
            let draft = Draft {
                flag: entry.flag,
                properties: entry.properties,
                body: entry.body,
                ..self.draft(now, call, send, &place)
            };
            drafts.push((draft, tag_code(known.tags)));
        }
        if drafts.is_empty() {
            return Err(illegal("the batch is empty: send at least one message").into());
        }
        let stored = self.append(&drafts, &place)?;
        let entries = self.unseen.range(self.unseen.len() - drafts.len()..);
        let at = Positions::Many(entries.map(|entry| entry.at).collect());
        self.acknowledge(now, call, &stored, true, self.sent(&stored, at, &place, String::new()));
        Ok(())
    }

    fn check_open(&self) -> Result<(), Refusal> {
        if self.failed {
            return Err(unavailable(FAILED));
        }
        if self.stopping {
            return Err(unavailable("the broker is stopping: send to another, or again when it is back"));
        }
        Ok(())
    }

    /// What this release does not do must not pass for an ordinary message.
    fn check_kind(&self, send: &SendMessage<'_>, known: &Known<'_>) -> Result<(), Refusal> {
        if send.body.is_empty() {
            return Err(illegal("the message has no body: give it at least one byte"));
        }
        if send.body.len() > self.config.max_message_size {
            let (len, max) = (send.body.len(), self.config.max_message_size);
            return Err(illegal(&format!(
                "the body has {len} bytes, this broker takes {max} (maxMessageSize): make it smaller"
            )));
        }
        if known.half || send.sys_flag & TRANSACTION != 0 {
            return Err(illegal("transactional messages are not served by this release: send an ordinary message"));
        }
        if known.delay > 0 || known.timer {
            return Err(illegal(
                "delayed messages are not served by this release: send without DELAY or TIMER properties",
            ));
        }
        Ok(())
    }

    /// Topic and queue of a send; creates the topic when the template allows it.
    fn check_place(&mut self, now: Now, send: &SendMessage<'_>) -> Result<Place, Refusal> {
        let topic = if let Some(topic) = self.topics.get(send.topic) {
            topic
        } else {
            self.create_for(now, send)?;
            self.existing_topic(send.topic)?
        };
        topics::check_open(send.topic)?;
        let (key, config) = (topic.key, &topic.config);
        let queues = config.write_queues.max(config.read_queues);
        let queue_id = match send.queue_id {
            -1 => self.any_queue.wrapping_add(1) % config.write_queues.max(1) as u32,
            id if (0..queues).contains(&id) => id as u32,
            id => {
                let remark = format!("queue {id} of topic [{}] does not exist: it has {queues} queues", send.topic);
                return Err(Refusal::new(Code::INVALID_PARAMETER, remark));
            }
        };
        if send.queue_id == -1 {
            self.any_queue = queue_id;
        }
        Ok(Place { topic: key, queue_id })
    }

    /// Creates the topic of a first send, when the template that it names allows it.
    fn create_for(&mut self, now: Now, send: &SendMessage<'_>) -> Result<(), Refusal> {
        topics::check_sendable(send.topic)?;
        let wanted = send.default_topic_queues.min(self.config.default_topic_queues);
        let Some(config) = self.topics.inherited(&self.config, send.topic, send.default_topic, wanted) else {
            let remark = format!(
                "topic[{}] not exist, apply first please! Create it: skylark topic create {}",
                send.topic, send.topic
            );
            return Err(Refusal::new(Code::TOPIC_NOT_EXIST, remark));
        };
        self.set_topic(now, config);
        Ok(())
    }

    fn draft<'d>(&self, now: Now, call: Call, send: &SendMessage<'d>, place: &Place) -> Draft<'d> {
        Draft {
            topic: send.topic,
            queue_id: place.queue_id as i32,
            flag: send.flag,
            queue_offset: self.queues.next(place.topic, place.queue_id),
            sys_flag: send.sys_flag,
            born: send.born,
            born_host: self.peer(call.conn),
            store: now.wall,
            store_host: self.config.host,
            reconsume_times: send.reconsume_times,
            prepared: 0,
            body: send.body,
            properties: send.properties,
            extra: &[],
            crc: true,
        }
    }

    /// Writes the records at the log's end, back to back, and takes their queue offsets.
    fn append(&mut self, drafts: &[(Draft<'_>, i64)], place: &Place) -> Result<Stored, Stop> {
        let mut total = 0;
        for (draft, _) in drafts {
            total += draft.size()?;
        }
        if total as u64 > self.log.largest() {
            return Err(illegal(&format!("{total} bytes do not fit into a log segment: send less at once")).into());
        }
        let store = &self.store;
        let mut next = self.queues.next(place.topic, place.queue_id);
        let first = next;
        let entries = &mut self.unseen;
        let at = self.log.append(
            total,
            |end| store.room(end),
            |at, out| {
                let start = out.len();
                for (draft, tags) in drafts {
                    let here = at.plus((out.len() - start) as u64);
                    let before = out.len();
                    Draft { queue_offset: next, ..*draft }.write(here, out);
                    let (size, queue_id, topic) = ((out.len() - before) as u32, place.queue_id, place.topic);
                    entries.push_back(Entry {
                        at: here,
                        size,
                        topic,
                        queue_id,
                        offset: next,
                        tags: *tags,
                        stored: draft.store,
                    });
                    next += 1;
                }
            },
        );
        match at {
            Ok(at) => {
                self.queues.assign(place.topic, place.queue_id, next - first);
                self.counters.sent += next - first;
                self.counters.sent_bytes += total as u64;
                Ok(Stored { at, end: at.plus(total as u64), first })
            }
            Err(Room::Later) => {
                self.saving.want_room(total as u64);
                Err(Stop::Later)
            }
            Err(Room::Failed) => {
                self.fail(StoreError::Failed("it failed while it was saving".into()));
                Err(unavailable(FAILED).into())
            }
            Err(_) => Err(unavailable("the disk is full: free space on it, then send again").into()),
        }
    }

    fn sent(&self, stored: &Stored, at: Positions, place: &Place, unique_key: String) -> Sent {
        Sent {
            code: Code::SUCCESS,
            host: self.config.host,
            at,
            queue_id: place.queue_id as i32,
            queue_offset: stored.first,
            unique_key,
        }
    }

    /// Parks the answer until the mark of its mode has passed the records' end. `WAIT=false` never waits for a flush.
    fn acknowledge(&mut self, now: Now, call: Call, stored: &Stored, wait: bool, sent: Sent) {
        let ack = Ack { call, end: stored.end, sent, deadline: now.mono.plus_ms(self.config.sync_flush_timeout) };
        if wait && self.config.flush == super::FlushMode::Sync {
            self.flush_acks.push_back(ack);
        } else {
            self.write_acks.push_back(ack);
        }
    }
}

fn unavailable(remark: &str) -> Refusal {
    Refusal::new(Code::SERVICE_NOT_AVAILABLE, remark)
}

fn illegal(remark: &str) -> Refusal {
    Refusal::new(Code::MESSAGE_ILLEGAL, remark)
}
