//! Everything that the client waits for, ordered by time; one deadline for each thing.

use alloc::collections::{BTreeMap, BTreeSet};

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

#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Instant, Timer)>,
    at: BTreeMap<Timer, Instant>,
}

impl Timers {
    /// `timer` is due at `at`, whatever was set before.
    pub(super) fn set(&mut self, at: Instant, timer: Timer) {
        self.unset(&timer);
        self.at.insert(timer, at);
        self.due.insert((at, timer));
    }

    /// `timer` is due at `at` or at what was set before, whichever is sooner.
    pub(super) fn set_sooner(&mut self, at: Instant, timer: Timer) {
        if self.at.get(&timer).is_none_or(|set| at < *set) {
            self.set(at, timer);
        }
    }

    /// `timer` is not waited for any more.
    pub(super) fn unset(&mut self, timer: &Timer) {
        if let Some(at) = self.at.remove(timer) {
            self.due.remove(&(at, *timer));
        }
    }

    /// `timer` is waited for.
    pub(super) fn is_set(&self, timer: &Timer) -> bool {
        self.at.contains_key(timer)
    }

    /// When the first is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the first that is due.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.due.first()?;
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
