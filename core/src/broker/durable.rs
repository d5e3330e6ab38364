//! From written to acknowledged: completions of the medium move the log's marks; a mark that moves makes messages
//! visible, releases acknowledgements, and lets the tables follow.
//!
//! Must stay true: a completion names its operation; an acknowledgement's end lies at or below the mark of its mode;
//! after a failed write or flush nothing is acknowledged any more (DUR-5). Start at [`Broker::handle_stored`].

use alloc::string::String;
use alloc::vec::Vec;

use super::{Broker, BrokerConfig, FlushMode, Parked};
use crate::ids::{Call, LogPos, QueueOffset, StoreId, Ticket};
use crate::output::{Note, Output};
use crate::store::checkpoint::Checkpoint;
use crate::store::log::FILLER;
use crate::store::queues::{TopicKey, Unit};
use crate::store::{Disk, Missing, Room, Store, StoreError, Table};
use crate::time::{Instant, Now, Unix};
use crate::wire::codes::Code;
use crate::wire::reply::{Refusal, Reply, Sent};
use crate::wire::request::DataVersion;

/// Room is asked for this far ahead of the log's end at least, bytes.
const AHEAD: u64 = 8 << 20;
/// Loads that may be under way while more are begun for nobody in particular.
const MAX_LOADS_AHEAD: usize = 64;
/// Time between tries of what the medium refused, ms.
const RETRY_MS: u64 = 1000;
/// Units are saved after this time, or when this many wait. ms, units.
const SAVE_MS: u64 = 1000;
const SAVE_UNITS: usize = 64 << 10;
/// A checkpoint is written after this time, or this much log. ms, bytes.
const CHECKPOINT_MS: u64 = 60_000;
const CHECKPOINT_BYTES: u64 = 256 << 20;

/// A record in the log that is not visible yet.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Where it stands.
    pub at: LogPos,
    /// Its size, bytes.
    pub size: u32,
    /// Its topic.
    pub topic: TopicKey,
    /// Its queue.
    pub queue_id: u32,
    /// Its offset in the queue.
    pub offset: QueueOffset,
    /// Its tag's hash.
    pub tags: i64,
    /// When it was stored.
    pub stored: Unix,
}

/// A send's answer that waits for a mark.
#[derive(Debug)]
pub struct Ack {
    /// Whom to answer.
    pub call: Call,
    /// The mark must have passed this.
    pub end: LogPos,
    /// The answer.
    pub sent: Sent,
    /// When a waiting one is answered `FLUSH_DISK_TIMEOUT`.
    pub deadline: Instant,
}

/// Saves in flight and when the next ones are due.
#[derive(Debug, Default)]
pub struct Saving {
    prepare: Option<StoreId>,
    /// How far ahead of the log's end room is wanted: far enough for what had to wait for it.
    ahead: u64,
    prepare_again: Option<Instant>,
    units: Option<(StoreId, Option<Checkpoint>)>,
    units_due: Option<Instant>,
    checkpoint_due: Instant,
    checkpointed: LogPos,
    checkpoint: Option<(StoreId, LogPos)>,
    /// What the flush in flight, and the last one, make true of the queues.
    flushing: Option<Checkpoint>,
    flushed: Option<Checkpoint>,
    /// A save was refused: none before this.
    save_again: Option<Instant>,
    flush_due: Option<Instant>,
    topics: Option<(StoreId, i64)>,
    /// Version of the topic table that is safe on the medium.
    pub topics_saved: i64,
    offsets: Option<StoreId>,
    offsets_due: Instant,
}

impl Saving {
    /// Nothing in flight. `end` is how far the store's checkpoint reaches, `topics` the version of the saved table.
    pub fn new(config: &BrokerConfig, now: Now, end: LogPos, topics: i64) -> Self {
        Self {
            ahead: AHEAD,
            checkpoint_due: now.mono.plus_ms(CHECKPOINT_MS),
            checkpointed: end,
            topics_saved: topics,
            offsets_due: now.mono.plus_ms(config.offset_interval),
            ..Self::default()
        }
    }

    /// There was no room for `len` bytes: it is asked for, also where they begin a new segment.
    pub fn want_room(&mut self, len: u64) {
        self.ahead = self.ahead.max(2 * (len + FILLER));
    }
}

impl<S: Store> Broker<S> {
    /// An operation of the medium is complete. `Ok(Some(..))` gives a write's buffer back.
    pub fn handle_stored(&mut self, now: Now, id: StoreId, result: Result<Option<Vec<u8>>, StoreError>) {
        self.now = now;
        let saving = &mut self.saving;
        if self.log.is_writing(id) {
            match result {
                Ok(_) if self.failed => {}
                Ok(buffer) => {
                    if self.log.handle_written(id, buffer).is_some() {
                        self.marks_moved(now);
                    }
                }
                Err(why) => self.fail(why),
            }
        } else if self.log.is_flushing(id) {
            match result {
                Ok(_) if self.failed => {}
                Ok(_) => {
                    self.log.handle_flushed(id);
                    self.marks_moved(now);
                    // With sync flush the queues follow the flush; else they were ahead of it when it began.
                    let began = self.saving.flushing.take();
                    self.saving.flushed = match self.config.flush {
                        FlushMode::Async => began,
                        FlushMode::Sync => Some(self.snapshot()),
                    };
                }
                Err(why) => self.fail(why),
            }
        } else if saving.prepare == Some(id) {
            saving.prepare = None;
            let still = result.is_err() || self.store.room(self.log.end().plus(saving.ahead)) != Room::Ready;
            saving.prepare_again = still.then(|| now.mono.plus_ms(RETRY_MS));
        } else if saving.units.as_ref().is_some_and(|(units, _)| *units == id) {
            let checkpoint = saving.units.take().and_then(|(_, checkpoint)| checkpoint);
            if result.is_ok() {
                self.queues.saved();
                if let Some(checkpoint) = checkpoint {
                    self.put_checkpoint(now, checkpoint);
                }
            } else {
                self.queues.save_failed();
                self.put_off_saves();
            }
        } else if saving.topics.is_some_and(|(topics, _)| topics == id) {
            match (saving.topics.take(), result) {
                (Some((_, version)), Ok(_)) => {
                    saving.topics_saved = version;
                    self.settle_topic_waiters(now);
                }
                _ => self.put_off_saves(),
            }
        } else if saving.offsets == Some(id) {
            saving.offsets = None;
            if result.is_err() {
                self.offsets.mark_dirty();
                self.put_off_saves();
            }
        } else if saving.checkpoint.is_some_and(|(checkpoint, _)| checkpoint == id) {
            match (saving.checkpoint.take(), result) {
                (Some((_, at)), Ok(_)) => saving.checkpointed = at,
                _ => self.put_off_saves(),
            }
        }
    }

    /// Something that was missing is here, or could not be loaded.
    pub fn handle_loaded(&mut self, now: Now, ticket: Ticket, result: Result<Vec<u8>, StoreError>) {
        self.now = now;
        let Some((missing, parked)) = self.loads.remove(&ticket) else { return };
        if let (Missing::Units { topic, queue_id, from, .. }, Ok(bytes)) = (&missing, &result) {
            self.queues.loaded(topic, *queue_id, *from, bytes);
        }
        for parked in parked {
            let call = parked.call();
            let answer = match &result {
                Ok(_) => match parked {
                    Parked::Pull(pull) => self.run_pull(now, pull),
                    Parked::Search(search) => self.run_search(search),
                    Parked::View(view) => self.run_view(view),
                },
                Err(_) => Err(Refusal::new(
                    Code::SYSTEM_ERROR,
                    "the disk could not read this part of the queue: try again, and see the broker's log",
                )),
            };
            self.finish(call, answer);
        }
    }

    /// Parks a read behind a load; several reads that miss the same thing share one.
    pub(super) fn park_load(&mut self, missing: Missing, parked: Parked) {
        self.load(missing).push(parked);
    }

    /// Loads something ahead of the next who needs it; how much is loaded so at a time is bounded.
    pub(super) fn load_ahead(&mut self, missing: Missing) {
        if self.loads.len() < MAX_LOADS_AHEAD {
            self.load(missing);
        }
    }

    /// Who waits for this load, which is under way from now on.
    fn load(&mut self, missing: Missing) -> &mut Vec<Parked> {
        let under_way = self.loads.iter().find(|(_, (what, _))| *what == missing).map(|(ticket, _)| *ticket);
        let ticket = under_way.unwrap_or_else(|| {
            let ticket = Ticket(self.next_id());
            self.out.push_back(Output::Disk(Disk::Load { ticket, what: missing.clone() }));
            ticket
        });
        &mut self.loads.entry(ticket).or_insert_with(|| (missing, Vec::new())).1
    }

    /// Everything below is shown to consumers.
    pub(super) fn visible(&self) -> LogPos {
        match self.config.flush {
            FlushMode::Async => self.log.written(),
            FlushMode::Sync => self.log.flushed(),
        }
    }

    fn marks_moved(&mut self, now: Now) {
        self.dispatch(now);
        while let Some(ack) = self.write_acks.pop_front_if(|ack| ack.end <= self.log.written()) {
            self.finish(ack.call, Ok(Some(Reply::Sent(ack.sent))));
        }
        while let Some(ack) = self.flush_acks.pop_front_if(|ack| ack.end <= self.log.flushed()) {
            self.finish(ack.call, Ok(Some(Reply::Sent(ack.sent))));
        }
    }

    /// Puts what became visible into its queue and wakes who waited for it.
    fn dispatch(&mut self, now: Now) {
        let (visible, mut woken) = (self.visible(), Vec::new());
        while let Some(entry) = self.unseen.pop_front_if(|entry| entry.at.plus(entry.size as u64) <= visible) {
            let unit = Unit { at: entry.at, size: entry.size, tags: entry.tags };
            self.queues.push(entry.topic, entry.queue_id, entry.offset, unit);
            self.last_dispatched = entry.stored;
            if self.hold.waits(entry.topic, entry.queue_id) {
                woken.append(&mut self.hold.arrived(entry.topic, entry.queue_id, entry.tags));
            }
        }
        self.wake(now, woken);
    }

    pub(super) fn fail(&mut self, why: StoreError) {
        if !core::mem::replace(&mut self.failed, true) {
            // Whether what these senders wait for is kept, nobody can say any more: no success of any kind (DUR-3).
            let waiting =
                core::mem::take(&mut self.write_acks).into_iter().chain(core::mem::take(&mut self.flush_acks));
            for ack in waiting.collect::<Vec<_>>() {
                let why =
                    "the store failed before this message was safe, and may have lost it: send it to another broker";
                self.finish(ack.call, Err(Refusal::new(Code::SERVICE_NOT_AVAILABLE, why)));
            }
            let why = match why {
                StoreError::Full => String::from("no space"),
                StoreError::Failed(why) => why,
            };
            self.out.push_back(Output::Note(Note::StoreFailed { why }));
        }
    }

    /// Writes, flushes, saves that are due. Called when outputs are drained.
    pub(super) fn poll_disk(&mut self) -> Option<Disk> {
        let now = self.now;
        if self.saving.save_again.is_none()
            && let Some(disk) = self.poll_topics()
        {
            return Some(disk);
        }
        let next = StoreId(self.ids + 1);
        if !self.failed
            && let Some((id, at, bytes)) = self.log.poll_write(|| next)
        {
            self.ids += 1;
            return Some(Disk::Write { id, at, bytes });
        }
        if self.log.flushed() >= self.log.written() {
            self.saving.flush_due = None;
        } else if self.saving.flush_due.is_none() && !self.log.has_flush() {
            self.saving.flush_due = Some(now.mono.plus_ms(self.config.flush_interval));
        }
        let flush_now =
            self.stopping || !self.flush_acks.is_empty() || self.saving.flush_due.is_some_and(|at| at <= now.mono);
        if !self.failed
            && flush_now
            && let Some(id) = self.log.poll_flush(|| next)
        {
            self.ids += 1;
            self.saving.flush_due = None;
            self.saving.flushing = Some(self.snapshot());
            return Some(Disk::Flush { id });
        }
        self.poll_prepare().or_else(|| self.poll_saves())
    }

    /// The medium refused a save: the next is tried later, so that a full disk costs no spinning.
    fn put_off_saves(&mut self) {
        self.saving.save_again = Some(self.now.mono.plus_ms(RETRY_MS));
    }

    fn poll_saves(&mut self) -> Option<Disk> {
        if self.saving.save_again.is_some_and(|at| at > self.now.mono) {
            return None;
        }
        self.saving.save_again = None;
        self.poll_topics().or_else(|| self.poll_units()).or_else(|| self.poll_offsets())
    }

    fn poll_prepare(&mut self) -> Option<Disk> {
        let due = self.saving.prepare_again.is_none_or(|at| at <= self.now.mono);
        if self.failed || self.saving.prepare.is_some() || !due {
            return None;
        }
        self.saving.prepare_again = None;
        let upto = self.log.end().plus(self.saving.ahead);
        if matches!(self.store.room(upto), Room::Ready | Room::Failed) {
            return None;
        }
        let id = StoreId(self.next_id());
        self.saving.prepare = Some(id);
        Some(Disk::Prepare { id, upto })
    }

    fn poll_units(&mut self) -> Option<Disk> {
        let (now, unsaved) = (self.now.mono, self.queues.unsaved());
        if unsaved > 0 && self.saving.units_due.is_none() {
            self.saving.units_due = Some(now.plus_ms(SAVE_MS));
        }
        // Units of all that was flushed are in memory or on disk: saving the rest makes the checkpoint true.
        let checkpoint = self.saving.flushed.filter(|flushed| {
            let moved = flushed.queues.0 - self.saving.checkpointed.0;
            moved > 0 && (self.stopping || moved >= CHECKPOINT_BYTES || self.saving.checkpoint_due <= now)
        });
        let due = unsaved >= SAVE_UNITS || self.saving.units_due.is_some_and(|at| at <= now) || self.stopping;
        if self.saving.units.is_some()
            || self.saving.checkpoint.is_some()
            || !(checkpoint.is_some() || due && unsaved > 0)
        {
            return None;
        }
        let runs = self.queues.poll_save();
        let id = StoreId(self.next_id());
        let flush = checkpoint.is_some();
        self.saving.units = Some((id, checkpoint));
        self.saving.units_due = None;
        Some(Disk::Units { id, runs, flush })
    }

    /// What is true of the queues once everything that is visible now is flushed and saved.
    fn snapshot(&self) -> Checkpoint {
        let (stamp, visible) = (self.last_dispatched.0, self.visible());
        Checkpoint { physic: stamp, logics: stamp, flushed: visible, queues: visible, units: self.queues.total() }
    }

    fn put_checkpoint(&mut self, now: Now, checkpoint: Checkpoint) {
        let id = StoreId(self.next_id());
        self.saving.checkpoint = Some((id, checkpoint.queues));
        self.saving.checkpoint_due = now.mono.plus_ms(CHECKPOINT_MS);
        self.out.push_back(Output::Disk(Disk::Put { id, table: Table::Checkpoint, bytes: checkpoint.encode() }));
    }

    fn poll_topics(&mut self) -> Option<Disk> {
        let version = self.topics.version();
        if self.saving.topics.is_some() || version.counter == self.saving.topics_saved {
            return None;
        }
        let id = StoreId(self.next_id());
        self.saving.topics = Some((id, version.counter));
        Some(Disk::Put { id, table: Table::Topics, bytes: self.topics.table().to_file() })
    }

    fn poll_offsets(&mut self) -> Option<Disk> {
        let due = self.saving.offsets_due <= self.now.mono || self.stopping;
        if self.saving.offsets.is_some() || !due || !self.offsets.take_dirty() {
            return None;
        }
        self.saving.offsets_due = self.now.mono.plus_ms(self.config.offset_interval);
        let id = StoreId(self.next_id());
        self.saving.offsets = Some(id);
        let version = DataVersion { state_version: 0, timestamp: self.now.wall.0, counter: id.0 as i64 };
        Some(Disk::Put { id, table: Table::ConsumerOffsets, bytes: self.offsets.table(version).to_file() })
    }

    /// Nothing is on its way and nothing is left to save.
    pub(super) fn is_settled(&self) -> bool {
        let saving = &self.saving;
        let still = saving.units.is_none()
            && saving.checkpoint.is_none()
            && saving.topics.is_none()
            && saving.offsets.is_none();
        let saved = self.queues.unsaved() == 0
            && !self.offsets.is_dirty()
            && saving.topics_saved == self.topics.version().counter
            && saving.checkpointed == self.log.end();
        self.failed || still && saved && self.log.flushed() == self.log.end()
    }

    /// Sends whose flush did not come in time are answered so: stored, not flushed (DUR-3).
    pub(super) fn expire_acks(&mut self, now: Now) {
        while let Some(mut ack) = self.flush_acks.pop_front_if(|ack| ack.deadline <= now.mono) {
            ack.sent.code = Code::FLUSH_DISK_TIMEOUT;
            self.finish(ack.call, Ok(Some(Reply::Sent(ack.sent))));
        }
    }

    /// The earliest time at which something here can be done. What waits for a completion has none.
    pub(super) fn durable_deadline(&self) -> Option<Instant> {
        let saving = &self.saving;
        let flush = saving.flush_due.filter(|_| !self.failed && !self.log.has_flush());
        let prepare = saving.prepare_again.filter(|_| saving.prepare.is_none() && !self.failed);
        let offsets = (self.offsets.is_dirty() && saving.offsets.is_none()).then_some(saving.offsets_due);
        let idle = saving.units.is_none() && saving.checkpoint.is_none();
        let units = saving.units_due.filter(|_| idle);
        let behind = self.log.flushed() >= self.visible() && self.visible() > saving.checkpointed;
        let checkpoint = (idle && behind).then_some(saving.checkpoint_due);
        let saves = [units, offsets, checkpoint, saving.save_again].into_iter().flatten().min();
        let saves = saves.map(|at| at.max(saving.save_again.unwrap_or(at)));
        let acks = self.flush_acks.front().map(|ack| ack.deadline);
        [flush, prepare, saves, acks].into_iter().flatten().min()
    }
}
