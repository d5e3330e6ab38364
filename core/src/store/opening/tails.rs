//! The first part of opening: where each queue's files end, as far as they are believed.

use super::{Found, Opening, Stage, Stale};
use crate::ids::{LogPos, QueueOffset};
use crate::store::Missing;
use crate::store::queues::{UNIT, Unit};

/// Units looked at in one read.
const WINDOW: u64 = 512;

/// The queue that is looked at, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Index among the found queues.
    pub(super) queue: usize,
    /// The log is scanned from its start: only units of messages that were removed are of use.
    pub(super) removed_only: bool,
    looking: Looking,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looking {
    /// For the last unit that is believed: the window ends here.
    Last(QueueOffset),
    /// For the first unit that the log still holds: in between, by halves.
    First { low: QueueOffset, high: QueueOffset, max: QueueOffset },
}

impl Tail {
    pub(super) fn wanted(&self, found: &Found) -> Missing {
        let queue = &found.queues[self.queue];
        let (from, count) = match self.looking {
            Looking::Last(to) => {
                let from = to.saturating_sub(WINDOW).max(queue.units.start);
                (from, (to - from) as usize)
            }
            Looking::First { low, high, .. } => (low + (high - low) / 2, 1),
        };
        Missing::Units { topic: queue.topic.clone(), queue_id: queue.queue_id, from, count }
    }
}

impl Opening {
    pub(super) fn start_tails(&mut self, removed_only: bool) {
        self.tops = self.found.queues.iter().map(|queue| queue.units.start).collect();
        self.look_at(0, removed_only);
    }

    fn look_at(&mut self, mut queue: usize, removed_only: bool) {
        while self.found.queues.get(queue).is_some_and(|q| q.units.is_empty()) {
            queue += 1;
        }
        let Some(found) = self.found.queues.get(queue) else { return self.tails_done(removed_only) };
        self.stage = Stage::Tails(Tail { queue, removed_only, looking: Looking::Last(found.units.end) });
    }

    fn tails_done(&mut self, removed_only: bool) {
        let fits = self.checkpoint.is_some_and(|c| c.units == self.queues.total());
        if removed_only || fits {
            self.start_log();
        } else {
            self.rebuild();
        }
    }

    pub(super) fn tail_loaded(&mut self, bytes: &[u8]) {
        let Stage::Tails(Tail { queue, removed_only, looking }) = self.stage else { return };
        let units = bytes.as_chunks::<UNIT>().0;
        let start = self.found.queues[queue].units.start;
        match looking {
            Looking::Last(to) => {
                let from = to.saturating_sub(WINDOW).max(start);
                for (index, unit) in units.iter().enumerate().rev() {
                    let offset = from + index as u64;
                    if unit.iter().any(|b| *b != 0) {
                        self.tops[queue] = self.tops[queue].max(offset + 1);
                    }
                    let Some(unit) = Unit::decode(unit).filter(|unit| unit.size > 0) else { continue };
                    if unit.end() <= self.trust {
                        let max = offset + 1;
                        let whole = start == 0 && self.found.log.start == LogPos(0);
                        let low = if removed_only { max } else { start };
                        return self.narrow(queue, removed_only, low, if whole { low } else { max }, max);
                    }
                    if removed_only {
                        return self.look_at(queue + 1, removed_only);
                    }
                }
                if from == start {
                    self.look_at(queue + 1, removed_only);
                } else {
                    self.stage = Stage::Tails(Tail { queue, removed_only, looking: Looking::Last(from) });
                }
            }
            Looking::First { low, high, max } => {
                let middle = low + (high - low) / 2;
                let unit = units.first().and_then(Unit::decode).filter(|unit| unit.size > 0);
                let kept = unit.is_some_and(|unit| unit.at >= self.found.log.start);
                let (low, high) = if kept { (low, middle) } else { (middle + 1, high) };
                self.narrow(queue, removed_only, low, high, max);
            }
        }
    }

    /// The first kept unit lies in `low..=high`.
    fn narrow(&mut self, queue: usize, removed_only: bool, low: QueueOffset, high: QueueOffset, max: QueueOffset) {
        if low < high {
            self.stage = Stage::Tails(Tail { queue, removed_only, looking: Looking::First { low, high, max } });
            return;
        }
        let found = &self.found.queues[queue];
        let topic = self.queues.topic(&found.topic);
        self.queues.restore(topic, found.queue_id, low, max);
        self.look_at(queue + 1, removed_only);
    }

    /// Units behind the queues' ends. After a rebuild nobody has looked, so all that may be there is named.
    pub(super) fn stale(&self) -> impl Iterator<Item = Stale> {
        self.found.queues.iter().enumerate().filter_map(|(index, queue)| {
            let seen = self.tops.get(index).copied().unwrap_or_default();
            let top = if self.rebuild { queue.units.end } else { seen };
            let max = self.queues.known(&queue.topic).map_or(0, |topic| self.queues.bounds(topic, queue.queue_id).max);
            let units = max.max(queue.units.start)..top;
            (!units.is_empty()).then(|| Stale { topic: queue.topic.clone(), queue_id: queue.queue_id, units })
        })
    }
}
