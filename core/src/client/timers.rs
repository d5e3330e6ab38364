//! Everything that the client waits for, ordered by time; one deadline for each thing.
//!
//! What is not waited for any more stays in the heap until it comes up or outnumbers the rest. Must stay true: the
//! top of the heap is waited for.

use alloc::collections::{BTreeMap, BinaryHeap};
use core::cmp::Reverse;

use super::{AssignId, GroupId, SendId};
use crate::ids::{AskId, LinkId};
use crate::time::Instant;

/// What is due. Of two things due at one moment the one listed first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An ask got no answer.
    Ask(AskId),
    /// A connection did not open.
    Dial(LinkId),
    /// A send used up its time.
    Send(SendId),
    /// Routes are to be refreshed.
    Routes,
    /// Routes that consumers lack are to be asked for again.
    MissingRoutes,
    /// Brokers are to hear from this client.
    Heartbeat,
    /// A group's queues are to be shared out again.
    Rebalance(GroupId),
    /// Offsets are to be committed.
    Commit,
    /// A queue's pause is over.
    Queue(AssignId),
    /// A message that its consumer gave back is to be delivered again.
    Redeliver(AssignId, u64),
    /// Closing took too long.
    Close,
}

/// So many entries of the heap may be stale whatever the rest.
const STALE: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BinaryHeap<Reverse<(Instant, Timer)>>,
    at: BTreeMap<Timer, Instant>,
}

impl Timers {
    /// `timer` is due at `at`, whatever was set before.
    pub(super) fn set(&mut self, at: Instant, timer: Timer) {
        if self.at.insert(timer, at) != Some(at) {
            self.due.push(Reverse((at, timer)));
            self.prune();
        }
    }

    /// `timer` is due at `at` or at what was set before, whichever is sooner.
    pub(super) fn set_sooner(&mut self, at: Instant, timer: Timer) {
        if self.at.get(&timer).is_none_or(|set| at < *set) {
            self.set(at, timer);
        }
    }

    /// `timer` is not waited for any more.
    pub(super) fn unset(&mut self, timer: &Timer) {
        self.at.remove(timer);
        self.prune();
    }

    fn prune(&mut self) {
        let at = &self.at;
        let stale = |(set, timer): &(Instant, Timer)| at.get(timer) != Some(set);
        while self.due.peek().is_some_and(|Reverse(entry)| stale(entry)) {
            self.due.pop();
        }
        if self.due.len() > 2 * at.len() + STALE {
            self.due = at.iter().map(|(timer, at)| Reverse((*at, *timer))).collect();
        }
    }

    /// `timer` is waited for.
    pub(super) fn is_set(&self, timer: &Timer) -> bool {
        self.at.contains_key(timer)
    }

    /// When the first is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the first that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Timer> {
        let Reverse((at, timer)) = *self.due.peek()?;
        if at > now {
            return None;
        }
        self.unset(&timer);
        Some(timer)
    }

    pub(super) fn clear(&mut self) {
        self.due.clear();
        self.at.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn timers_come_in_order_whatever_was_changed(
            steps in proptest::collection::vec((0_u8..4, 0_i32..20, 0_u64..50), 0..400),
        ) {
            let (mut timers, mut model) = (Timers::default(), BTreeMap::new());
            let mut most = 0;
            for (step, number, at) in steps {
                let timer = Timer::Ask(AskId(number));
                let first = |model: &BTreeMap<Timer, Instant>| model.iter().map(|(timer, at)| (*at, *timer)).min();
                match step {
                    0 | 1 => {
                        timers.set(Instant(at), timer);
                        model.insert(timer, Instant(at));
                    }
                    2 => {
                        timers.unset(&timer);
                        model.remove(&timer);
                    }
                    _ => {
                        let due = first(&model).filter(|(due, _)| due.0 <= at).map(|(_, timer)| timer);
                        prop_assert_eq!(timers.pop(Instant(at)), due);
                        due.map(|timer| model.remove(&timer));
                    }
                }
                prop_assert_eq!(timers.next(), first(&model).map(|(at, _)| at));
                prop_assert_eq!(timers.is_set(&timer), model.contains_key(&timer));
                most = most.max(timers.due.len());
            }
            prop_assert!(most <= 2 * 20 + STALE + 1, "SEC-10: {most} entries");
        }
    }
}
