//! Connections that the client keeps, one for each address, and the requests under way on them.
//!
//! A link is dialled when something is first asked of its address, and again when that happens after it broke.
//! Must stay true: every ask ends exactly once, by its answer or by one [`Failure`]; what waits for a link to
//! open is sent in the order it was asked; an answer counts only on the connection its ask went out on.
//!
//! Deliberately elsewhere: what an answer means ([`super::Client`]), and deadlines of anything but an ask or a dial.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::error::{ClientError, ErrorKind};
use super::timers::{Timer, Timers};
use super::{NoLease, Purpose};
use crate::ids::{AskId, ConnId, LinkId};
use crate::output::Output;
use crate::sorted::Map;
use crate::time::Instant;
use crate::wire::encode;
use crate::wire::request::Request;

/// First pause after a failed dial, ms; doubles with each.
const BACKOFF_MS: u64 = 500;
/// Longest pause, ms.
const BACKOFF_MAX_MS: u64 = 5_000;

/// Whether an ask may wait for the pause after a failed dial to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Somebody waits: dial at once.
    Now,
    /// Background work that comes again by itself: fails at once during the pause.
    Background,
}

/// An ask that ended without an answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) purpose: Purpose,
    pub(super) error: ClientError,
}

#[derive(Debug)]
enum State {
    Down,
    Dialling,
    Up(ConnId),
}

#[derive(Debug)]
struct Link {
    state: State,
    /// Asked before the link was open, in order.
    waiting: VecDeque<(AskId, Vec<u8>)>,
    /// Failed dials in a row.
    failures: u32,
    /// No background dial before this.
    pause_until: Instant,
    /// Something came in.
    last_heard: Instant,
    why: String,
}

#[derive(Debug)]
struct Ask {
    address: String,
    conn: Option<ConnId>,
    deadline: Instant,
    sent: Instant,
    oneway: bool,
    purpose: Purpose,
}

#[derive(Debug, Default)]
pub(super) struct Links {
    by_address: Map<String, Link>,
    dials: Map<LinkId, String>,
    conns: Map<ConnId, String>,
    /// Boxed, so that little moves when one ends.
    asks: Map<AskId, Box<Ask>>,
    next_ask: i32,
    next_link: u32,
    connect_timeout: u64,
    pub(super) outputs: VecDeque<Output<NoLease>>,
    pub(super) failures: VecDeque<Failure>,
    /// One-way asks that reached their connection.
    pub(super) handed_over: VecDeque<Purpose>,
}

impl Links {
    pub(super) fn new(connect_timeout: u64) -> Self {
        Self { connect_timeout, ..Self::default() }
    }

    /// Sends a request, now or when the link is open.
    #[expect(clippy::too_many_arguments, reason = "one call site shape for every kind of ask")]
    pub(super) fn ask(
        &mut self,
        now: Instant,
        timers: &mut Timers,
        address: &str,
        request: &Request<'_>,
        oneway: bool,
        timeout_ms: u64,
        urgency: Urgency,
        purpose: Purpose,
    ) -> AskId {
        self.next_ask = if self.next_ask == i32::MAX { 1 } else { self.next_ask + 1 };
        let id = AskId(self.next_ask);
        if let Err(error) = self.dial(now, timers, address, urgency) {
            self.failures.push_back(Failure { purpose, error });
            return id;
        }
        let Some(link) = self.by_address.get_mut(address) else { return id };
        let mut frame = Vec::new();
        encode::request(request, id, oneway, &mut frame);
        let conn = match link.state {
            State::Up(conn) => {
                self.outputs.push_back(Output::Ask { conn, frame });
                Some(conn)
            }
            State::Down | State::Dialling => {
                link.waiting.push_back((id, frame));
                None
            }
        };
        if oneway && conn.is_some() {
            self.handed_over.push_back(purpose);
            return id;
        }
        let deadline = now.plus_ms(timeout_ms);
        timers.set(deadline, Timer::Ask(id));
        let ask = Ask { address: address.to_string(), conn, deadline, sent: now, oneway, purpose };
        self.asks.insert(id, Box::new(ask));
        id
    }

    /// Dials an address, unless it is connected, being dialled, or in its pause.
    pub(super) fn open(&mut self, now: Instant, timers: &mut Timers, address: &str) {
        // A refusal only says that it is too early.
        let _early = self.dial(now, timers, address, Urgency::Background);
    }

    fn dial(&mut self, now: Instant, timers: &mut Timers, address: &str, urgency: Urgency) -> Result<(), ClientError> {
        let link = self.by_address.get_or_insert_with(address.to_string(), || Link {
            state: State::Down,
            waiting: VecDeque::new(),
            failures: 0,
            pause_until: Instant(0),
            last_heard: now,
            why: String::new(),
        });
        if !matches!(link.state, State::Down) {
            return Ok(());
        }
        if urgency == Urgency::Background && now < link.pause_until {
            return Err(ClientError::new(ErrorKind::Connect, link.why.clone()));
        }
        self.next_link += 1;
        let dial = LinkId(self.next_link);
        link.state = State::Dialling;
        self.dials.insert(dial, address.to_string());
        timers.set(now.plus_ms(self.connect_timeout), Timer::Dial(dial));
        self.outputs.push_back(Output::Dial { link: dial, address: address.to_string() });
        Ok(())
    }

    /// The address is connected.
    pub(super) fn is_up(&self, address: &str) -> bool {
        self.by_address.get(address).is_some_and(|link| matches!(link.state, State::Up(_)))
    }

    /// A dial succeeded. The address, for whatever must be said first on a new connection; then call [`Self::release`].
    pub(super) fn linked(&mut self, now: Instant, timers: &mut Timers, dial: LinkId, conn: ConnId) -> Option<String> {
        let Some(address) = self.end_dial(timers, dial) else {
            // Given up meanwhile.
            self.outputs.push_back(Output::Close { conn });
            return None;
        };
        self.conns.insert(conn, address.clone());
        let link = self.by_address.get_mut(&address)?;
        link.state = State::Up(conn);
        link.failures = 0;
        link.pause_until = Instant(0);
        link.last_heard = now;
        Some(address)
    }

    /// Sends what waited for the link to open.
    pub(super) fn release(&mut self, now: Instant, timers: &mut Timers, address: &str) {
        let Some(link) = self.by_address.get_mut(address) else { return };
        let State::Up(conn) = link.state else { return };
        for (id, frame) in link.waiting.drain(..) {
            let Some(ask) = self.asks.get_mut(&id) else { continue };
            self.outputs.push_back(Output::Ask { conn, frame });
            ask.conn = Some(conn);
            ask.sent = now;
            if ask.oneway {
                timers.unset(&Timer::Ask(id));
                self.handed_over.extend(self.asks.remove(&id).map(|ask| ask.purpose));
            }
        }
    }

    /// A dial failed, or took too long.
    pub(super) fn dial_failed(&mut self, now: Instant, timers: &mut Timers, dial: LinkId, why: &str) {
        let Some(address) = self.end_dial(timers, dial) else { return };
        let Some(link) = self.by_address.get_mut(&address) else { return };
        link.state = State::Down;
        link.failures = link.failures.saturating_add(1);
        let pause = BACKOFF_MS.checked_shl(link.failures - 1).unwrap_or(BACKOFF_MAX_MS).min(BACKOFF_MAX_MS);
        link.pause_until = now.plus_ms(pause);
        link.why =
            format!("cannot connect to {address}: {why}; check that the server runs and that the address is right");
        let error = ClientError::new(ErrorKind::Connect, link.why.clone());
        let waiting: Vec<AskId> = link.waiting.drain(..).map(|(id, _)| id).collect();
        for id in waiting {
            self.fail(timers, id, error.clone());
        }
    }

    /// The peer, or the driver, closed a connection. Its address, if it was one of ours.
    pub(super) fn closed(&mut self, timers: &mut Timers, conn: ConnId) -> Option<String> {
        let address = self.conns.remove(&conn)?;
        if let Some(link) = self.by_address.get_mut(&address) {
            link.state = State::Down;
        }
        let lost: Vec<AskId> = self.asks.iter().filter(|(_, ask)| ask.conn == Some(conn)).map(|(id, _)| *id).collect();
        for id in lost {
            let what = format!("the connection to {address} closed before the answer came");
            self.fail(timers, id, ClientError::new(ErrorKind::Connect, what));
        }
        Some(address)
    }

    /// An answer came: what it answers. `None` for one that nobody waits for any more.
    pub(super) fn answered(&mut self, now: Instant, timers: &mut Timers, conn: ConnId, id: AskId) -> Option<Purpose> {
        self.heard(now, conn);
        if self.asks.get(&id)?.conn != Some(conn) {
            return None;
        }
        let ask = self.asks.remove(&id)?;
        timers.unset(&Timer::Ask(id));
        Some(ask.purpose)
    }

    /// Something came in on a connection.
    pub(super) fn heard(&mut self, now: Instant, conn: ConnId) {
        if let Some(link) = self.conns.get(&conn).and_then(|address| self.by_address.get_mut(address)) {
            link.last_heard = now;
        }
    }

    /// An ask's deadline passed. A connection on which nothing at all came since it was sent is given up:
    /// its address is returned, so that the next ask finds a fresh one.
    pub(super) fn ask_expired(&mut self, timers: &mut Timers, id: AskId) -> Option<String> {
        let ask = self.asks.get(&id)?;
        let (address, conn, sent) = (ask.address.clone(), ask.conn, ask.sent);
        let what = format!("no answer from {address} in {} ms", ask.deadline.ms_since(sent));
        self.fail(timers, id, ClientError::new(ErrorKind::Timeout, what));
        let link = self.by_address.get_mut(&address)?;
        link.waiting.retain(|(waiting, _)| *waiting != id);
        if conn.is_some() && link.last_heard <= sent {
            return self.hang_up(timers, &address);
        }
        None
    }

    /// Forgets an ask: nobody wants its answer.
    pub(super) fn forget(&mut self, timers: &mut Timers, id: AskId) {
        let Some(ask) = self.asks.remove(&id) else { return };
        timers.unset(&Timer::Ask(id));
        if ask.conn.is_none()
            && let Some(link) = self.by_address.get_mut(&ask.address)
        {
            link.waiting.retain(|(waiting, _)| *waiting != id);
        }
    }

    /// Closes the connection to an address; what is asked there fails.
    pub(super) fn hang_up(&mut self, timers: &mut Timers, address: &str) -> Option<String> {
        let State::Up(conn) = self.by_address.get(address)?.state else { return None };
        self.outputs.push_back(Output::Close { conn });
        self.closed(timers, conn)
    }

    /// Addresses that are connected.
    pub(super) fn up(&self) -> impl Iterator<Item = &str> {
        self.by_address
            .iter()
            .filter(|(_, link)| matches!(link.state, State::Up(_)))
            .map(|(address, _)| address.as_str())
    }

    /// Forgets every ask: what is still asked only serves what has ended.
    pub(super) fn forget_all(&mut self, timers: &mut Timers) {
        for id in self.asks.keys().copied().collect::<Vec<_>>() {
            self.forget(timers, id);
        }
    }

    /// Nothing is asked that still waits for an answer.
    pub(super) fn is_quiet(&self) -> bool {
        self.asks.is_empty()
    }

    /// Something is asked of this address.
    pub(super) fn is_busy(&self, address: &str) -> bool {
        self.asks.values().any(|ask| ask.address == address)
    }

    /// Gives everything up: closes connections, drops dials, fails what was asked.
    pub(super) fn shut(&mut self, timers: &mut Timers, error: &ClientError) {
        for address in self.up().map(ToString::to_string).collect::<Vec<_>>() {
            self.hang_up(timers, &address);
        }
        for dial in self.dials.keys().copied().collect::<Vec<_>>() {
            self.end_dial(timers, dial);
        }
        for id in self.asks.keys().copied().collect::<Vec<_>>() {
            self.fail(timers, id, error.clone());
        }
        self.by_address.clear();
    }

    fn end_dial(&mut self, timers: &mut Timers, dial: LinkId) -> Option<String> {
        let address = self.dials.remove(&dial)?;
        timers.unset(&Timer::Dial(dial));
        Some(address)
    }

    fn fail(&mut self, timers: &mut Timers, id: AskId, error: ClientError) {
        let Some(ask) = self.asks.remove(&id) else { return };
        timers.unset(&Timer::Ask(id));
        self.failures.push_back(Failure { purpose: ask.purpose, error });
    }
}
