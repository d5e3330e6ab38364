//! What people and tools ask: topics, offsets of queues, progress of groups, searches by time, facts about this broker.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Answered, Broker, FlushMode, Parked, topics};
use crate::ids::{Call, LogPos};
use crate::output::{Note, Output};
use crate::record::layout::{Record, SMALLEST};
use crate::store::queues::{Bounds, TopicKey, Unit};
use crate::store::{Missing, Read, Store};
use crate::time::{Now, Unix};
use crate::wire::body::{ConsumeStats, KeyValues, MessageQueue, Progress, QueueStats, TopicStats};
use crate::wire::codes::Code;
use crate::wire::reply::{Refusal, Reply};
use crate::wire::request::{Boundary, QueueOf, TopicConfig};

/// The largest record that can be asked for by its position, bytes.
const LARGEST: usize = 16 << 20;
/// The bytes of a record that tell its size.
const HEAD: usize = 4;

/// A search by store time, to be run again when what it missed is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Whom to answer.
    pub call: Call,
    topic: TopicKey,
    queue_id: u32,
    what: Wanted,
}

/// One message, asked for by its position, to be looked for again when what stands there is loaded.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Whom to answer.
    pub call: Call,
    /// The position.
    pub at: i64,
    /// It was loaded.
    pub loaded: bool,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    Offset(Unix, Boundary),
    EarliestTime,
}

impl<S: Store> Broker<S> {
    /// Creates or changes a topic and tells the NameServers.
    pub(super) fn set_topic(&mut self, now: Now, config: TopicConfig) {
        let (name, is_new) = (config.name.clone(), self.topics.get(&config.name).is_none());
        if self.topics.set(now.wall, config, &mut self.queues) {
            if is_new {
                self.out.push_back(Output::Note(Note::TopicCreated { topic: name }));
            }
            self.poll_register();
        }
    }

    pub(super) fn update_topic(&mut self, now: Now, call: Call, config: TopicConfig) -> Answered<S::Lease> {
        topics::check_config(&config)?;
        self.set_topic(now, config);
        self.wait_for_topic(now, call);
        Ok(None)
    }

    pub(super) fn existing_topic(&self, name: &str) -> Result<&topics::Topic, Refusal> {
        self.topics.get(name).ok_or_else(|| {
            let name = name.escape_debug();
            Refusal::new(
                Code::TOPIC_NOT_EXIST,
                format!("topic[{name}] not exist, apply first please! Create it: skylark topic create {name}"),
            )
        })
    }

    pub(super) fn topic_configs(&self) -> Answered<S::Lease> {
        Ok(Some(Reply::Body(self.topics.table().encode())))
    }

    /// Bounds of a queue that exists, by the larger of its two queue counts.
    fn bounds_of(&self, queue: QueueOf<'_>) -> Result<(TopicKey, u32, Bounds), Refusal> {
        let topic = self.existing_topic(queue.topic)?;
        let count = topic.config.read_queues.max(topic.config.write_queues);
        if !(0..count).contains(&queue.queue_id) {
            let remark =
                format!("queue {} of topic [{}] does not exist: it has {count} queues", queue.queue_id, queue.topic);
            return Err(Refusal::new(Code::INVALID_PARAMETER, remark));
        }
        let id = queue.queue_id as u32;
        Ok((topic.key, id, self.queues.bounds(topic.key, id)))
    }

    pub(super) fn max_offset(&self, queue: QueueOf<'_>) -> Answered<S::Lease> {
        Ok(Some(Reply::Offset(self.bounds_of(queue)?.2.max as i64)))
    }

    pub(super) fn min_offset(&self, queue: QueueOf<'_>) -> Answered<S::Lease> {
        Ok(Some(Reply::Offset(self.bounds_of(queue)?.2.min as i64)))
    }

    pub(super) fn query_offset(&self, group: &str, queue: QueueOf<'_>, zero_if_none: bool) -> Answered<S::Lease> {
        let (.., bounds) = self.bounds_of(queue)?;
        let stored = self.offsets.get(group, queue.topic, queue.queue_id as u32);
        // A young queue is read from its beginning by a group that never was here (remoting.md 3.7).
        let young = bounds.min == 0 && self.log.end().0 <= self.config.hot_bytes;
        match stored {
            Some(offset) => Ok(Some(Reply::Offset(offset))),
            None if zero_if_none && young => Ok(Some(Reply::Offset(0))),
            None => {
                let remark =
                    format!("the group [{group}] has no offset in queue {} of [{}] yet", queue.queue_id, queue.topic);
                Err(Refusal::new(Code::QUERY_NOT_FOUND, remark))
            }
        }
    }

    pub(super) fn update_offset(&mut self, group: &str, queue: QueueOf<'_>, offset: i64) -> Answered<S::Lease> {
        topics::check_name("consumer group", group)?;
        let (_, id, bounds) = self.bounds_of(queue)?;
        if offset < 0 {
            return Err(Refusal::new(
                Code::INVALID_PARAMETER,
                format!("offset {offset} is negative: commit the next offset to consume"),
            ));
        }
        self.offsets.commit(group, queue.topic, id, offset.min(bounds.max as i64));
        Ok(Some(Reply::Done))
    }

    pub(super) fn search_offset(
        &mut self,
        call: Call,
        queue: QueueOf<'_>,
        at: Unix,
        boundary: Boundary,
    ) -> Answered<S::Lease> {
        let (topic, queue_id, _) = self.bounds_of(queue)?;
        self.run_search(Search { call, topic, queue_id, what: Wanted::Offset(at, boundary) })
    }

    pub(super) fn earliest_time(&mut self, call: Call, queue: QueueOf<'_>) -> Answered<S::Lease> {
        let (topic, queue_id, bounds) = self.bounds_of(queue)?;
        if bounds.min == bounds.max {
            return Ok(Some(Reply::Timestamp(-1)));
        }
        self.run_search(Search { call, topic, queue_id, what: Wanted::EarliestTime })
    }

    pub(super) fn run_search(&mut self, search: Search) -> Answered<S::Lease> {
        let found = match search.what {
            Wanted::Offset(at, boundary) => self.offset_at(search, at, boundary).map(Reply::Offset),
            Wanted::EarliestTime => {
                let min = self.queues.bounds(search.topic, search.queue_id).min;
                self.stored_at(search.topic, search.queue_id, min)
                    .map(|time| Reply::Timestamp(time.map_or(-1, |t| t.0)))
            }
        };
        match found {
            Ok(reply) => Ok(Some(reply)),
            Err(missing) => {
                self.park_load(missing, Parked::Search(search));
                Ok(None)
            }
        }
    }

    /// Binary search by store time, which rises along a queue.
    fn offset_at(&self, search: Search, at: Unix, boundary: Boundary) -> Result<i64, Missing> {
        let Bounds { min, max } = self.queues.bounds(search.topic, search.queue_id);
        let (mut low, mut high) = (min, max);
        while low < high {
            let middle = low + (high - low) / 2;
            let before = self.stored_at(search.topic, search.queue_id, middle)?.is_none_or(|time| match boundary {
                Boundary::Lower => time < at,
                Boundary::Upper => time <= at,
            });
            if before { low = middle + 1 } else { high = middle }
        }
        Ok(match boundary {
            Boundary::Lower => low,
            Boundary::Upper => low.saturating_sub(1).max(min),
        } as i64)
    }

    /// When the message at an offset was stored; `None` if its record is damaged or gone.
    fn stored_at(&self, topic: TopicKey, queue_id: u32, offset: u64) -> Result<Option<Unix>, Missing> {
        let mut units: Vec<Unit> = Vec::with_capacity(1);
        self.queues.read(topic, queue_id, offset, 1, &mut units)?;
        let Some(unit) = units.first().filter(|unit| unit.size > 0) else { return Ok(None) };
        match self.store.read(unit.at, unit.size as usize) {
            Read::Ready(lease) => Ok(Record::check(lease.as_ref()).ok().map(|(record, _)| record.store)),
            Read::Missing(missing) => Err(missing),
            Read::Damaged | Read::Trimmed => Ok(None),
        }
    }

    /// One message by its position. Only a whole record below the visible mark is served (STO-2).
    pub(super) fn run_view(&mut self, view: View) -> Answered<S::Lease> {
        let missing = || Refusal::new(Code::SYSTEM_ERROR, format!("can not find message by the offset, {}", view.at));
        let at = LogPos(u64::try_from(view.at).map_err(|_| missing())?);
        let visible = self.visible();
        if at.plus(HEAD as u64) > visible {
            return Err(missing());
        }
        // Once is enough: where no record begins, loading brings none.
        if let Read::Missing(what) = self.store.read(at, HEAD)
            && !view.loaded
        {
            self.park_load(what, Parked::View(View { loaded: true, ..view }));
            return Ok(None);
        }
        let read = |len: usize| match self.store.read(at, len) {
            Read::Ready(lease) if at.plus(len as u64) <= visible => Ok(lease),
            _ => Err(missing()),
        };
        let head = read(HEAD)?;
        let size = head.as_ref().first_chunk().map_or(0, |size| u32::from_be_bytes(*size) as usize);
        let lease = read(size.clamp(SMALLEST, LARGEST))?;
        let (whole, _) = Record::check(lease.as_ref()).map_err(|_| missing())?;
        if whole.at != at || whole.size() != size || whole.verify().is_err() {
            return Err(missing());
        }
        Ok(Some(Reply::Messages(alloc::vec![lease])))
    }

    pub(super) fn topic_stats(&mut self, name: &str) -> Answered<S::Lease> {
        let topic = self.existing_topic(name)?;
        let (key, queues) = (topic.key, topic.config.read_queues.max(topic.config.write_queues) as u32);
        let mut stats = Vec::with_capacity(queues as usize);
        for id in 0..queues {
            let Bounds { min, max } = self.queues.bounds(key, id);
            let last_update = self.last_stored(key, id);
            stats.push((self.queue_name(name, id), QueueStats { min: min as i64, max: max as i64, last_update }));
        }
        Ok(Some(Reply::Body(TopicStats { queues: stats, put_tps: 0.0 }.encode())))
    }

    /// When the queue's last message was stored, ms; 0 when there is none, and while it is not in memory: then it is
    /// loaded for who asks next, since an answer about many queues cannot wait for each.
    fn last_stored(&mut self, topic: TopicKey, queue_id: u32) -> i64 {
        let Some(last) = self.queues.bounds(topic, queue_id).max.checked_sub(1) else { return 0 };
        match self.stored_at(topic, queue_id, last) {
            Ok(time) => time.map_or(0, |time| time.0),
            Err(missing) => {
                self.load_ahead(missing);
                0
            }
        }
    }

    fn queue_name(&self, topic: &str, id: u32) -> MessageQueue {
        MessageQueue { topic: topic.into(), broker: self.config.name.clone(), queue_id: id as i32 }
    }

    pub(super) fn consume_stats(&mut self, group: &str, topic: Option<&str>) -> Answered<S::Lease> {
        let names: Vec<String> = match topic {
            Some(topic) => alloc::vec![topic.into()],
            None => self.offsets.topics(group).into_iter().map(String::from).collect(),
        };
        let mut rows = Vec::new();
        for name in &names {
            let Some((key, queues)) = self.topics.get(name).map(|t| (t.key, t.config.read_queues as u32)) else {
                continue;
            };
            for id in 0..queues {
                let consumer = self.offsets.get(group, name, id).unwrap_or(0);
                let progress = Progress {
                    broker: self.queues.bounds(key, id).max as i64,
                    consumer,
                    pull: consumer,
                    last_timestamp: self.last_stored(key, id),
                };
                rows.push((self.queue_name(name, id), progress));
            }
        }
        Ok(Some(Reply::Body(ConsumeStats { queues: rows, consume_tps: 0.0 }.encode())))
    }

    /// Facts about this broker under the names that mqadmin's `brokerStatus` shows.
    pub(super) fn broker_info(&self, now: Now) -> Answered<S::Lease> {
        let (consumers, producers) = self.groups.counts();
        let flush = if self.config.flush == FlushMode::Sync { "SYNC_FLUSH" } else { "ASYNC_FLUSH" };
        let rows: [(&str, String); 14] = [
            ("bootTimestamp", self.started.wall.0.to_string()),
            ("brokerActive", "true".into()),
            ("brokerVersion", crate::wire::codes::VERSION.to_string()),
            ("brokerVersionDesc", format!("Skylark {}", env!("CARGO_PKG_VERSION"))),
            ("commitLogMaxOffset", self.log.end().0.to_string()),
            ("commitLogFlushedOffset", self.log.flushed().0.to_string()),
            ("consumersConnected", consumers.to_string()),
            ("flushDiskType", flush.into()),
            ("msgGetTotalTodayNow", self.counters.pulled.to_string()),
            ("msgPutTotalTodayNow", self.counters.sent.to_string()),
            ("producersConnected", producers.to_string()),
            ("pullsHeld", self.hold.len().to_string()),
            ("runtime", format!("{} ms", now.mono.ms_since(self.started.mono))),
            ("topics", self.topics.len().to_string()),
        ];
        let entries = rows.into_iter().map(|(key, value)| (key.into(), value)).collect();
        Ok(Some(Reply::Body(KeyValues { entries }.encode())))
    }
}
