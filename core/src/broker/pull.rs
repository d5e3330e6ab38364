//! Reading: a pull finds its queue, walks units, filters by tag hash, and leases the records; with nothing there it
//! is held until a message arrives.
//!
//! Must stay true: nothing above the queues' `max`, which follows the `visible` mark, is ever leased. The next
//! offset counts the units that were filtered out (store.md, trap 30). Start at [`Broker::pull`].

use alloc::format;
use alloc::vec::Vec;

use super::topics::{self, READ, RETRY};
use super::{Answered, Broker};
use crate::ids::{Call, QueueOffset};
use crate::record;
use crate::store::queues::{Bounds, TopicKey, Unit};
use crate::store::{Missing, Read, Store};
use crate::time::{Instant, Now};
use crate::wire::codes::Code;
use crate::wire::reply::{Pulled, Refusal, Reply};
use crate::wire::request::{PullMessage, Subscription, pull_flag};

/// Units that one pull walks at most, whatever the filter drops. Java: `maxFilterMessageSize` / 20.
const WALK: usize = 800;
/// Units looked at in one step.
const STEP: usize = 64;
/// Tags that one pull may name: each held pull keeps their hashes (SEC-10).
const MAX_TAGS: usize = 1024;
/// Longest hold, ms: nothing waits for ever.
const MAX_HOLD_MS: i64 = 60_000;

/// Which messages a pull wants, by tag hash. Clients compare the tag itself again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All of them.
    All,
    /// Those whose tag has one of these hashes.
    Tags(Vec<i64>),
}

impl Filter {
    /// Whether a message with this tag hash passes.
    pub fn matches(&self, tags: i64) -> bool {
        match self {
            Self::All => true,
            Self::Tags(codes) => codes.contains(&tags),
        }
    }

    fn of<'t>(tags: impl Iterator<Item = &'t str>) -> Result<Self, Refusal> {
        let codes: Vec<i64> = tags.take(MAX_TAGS + 1).map(|tag| record::tag_code(Some(tag))).collect();
        if codes.len() > MAX_TAGS {
            let remark = format!("the subscription names more than {MAX_TAGS} tags: name fewer, or take all with *");
            return Err(Refusal::new(Code::SUBSCRIPTION_PARSE_FAILED, remark));
        }
        Ok(if codes.is_empty() { Self::All } else { Self::Tags(codes) })
    }

    /// `*`, nothing, or tags joined by `||`.
    fn parse(kind: &str, expression: &str) -> Result<Self, Refusal> {
        check_kind(kind)?;
        let tags = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty());
        if expression.trim() == "*" { Ok(Self::All) } else { Self::of(tags) }
    }

    /// What a heartbeat said. Codes come from the tags, since clients differ in how they compute them.
    fn subscribed(subscription: &Subscription) -> Result<Self, Refusal> {
        check_kind(&subscription.expression_type)?;
        Self::of(subscription.tags.iter().map(|tag| &**tag))
    }
}

fn check_kind(kind: &str) -> Result<(), Refusal> {
    if kind.is_empty() || kind == "TAG" {
        return Ok(());
    }
    Err(Refusal::new(Code::SYSTEM_ERROR, format!("this broker filters by TAG only, not by [{}]", kind.escape_debug())))
}

/// A pull that owns what it needs, to be run again.
#[derive(Clone, Debug)]
pub struct HeldPull {
    /// Whom to answer.
    pub call: Call,
    /// The topic.
    pub topic: TopicKey,
    /// The queue.
    pub queue_id: u32,
    /// First offset wanted.
    pub offset: i64,
    /// Most messages.
    pub max: usize,
    /// Most bytes.
    pub max_bytes: usize,
    /// Which messages.
    pub filter: Filter,
    /// When it is answered at the latest; already past for one that does not wait.
    pub deadline: Instant,
}

/// What a walk over a queue found.
struct Found<L> {
    leases: Vec<L>,
    next: QueueOffset,
}

impl<S: Store> Broker<S> {
    pub(super) fn pull(&mut self, now: Now, call: Call, pull: &PullMessage<'_>) -> Answered<S::Lease> {
        let held = self.checked_pull(now, call, pull)?;
        if pull.sys_flag & pull_flag::COMMIT != 0 && pull.commit_offset >= 0 {
            let end = self.queues.bounds(held.topic, held.queue_id).max as i64;
            self.offsets.commit(pull.group, pull.topic, held.queue_id, pull.commit_offset.min(end));
        }
        self.run_pull(now, held)
    }

    /// Everything that can be wrong with a pull, and its owned form.
    fn checked_pull(&mut self, now: Now, call: Call, pull: &PullMessage<'_>) -> Result<HeldPull, Refusal> {
        topics::check_name("consumer group", pull.group)?;
        let topic = self.existing_topic(pull.topic)?;
        if topic.config.perm & READ == 0 {
            let remark = format!("the topic [{}] is not readable: give it read permission (4)", pull.topic);
            return Err(Refusal::new(Code::NO_PERMISSION, remark));
        }
        let (key, queues) = (topic.key, topic.config.read_queues);
        if !(0..queues).contains(&pull.queue_id) {
            let remark = format!(
                "queue {} of topic [{}] does not exist: it has {queues} read queues",
                pull.queue_id, pull.topic
            );
            return Err(Refusal::new(Code::INVALID_PARAMETER, remark));
        }
        let filter = self.filter_of(pull)?;
        let hold = if pull.sys_flag & pull_flag::SUSPEND == 0 { 0 } else { pull.suspend_ms.clamp(0, MAX_HOLD_MS) };
        Ok(HeldPull {
            call,
            topic: key,
            queue_id: pull.queue_id as u32,
            offset: pull.offset,
            max: (pull.max.max(1) as usize).min(self.config.max_transfer_count),
            max_bytes: pull
                .max_bytes
                .filter(|b| *b > 0)
                .map_or(self.config.max_transfer_bytes, |b| b as usize)
                .min(self.config.max_transfer_bytes),
            filter,
            deadline: now.mono.plus_ms(hold as u64),
        })
    }

    fn filter_of(&self, pull: &PullMessage<'_>) -> Result<Filter, Refusal> {
        if pull.sys_flag & pull_flag::SUBSCRIPTION != 0 {
            return Filter::parse(pull.expression_type.unwrap_or(""), pull.subscription.unwrap_or("*"));
        }
        let group = self.groups.consumers(pull.group);
        let Some(subscription) = group.and_then(|g| g.subscription(pull.topic)) else {
            if group.is_some() && pull.topic.starts_with(RETRY) {
                return Ok(Filter::All);
            }
            let remark = format!(
                "the group [{}] has no subscription of [{}] here: send a heartbeat first",
                pull.group, pull.topic
            );
            return Err(Refusal::new(Code::SUBSCRIPTION_NOT_EXIST, remark));
        };
        if subscription.version < pull.sub_version {
            let remark = format!(
                "the subscription of group [{}] here is older than the pull's: it comes with the next heartbeat",
                pull.group
            );
            return Err(Refusal::new(Code::SUBSCRIPTION_NOT_LATEST, remark));
        }
        Filter::subscribed(subscription)
    }

    /// Answers a pull, or parks it: at the queue's end until a message arrives, or behind a load.
    pub(super) fn run_pull(&mut self, now: Now, pull: HeldPull) -> Answered<S::Lease> {
        let Bounds { min, max } = self.queues.bounds(pull.topic, pull.queue_id);
        let offset = pull.offset;
        let at_end = offset >= 0 && offset as u64 == max;
        if at_end && pull.deadline > now.mono && self.hold.len() < self.config.max_held_pulls {
            self.hold.park(pull);
            return Ok(None);
        }
        let (code, remark, next, leases) = if max == 0 {
            let code = if offset == 0 { Code::PULL_NOT_FOUND } else { Code::PULL_OFFSET_MOVED };
            (code, "NO_MESSAGE_IN_QUEUE", 0, Vec::new())
        } else if offset < min as i64 {
            (Code::PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", min, Vec::new())
        } else if at_end {
            (Code::PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", max, Vec::new())
        } else if offset as u64 > max {
            (Code::PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", max, Vec::new())
        } else {
            match self.walk(&pull) {
                Ok(found) if found.leases.is_empty() => {
                    (Code::PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", found.next, found.leases)
                }
                Ok(found) => (Code::SUCCESS, "FOUND", found.next, found.leases),
                Err(missing) => {
                    self.park_load(missing, super::Parked::Pull(pull));
                    return Ok(None);
                }
            }
        };
        self.counters.pulled += leases.len() as u64;
        Ok(Some(Reply::Pulled(Pulled {
            code,
            remark,
            next: next as i64,
            min: min as i64,
            max: max as i64,
            suggest: 0,
            leases,
        })))
    }

    /// Walks units from the pull's offset: leases what passes, stops at the limits. The first message is always
    /// taken, whatever its size. A walk that misses answers how far it came; a miss at once is the caller's to load.
    fn walk(&self, pull: &HeldPull) -> Result<Found<S::Lease>, Missing> {
        let mut found = Found { leases: Vec::new(), next: pull.offset as u64 };
        let end = self.queues.bounds(pull.topic, pull.queue_id).max.min(found.next + WALK as u64);
        let (mut bytes, mut units): (usize, Vec<Unit>) = (0, Vec::with_capacity(STEP.min(pull.max)));
        while found.next < end {
            units.clear();
            let step = STEP.min((end - found.next) as usize);
            if let Err(missing) = self.queues.read(pull.topic, pull.queue_id, found.next, step, &mut units) {
                return if found.next == pull.offset as u64 { Err(missing) } else { Ok(found) };
            }
            if units.is_empty() {
                break;
            }
            for unit in &units {
                if unit.size > 0 && pull.filter.matches(unit.tags) {
                    let full = found.leases.len() == pull.max || bytes + unit.size as usize > pull.max_bytes;
                    if full && !found.leases.is_empty() {
                        return Ok(found);
                    }
                    match self.store.read(unit.at, unit.size as usize) {
                        Read::Ready(lease) => found.leases.push(lease),
                        Read::Missing(missing) if found.next == pull.offset as u64 => return Err(missing),
                        Read::Missing(_) => return Ok(found),
                        // Damaged or gone: never served, stepped over.
                        Read::Damaged | Read::Trimmed => {}
                    }
                    bytes += unit.size as usize;
                }
                found.next += 1;
            }
        }
        Ok(found)
    }

    /// Answers the pulls that were waiting for what became visible.
    pub(super) fn wake(&mut self, now: Now, woken: Vec<HeldPull>) {
        for mut pull in woken {
            let call = pull.call;
            // It has waited: it is answered now, with what is there.
            pull.deadline = now.mono;
            let answer = self.run_pull(now, pull);
            self.finish(call, answer);
        }
    }
}
