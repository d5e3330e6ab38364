//! Who is connected: producers and consumers by group, as their heartbeats say.
//!
//! A member is gone when its connection closes, when it says so, or after 120 s of silence. Members of a group are
//! told when the membership or the set of topics changed, and only then: clients raise the version of their
//! subscription after each rebalance, and telling them about that would never end (remoting.md, trap 38).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::ids::ConnId;
use crate::time::Instant;
use crate::wire::request::{ConsumerData, Heartbeat, Subscription};

/// Silence after which a member is dropped, ms. Java: `CHANNEL_EXPIRED_TIMEOUT`.
const EXPIRY_MS: u64 = 120_000;
/// The message model of a group whose members each read every queue.
pub const BROADCASTING: &str = "BROADCASTING";

/// A connected client.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name in the group.
    pub client_id: String,
    last_seen: Instant,
}

/// A consumer group with connected members.
#[derive(Clone, Debug, Default)]
pub struct ConsumerGroup {
    members: BTreeMap<ConnId, Member>,
    subscriptions: BTreeMap<String, Subscription>,
    broadcasting: bool,
}

impl ConsumerGroup {
    /// What the group reads of a topic.
    pub fn subscription(&self, topic: &str) -> Option<&Subscription> {
        self.subscriptions.get(topic)
    }

    /// The members' ids, sorted.
    pub fn client_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.members.values().map(|m| m.client_id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Takes over the heartbeat's subscriptions; whether the set of topics changed.
    fn subscribe(&mut self, data: &ConsumerData) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| data.subscriptions.iter().any(|s| s.topic == *topic));
        let mut changed = self.subscriptions.len() != before;
        for new in &data.subscriptions {
            match self.subscriptions.get_mut(&new.topic) {
                Some(old) if old.version < new.version => *old = new.clone(),
                Some(_) => {}
                None => {
                    self.subscriptions.insert(new.topic.clone(), new.clone());
                    changed = true;
                }
            }
        }
        changed
    }
}

/// A group whose members are to be told that it changed, and the members.
pub type Changed = (String, Vec<ConnId>);

/// All connected groups.
#[derive(Debug, Default)]
pub struct Groups {
    consumers: BTreeMap<String, ConsumerGroup>,
    producers: BTreeMap<String, BTreeMap<ConnId, Member>>,
}

impl Groups {
    /// Takes in a heartbeat. Gives the groups to notify.
    pub fn beat(&mut self, now: Instant, conn: ConnId, beat: &Heartbeat) -> Vec<Changed> {
        let member = || Member { client_id: beat.client_id.clone(), last_seen: now };
        for group in &beat.producers {
            self.producers.entry(group.clone()).or_default().insert(conn, member());
        }
        let mut changed = Vec::new();
        for data in &beat.consumers {
            let group = self.consumers.entry(data.group.clone()).or_default();
            group.broadcasting = data.message_model == BROADCASTING;
            let joined = group.members.insert(conn, member()).is_none_or(|old| old.client_id != beat.client_id);
            // A V2 heartbeat without subscriptions leaves the stored ones alone (remoting.md, trap 42).
            let moved = !beat.without_sub && group.subscribe(data);
            if (joined || moved) && !group.broadcasting {
                changed.push(notice(&data.group, group));
            }
        }
        changed
    }

    /// A client leaves its groups, or only those named.
    pub fn leave(&mut self, conn: ConnId, producer: Option<&str>, consumer: Option<&str>) -> Vec<Changed> {
        if let Some(name) = producer {
            self.remove_producer(name, conn);
        }
        consumer.and_then(|name| self.remove_consumer(name, conn)).into_iter().collect()
    }

    /// A connection closed: everyone on it is gone.
    pub fn closed(&mut self, conn: ConnId) -> Vec<Changed> {
        self.drop_members(|member_conn, _| member_conn == conn)
    }

    /// Drops members that were silent too long.
    pub fn expire(&mut self, now: Instant) -> Vec<Changed> {
        self.drop_members(|_, member| now.ms_since(member.last_seen) > EXPIRY_MS)
    }

    /// A consumer group with connected members.
    pub fn consumers(&self, group: &str) -> Option<&ConsumerGroup> {
        self.consumers.get(group)
    }

    /// Connected consumer members and producer members, each counted once a group.
    pub fn counts(&self) -> (usize, usize) {
        (self.consumers.values().map(|g| g.members.len()).sum(), self.producers.values().map(BTreeMap::len).sum())
    }

    fn drop_members(&mut self, gone: impl Fn(ConnId, &Member) -> bool) -> Vec<Changed> {
        self.producers.retain(|_, members| {
            members.retain(|conn, member| !gone(*conn, member));
            !members.is_empty()
        });
        let mut changed = Vec::new();
        self.consumers.retain(|name, group| {
            let before = group.members.len();
            group.members.retain(|conn, member| !gone(*conn, member));
            if group.members.len() != before && !group.members.is_empty() && !group.broadcasting {
                changed.push(notice(name, group));
            }
            !group.members.is_empty()
        });
        changed
    }

    fn remove_producer(&mut self, name: &str, conn: ConnId) {
        if let Some(members) = self.producers.get_mut(name) {
            members.remove(&conn);
            if members.is_empty() {
                self.producers.remove(name);
            }
        }
    }

    fn remove_consumer(&mut self, name: &str, conn: ConnId) -> Option<Changed> {
        let group = self.consumers.get_mut(name)?;
        group.members.remove(&conn)?;
        if group.members.is_empty() {
            self.consumers.remove(name);
            return None;
        }
        (!group.broadcasting).then(|| notice(name, group))
    }
}

fn notice(name: &str, group: &ConsumerGroup) -> Changed {
    (name.into(), group.members.keys().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn beat(id: &str, topics: &[(&str, i64)]) -> Heartbeat {
        let subscriptions = topics
            .iter()
            .map(|(topic, version)| Subscription { topic: (*topic).into(), version: *version, ..Default::default() })
            .collect();
        Heartbeat {
            client_id: id.into(),
            consumers: vec![ConsumerData {
                group: "G".into(),
                consume_type: "CONSUME_PASSIVELY".into(),
                message_model: "CLUSTERING".into(),
                from: "CONSUME_FROM_LAST_OFFSET".into(),
                subscriptions,
            }],
            ..Default::default()
        }
    }

    #[test]
    fn members_hear_of_each_other_but_not_of_newer_versions() {
        let (mut groups, now) = (Groups::default(), Instant(0));
        assert_eq!(groups.beat(now, ConnId(1), &beat("a", &[("T", 1)])).len(), 1);
        assert_eq!(groups.beat(now, ConnId(2), &beat("b", &[("T", 1)])), [("G".into(), vec![ConnId(1), ConnId(2)])]);
        assert!(groups.beat(now, ConnId(1), &beat("a", &[("T", 2)])).is_empty());
        assert_eq!(groups.consumers("G").map(ConsumerGroup::client_ids), Some(vec!["a".into(), "b".into()]));
        assert_eq!(groups.closed(ConnId(2)), [("G".into(), vec![ConnId(1)])]);
        assert!(groups.closed(ConnId(1)).is_empty());
        assert!(groups.consumers("G").is_none());
    }

    #[test]
    fn silence_drops_a_member_after_two_minutes() {
        let mut groups = Groups::default();
        groups.beat(Instant(0), ConnId(1), &beat("a", &[("T", 1)]));
        groups.expire(Instant(0).plus_ms(EXPIRY_MS));
        assert!(groups.consumers("G").is_some());
        groups.expire(Instant(0).plus_ms(EXPIRY_MS + 1));
        assert!(groups.consumers("G").is_none());
    }

    #[test]
    fn a_beat_without_subscriptions_keeps_them() {
        let mut groups = Groups::default();
        groups.beat(Instant(0), ConnId(1), &beat("a", &[("T", 1)]));
        let light = Heartbeat { without_sub: true, ..beat("a", &[]) };
        assert!(groups.beat(Instant(0), ConnId(1), &light).is_empty());
        assert!(groups.consumers("G").and_then(|g| g.subscription("T")).is_some());
    }
}
