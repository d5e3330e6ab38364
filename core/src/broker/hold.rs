//! Parked reads: pulls that wait for a message, and reads that wait for something to be loaded.
//! Both are one idea: a reply whose condition is not yet true, with a deadline.
//!
//! Must stay true: every held pull has a deadline and leaves by exactly one of arrival, deadline, close.
//! Start at [`Hold::park`].

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::pull::HeldPull;
use crate::ids::ConnId;
use crate::store::queues::TopicKey;
use crate::time::Instant;

type Place = (TopicKey, u32);

/// Pulls that wait at the end of a queue.
#[derive(Debug, Default)]
pub struct Hold {
    next: u64,
    pulls: BTreeMap<u64, HeldPull>,
    places: BTreeMap<Place, Vec<u64>>,
    deadlines: BTreeSet<(Instant, u64)>,
}

impl Hold {
    /// Holds a pull until a message arrives in its queue or its deadline passes.
    pub fn park(&mut self, pull: HeldPull) {
        let id = self.next;
        self.next += 1;
        self.places.entry((pull.topic, pull.queue_id)).or_default().push(id);
        self.deadlines.insert((pull.deadline, id));
        self.pulls.insert(id, pull);
    }

    /// Whether anyone waits at this queue.
    pub fn waits(&self, topic: TopicKey, queue_id: u32) -> bool {
        !self.pulls.is_empty() && self.places.contains_key(&(topic, queue_id))
    }

    /// Takes the pulls of a queue that want a message with this tag hash.
    pub fn arrived(&mut self, topic: TopicKey, queue_id: u32, tags: i64) -> Vec<HeldPull> {
        let Some(ids) = self.places.get_mut(&(topic, queue_id)) else { return Vec::new() };
        let pulls = &self.pulls;
        let woken: Vec<u64> =
            ids.extract_if(.., |id| pulls.get(id).is_none_or(|pull| pull.filter.matches(tags))).collect();
        if ids.is_empty() {
            self.places.remove(&(topic, queue_id));
        }
        woken.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// Takes a pull whose deadline has passed.
    pub fn pop_due(&mut self, now: Instant) -> Option<HeldPull> {
        let (at, id) = *self.deadlines.first()?;
        if at > now {
            return None;
        }
        let pull = self.take(id)?;
        self.forget_place((pull.topic, pull.queue_id), id);
        Some(pull)
    }

    /// Drops what a closed connection was waiting for.
    pub fn closed(&mut self, conn: ConnId) {
        let gone: Vec<(u64, Place)> = self
            .pulls
            .iter()
            .filter(|(_, pull)| pull.call.conn == conn)
            .map(|(id, pull)| (*id, (pull.topic, pull.queue_id)))
            .collect();
        for (id, place) in gone {
            self.take(id);
            self.forget_place(place, id);
        }
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// How many pulls are held.
    pub fn len(&self) -> usize {
        self.pulls.len()
    }

    fn take(&mut self, id: u64) -> Option<HeldPull> {
        let pull = self.pulls.remove(&id)?;
        self.deadlines.remove(&(pull.deadline, id));
        Some(pull)
    }

    fn forget_place(&mut self, place: Place, id: u64) {
        if let Some(ids) = self.places.get_mut(&place) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.places.remove(&place);
            }
        }
    }
}
