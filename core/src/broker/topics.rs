//! The topic table: what topics exist here, and when one is created.
//!
//! Each change takes a version. The table file and the registrations with NameServers follow the version, and who
//! asked for a change is answered when both have it.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::config::BrokerConfig;
use crate::store::queues::{Queues, TopicKey};
use crate::time::Unix;
use crate::wire::body::TopicConfigTable;
use crate::wire::codes::Code;
use crate::wire::names::{BROKER_ONLY, is_name_char};
use crate::wire::reply::Refusal;
use crate::wire::request::{DataVersion, TopicConfig};

/// Template of topics that are created at their first send.
pub const AUTO_CREATE: &str = "TBW102";
/// A topic of every Java broker, to which nobody sends.
pub const SELF_TEST: &str = "SELF_TEST_TOPIC";
/// Prefix of the topics that brokers keep for themselves.
const SYSTEM: &str = "rmq_sys_";
/// Prefix of a group's retry topic.
pub const RETRY: &str = "%RETRY%";
/// Prefix of a group's dead letter topic.
pub const DLQ: &str = "%DLQ%";

/// Bit of `perm`: consumers may read.
pub const READ: i32 = 4;
/// Bit of `perm`: producers may write.
pub const WRITE: i32 = 2;
/// Bit of `perm`: topics may be made from this one.
pub const INHERIT: i32 = 1;

/// Most queues of a topic; a larger number is a mistake or an attack (SEC-8).
const MAX_QUEUES: i32 = 65_536;
/// Longest topic name from a client, bytes; group topics may be longer.
const MAX_TOPIC: usize = 127;
const MAX_GROUP_TOPIC: usize = 255;

/// A topic on this broker.
#[derive(Debug)]
pub struct Topic {
    /// What it is.
    pub config: TopicConfig,
    /// Its place in the queues.
    pub key: TopicKey,
    changed: i64,
}

/// All topics of this broker.
#[derive(Debug, Default)]
pub struct Topics {
    table: BTreeMap<String, Topic>,
    version: DataVersion,
    by_change: BTreeMap<i64, String>,
}

impl Topics {
    /// The topic of this name.
    pub fn get(&self, name: &str) -> Option<&Topic> {
        self.table.get(name)
    }

    /// All topics, by name.
    pub fn iter(&self) -> impl Iterator<Item = &TopicConfig> {
        self.table.values().map(|topic| &topic.config)
    }

    /// The whole table, as the wire and the file carry it.
    pub fn table(&self) -> TopicConfigTable {
        TopicConfigTable { version: self.version, topics: self.iter().cloned().collect() }
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// The table's version.
    pub fn version(&self) -> DataVersion {
        self.version
    }

    /// The table as it was saved.
    pub fn restore(&mut self, table: TopicConfigTable, queues: &mut Queues) {
        self.version = table.version;
        for config in table.topics {
            let key = queues.topic(&config.name);
            self.table.insert(config.name.clone(), Topic { config, key, changed: 0 });
        }
    }

    /// Creates or changes a topic; whether anything changed.
    pub fn set(&mut self, wall: Unix, config: TopicConfig, queues: &mut Queues) -> bool {
        if self.table.get(&config.name).is_some_and(|old| old.config == config) {
            return false;
        }
        self.version.counter += 1;
        self.version.timestamp = wall.0;
        let changed = self.version.counter;
        self.by_change.insert(changed, config.name.clone());
        let topic = Topic { key: queues.topic(&config.name), changed, config };
        if let Some(old) = self.table.insert(topic.config.name.clone(), topic) {
            self.by_change.remove(&old.changed);
        }
        true
    }

    /// The topics that changed after this version of the table.
    pub fn changed_since(&self, version: i64) -> impl Iterator<Item = &TopicConfig> {
        let names = self.by_change.range(version.saturating_add(1)..).map(|(_, name)| name);
        names.filter_map(|name| self.table.get(name)).map(|topic| &topic.config)
    }

    /// Makes sure that a topic exists that clients need and nobody asks for by name.
    pub fn ensure(&mut self, wall: Unix, name: &str, queue_count: i32, perm: i32, queues: &mut Queues) -> bool {
        !self.table.contains_key(name) && self.set(wall, plain(name, queue_count, perm), queues)
    }

    /// The topic that a first send asks for, if the template allows it.
    pub fn inherited(&self, config: &BrokerConfig, name: &str, template: &str, wanted: i32) -> Option<TopicConfig> {
        let template = self.get(template).filter(|t| config.auto_create_topic && t.config.perm & INHERIT != 0)?;
        let count = wanted.clamp(1, template.config.write_queues.max(1));
        Some(plain(name, count, template.config.perm & !INHERIT))
    }
}

/// A topic with equal queue counts and nothing special.
pub fn plain(name: &str, queue_count: i32, perm: i32) -> TopicConfig {
    TopicConfig {
        name: name.to_owned(),
        read_queues: queue_count,
        write_queues: queue_count,
        perm,
        sys_flag: 0,
        order: false,
        filter_type: "SINGLE_TAG".to_owned(),
        attributes: Vec::new(),
    }
}

/// Checks a name from outside (SEC-3). The one function that decides which names may become folders and table keys.
pub fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    let group_topic = name.starts_with(RETRY) || name.starts_with(DLQ);
    let max = if group_topic { MAX_GROUP_TOPIC } else { MAX_TOPIC };
    let wrong = if name.is_empty() {
        format!("the {what} has no name: give it one")
    } else if name.len() > max {
        format!("the {what} name is longer than {max} bytes: choose a shorter one")
    } else if !name.chars().all(is_name_char) {
        format!(
            "the {what} name [{}] has characters other than letters, digits, % - _ |: rename it",
            name.escape_debug()
        )
    } else {
        return Ok(());
    };
    Err(Refusal::new(Code::INVALID_PARAMETER, wrong))
}

/// Checks that clients may send to a topic of this name.
pub fn check_sendable(name: &str) -> Result<(), Refusal> {
    check_name("topic", name)?;
    check_open(name)
}

/// The same for a topic that exists, whose name is a good one.
pub fn check_open(name: &str) -> Result<(), Refusal> {
    if BROKER_ONLY.contains(&name) {
        let remark = format!("the topic [{name}] belongs to the system: send to another");
        return Err(Refusal::new(Code::NO_PERMISSION, remark));
    }
    Ok(())
}

/// Checks what someone wants a topic to be.
pub fn check_config(config: &TopicConfig) -> Result<(), Refusal> {
    check_sendable(&config.name)?;
    let wrong = if config.name == AUTO_CREATE || config.name.starts_with(SYSTEM) {
        format!("the topic [{}] belongs to the system: choose another name", config.name)
    } else if !(1..=MAX_QUEUES).contains(&config.read_queues) || !(1..=MAX_QUEUES).contains(&config.write_queues) {
        format!(
            "queue numbers must lie in 1..={MAX_QUEUES}: read {}, write {}",
            config.read_queues, config.write_queues
        )
    } else if !(0..=7).contains(&config.perm) {
        format!("perm {} is not a sum of 4 (read), 2 (write) and 1 (inherit)", config.perm)
    } else {
        return Ok(());
    };
    Err(Refusal::new(Code::INVALID_PARAMETER, wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_may_become_folders() {
        // SEC-3
        for good in ["T", "%RETRY%G", "a-b_c|d"] {
            assert!(check_name("topic", good).is_ok(), "{good}");
        }
        for bad in ["", "..", "a/b", "a b", "a\0", "ü", &"x".repeat(128)] {
            assert!(check_name("topic", bad).is_err(), "{bad}");
        }
        assert!(check_name("topic", &format!("%RETRY%{}", "g".repeat(200))).is_ok());
        assert!(check_sendable("SCHEDULE_TOPIC_XXXX").is_err());
        for (name, good) in [("T", true), (AUTO_CREATE, false), ("rmq_sys_x", false), ("SELF_TEST_TOPIC", false)] {
            assert_eq!(check_config(&plain(name, 4, READ | WRITE)).is_ok(), good, "{name}");
        }
    }

    #[test]
    fn a_first_send_makes_a_topic_only_from_a_template_that_may_be_inherited() {
        let (mut topics, mut queues, config) = (Topics::default(), Queues::new(false), BrokerConfig::default());
        topics.set(Unix(1), plain(AUTO_CREATE, 8, READ | WRITE | INHERIT), &mut queues);
        topics.set(Unix(1), plain("Plain", 8, READ | WRITE), &mut queues);
        let made = topics.inherited(&config, "New", AUTO_CREATE, 4).expect("allowed");
        assert_eq!((made.write_queues, made.perm), (4, READ | WRITE));
        assert_eq!(topics.inherited(&config, "New", AUTO_CREATE, 99).map(|t| t.read_queues), Some(8));
        assert!(topics.inherited(&config, "New", "Plain", 4).is_none());
        let off = BrokerConfig { auto_create_topic: false, ..config };
        assert!(topics.inherited(&off, "New", AUTO_CREATE, 4).is_none());
    }
}
