//! Who this client is, told to brokers: heartbeats, and which broker knows what by now.
//!
//! The roster is everything a heartbeat says: producer groups, consumer groups, subscriptions. It has a version; a
//! broker that answered a heartbeat knows that version until its connection breaks. A group's members are asked only
//! of a broker that knows this client to be one, since a broker serves heartbeats and questions in any order.

use alloc::string::{String, ToString};

use super::links::Urgency;
use super::producer::INNER_GROUP;
use super::{Client, Purpose};
use crate::sorted::Map;
use crate::time::Now;
use crate::wire::answer::Answer;
use crate::wire::codes::{self, Language};
use crate::wire::request::{Heartbeat, Request};

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The version that the broker has confirmed.
    confirmed: u64,
    /// The version that is on its way.
    sent: u64,
}

#[derive(Debug, Default)]
pub(super) struct Roster {
    version: u64,
    brokers: Map<String, Known>,
}

impl Roster {
    /// Something that brokers must know changed.
    pub(super) fn changed(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// The broker knows this version, or a later one.
    pub(super) fn knows(&self, address: &str, version: u64) -> bool {
        self.brokers.get(address).is_some_and(|known| known.confirmed >= version)
    }

    /// The broker has heard of this client.
    pub(super) fn knows_us(&self, address: &str) -> bool {
        self.knows(address, 1)
    }

    /// The connection to a broker broke, or is new.
    pub(super) fn forget(&mut self, address: &str) {
        self.brokers.remove(address);
    }

    pub(super) fn beat_failed(&mut self, address: &str, version: u64) {
        if let Some(known) = self.brokers.get_mut(address).filter(|known| known.sent == version) {
            known.sent = known.confirmed;
        }
    }
}

impl Client {
    /// Tells every known broker: masters, and slaves too when there are consumers.
    pub(super) fn beat_all(&mut self, now: Now) {
        for address in self.routes.addresses(!self.consumers.is_empty()) {
            self.beat(now, &address);
        }
    }

    /// Tells every known broker that does not know the roster as it is, or is not about to.
    pub(super) fn beat_missing(&mut self, now: Now) {
        let version = self.roster.version;
        for address in self.routes.addresses(!self.consumers.is_empty()) {
            if self.roster.brokers.get(&address).is_none_or(|known| known.sent < version) {
                self.beat(now, &address);
            }
        }
    }

    /// Tells one broker.
    pub(super) fn beat(&mut self, now: Now, address: &str) {
        if self.roster.version == 0 || self.closing.is_some() {
            return;
        }
        if !self.links.is_up(address) {
            // Once it opens, a heartbeat is the first that is said.
            self.links.open(now.mono, &mut self.timers, address);
            return;
        }
        let mut producers = self.producers.groups().iter().map(ToString::to_string).collect::<alloc::vec::Vec<_>>();
        producers.push(INNER_GROUP.to_string());
        let heartbeat = Heartbeat {
            client_id: self.config.client_id.clone(),
            producers,
            consumers: self.consumers.describe(),
            fingerprint: 0,
            without_sub: false,
            language: Language::RUST.name().to_string(),
            version: codes::VERSION,
        };
        let version = self.roster.version;
        self.roster.brokers.get_or_insert_with(address.to_string(), Known::default).sent = version;
        let purpose = Purpose::Heartbeat { address: address.to_string(), version };
        let timeout = self.config.request_timeout;
        self.ask(now, address, &Request::Heartbeat(heartbeat), timeout, Urgency::Background, purpose);
    }

    pub(super) fn beat_answered(&mut self, now: Now, address: &str, version: u64, answer: &Answer<'_>) {
        if !answer.is_success() {
            self.roster.beat_failed(address, version);
            return;
        }
        let Some(known) = self.roster.brokers.get_mut(address) else { return };
        let before = known.confirmed;
        known.confirmed = known.confirmed.max(version);
        if before < version {
            self.broker_knows(now, before, version);
        }
    }
}
