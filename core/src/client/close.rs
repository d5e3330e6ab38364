//! Closing: sends under way end, offsets are committed, groups are left, connections close.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::error::{ClientError, ErrorKind};
use super::links::Urgency;
use super::timers::Timer;
use super::{Client, ConsumerId, Event, Purpose};
use crate::time::Now;
use crate::wire::request::Request;

/// How long closing may take, ms: a send's time and a request's.
const CLOSE_MS: u64 = 5_000;

/// How far closing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// Sends under way may still end.
    Sends,
    /// Consumers leave their groups.
    Consumers,
    /// Producers leave theirs.
    Producers,
    /// Done.
    Closed,
}

impl Client {
    /// Ends it all, gracefully: sends under way may end, progress is committed, brokers are told. Then, or after
    /// five seconds, comes [`Event::Closed`]. Commands are refused from now on; acks still count.
    pub fn close(&mut self, now: Now) {
        if self.closing.is_none() {
            self.closing = Some(Closing::Sends);
            self.timers.set(now.mono.plus_ms(CLOSE_MS), Timer::Close);
            self.fail_admins(&closed());
        }
        self.settle(now);
    }

    /// [`Event::Closed`] has been told or waits to be taken.
    pub fn is_closed(&self) -> bool {
        self.closing == Some(Closing::Closed)
    }

    pub(super) fn go_on_closing(&mut self, now: Now) {
        if self.closing == Some(Closing::Sends) && self.producers.is_idle() {
            self.closing = Some(Closing::Consumers);
            for consumer in self.consumers.ids() {
                self.leave(now, consumer);
            }
        }
        if self.closing == Some(Closing::Consumers) && self.consumers.all_left() {
            self.closing = Some(Closing::Producers);
            self.unregister_producers(now);
        }
        if self.closing == Some(Closing::Producers) && self.links.is_quiet() {
            self.shut(now);
        }
    }

    pub(super) fn close_expired(&mut self, now: Now) {
        self.shut(now);
    }

    fn shut(&mut self, now: Now) {
        self.closing = Some(Closing::Closed);
        for id in self.producers.ids() {
            self.finish_send(now, id, Err(closed()));
        }
        let left: Vec<ConsumerId> = self.consumers.take_leaving();
        self.events.extend(left.into_iter().map(|consumer| Event::Unsubscribed { consumer }));
        self.links.shut(&mut self.timers, &closed());
        self.links.failures.clear();
        self.links.handed_over.clear();
        self.timers.clear();
        self.events.push_back(Event::Closed);
    }

    fn unregister_producers(&mut self, now: Now) {
        // What is still asked, such as a heartbeat, would only hold closing up.
        self.links.forget_all(&mut self.timers);
        let addresses: Vec<_> = self.links.up().map(ToString::to_string).collect();
        let client_id = self.config.client_id.clone();
        for group in self.producers.groups() {
            for address in addresses.iter().filter(|address| self.roster.knows_us(address)) {
                let request = Request::UnregisterClient {
                    client_id: &client_id,
                    producer_group: Some(&group),
                    consumer_group: None,
                };
                self.links.ask(
                    now.mono,
                    &mut self.timers,
                    address,
                    &request,
                    false,
                    self.config.request_timeout,
                    Urgency::Background,
                    Purpose::Leave(None),
                );
            }
        }
    }
}

fn closed() -> ClientError {
    ClientError::new(ErrorKind::Closed, "the client was closed before this was done")
}
