//! The driver of one machine: the lock, the drain loop, the disk lane, the timer, the mailboxes.
//!
//! Run to completion: whoever brings inputs takes the lock, hands them over, drains the outputs, unlocks, and carries out
//! what came out: log writes at once, other disk work on a lane of its own, letters into mailboxes.
//! No await happens under the lock and nothing is woken under it.
//!
//! Must stay true: every disk operation is reported once; the timer sleeps until the machine's earliest deadline;
//! a turn under the lock takes at most [`TURN`] outputs, then lets others in.
//! Elsewhere: bytes and sockets ([`crate::conn`]), budgets ([`crate::budget`]), rules (core). Start at [`Engine::turn`].

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use skylark_core::ids::{Caller, ConnId, LinkId};
use skylark_core::output::{Note, Output};
use skylark_core::store::{Disk, Done, StoreError};
use skylark_core::time::Now;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::budget::Budgets;
use crate::clock::Clock;
use crate::conn::Connection;
use crate::machine::{Machine, Medium};
use crate::mailbox::{Letter, Mailbox};

/// Outputs that one turn under the lock may take.
pub const TURN: usize = 256;
/// Deadlines are rounded up to this, so that many fall together. Microseconds.
const GRAIN: u64 = 10_000;
/// How long a dial may take.
const DIAL: Duration = Duration::from_secs(3);

/// Who hears of a machine's notes.
pub type Listener = Box<dyn Fn(&Note) + Send + Sync>;

/// What is under the lock.
struct Inner<M: Machine> {
    machine: M,
    mailboxes: HashMap<ConnId, Arc<Mailbox<M::Lease>>>,
    /// Connections that hold a request for which there was no room.
    held: Vec<ConnId>,
}

/// What is for the connection that made the turn.
struct Own<L> {
    letters: Vec<Letter<L>>,
    close: bool,
}

/// What a turn brought out, to be carried out after the lock is free.
struct Todo<L> {
    own: Own<L>,
    wakers: Vec<Waker>,
    disk: Vec<Disk>,
    dials: Vec<(LinkId, String)>,
    notes: Vec<Note>,
}

impl<L> Default for Todo<L> {
    fn default() -> Self {
        Self {
            own: Own { letters: Vec::new(), close: false },
            wakers: Vec::new(),
            disk: Vec::new(),
            dials: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// Disk work that runs one after the other, outside every turn.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Disk>,
    running: bool,
}

/// Drives one machine.
pub struct Engine<M: Machine> {
    inner: Mutex<Inner<M>>,
    medium: Option<Arc<dyn Medium>>,
    /// A connection's task that finds no flush running runs it itself, instead of the lane.
    flush_inline: bool,
    lane: Mutex<Lane>,
    clock: Clock,
    next_conn: AtomicU64,
    budgets: Arc<Budgets>,
    listener: Listener,
    /// The deadline that the timer sleeps until, rounded; `u64::MAX` for none.
    armed: AtomicU64,
    rearm: Notify,
    stopping: AtomicBool,
    stopped: Notify,
}

impl<M: Machine> Engine<M> {
    /// An engine for `machine`, whose disk operations go to `medium`. Must be called inside a runtime.
    ///
    /// `clock` is the one that made the machine. `flush_inline` suits sync flush: the task that waits for a flush and finds none running runs it.
    pub fn start(
        machine: M,
        medium: Option<Arc<dyn Medium>>,
        flush_inline: bool,
        clock: Clock,
        listener: Listener,
    ) -> Arc<Self> {
        let engine = Arc::new(Self {
            inner: Mutex::new(Inner { machine, mailboxes: HashMap::new(), held: Vec::new() }),
            medium,
            flush_inline,
            lane: Mutex::default(),
            clock,
            next_conn: AtomicU64::new(1),
            budgets: Arc::default(),
            listener,
            armed: AtomicU64::new(u64::MAX),
            rearm: Notify::new(),
            stopping: AtomicBool::new(false),
            stopped: Notify::new(),
        });
        tokio::spawn(Arc::clone(&engine).run_timer());
        engine.turn(|_, _| ());
        engine
    }

    /// The engine's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The budgets of the engine's connections.
    pub(crate) fn budgets(&self) -> &Arc<Budgets> {
        &self.budgets
    }

    fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name for a new connection.
    pub(crate) fn new_conn(&self) -> ConnId {
        ConnId(self.next_conn.fetch_add(1, Ordering::Relaxed))
    }

    /// Someone connected: from now on letters reach `mailbox`.
    pub(crate) fn connected(self: &Arc<Self>, conn: ConnId, caller: Caller, mailbox: &Arc<Mailbox<M::Lease>>) {
        self.lock().mailboxes.insert(conn, Arc::clone(mailbox));
        self.turn(|machine, now| machine.handle_connected(now, conn, caller));
    }

    /// A dial succeeded.
    fn linked(self: &Arc<Self>, link: LinkId, conn: ConnId, caller: Caller, mailbox: &Arc<Mailbox<M::Lease>>) {
        self.lock().mailboxes.insert(conn, Arc::clone(mailbox));
        self.turn(|machine, now| machine.handle_linked(now, link, conn, caller));
    }

    /// A connection is gone.
    pub(crate) fn closed(self: &Arc<Self>, conn: ConnId) {
        let mailbox = self.lock().mailboxes.remove(&conn);
        if mailbox.is_some() {
            self.turn(|machine, now| machine.handle_closed(now, conn));
        }
    }

    /// One turn: hands inputs over under the lock, drains, and carries out what came out, until nothing is left
    /// that must be done at once.
    pub(crate) fn turn<R>(self: &Arc<Self>, inputs: impl FnOnce(&mut M, Now) -> R) -> R {
        self.run(None, |inner, now, _| inputs(&mut inner.machine, now)).0
    }

    /// A connection's own turn: its letters are put into `letters` instead of its mailbox. `inputs` tells whether a
    /// request had to be held; then the mailbox hears of the next completion. Tells whether the connection shall close.
    pub(crate) fn turn_of(
        self: &Arc<Self>,
        conn: ConnId,
        letters: &mut Vec<Letter<M::Lease>>,
        inputs: impl FnOnce(&mut M, Now) -> bool,
    ) -> bool {
        let ((), own) = self.run(Some(conn), |inner, now, _| {
            if inputs(&mut inner.machine, now) {
                inner.held.push(conn);
            }
        });
        if letters.is_empty() {
            *letters = own.letters;
        } else {
            letters.extend(own.letters);
        }
        own.close
    }

    fn run<R>(
        self: &Arc<Self>,
        own: Option<ConnId>,
        inputs: impl FnOnce(&mut Inner<M>, Now, &mut Todo<M::Lease>) -> R,
    ) -> (R, Own<M::Lease>) {
        let mut todo = Todo::default();
        // Only one: what comes after it is for others, and the own answers shall not wait for that.
        let mut may_flush = self.flush_inline && own.is_some();
        let mut inner = self.lock();
        let result = inputs(&mut inner, self.clock.now(), &mut todo);
        let mut more = Self::drain(&mut inner, own, &mut todo);
        loop {
            let deadline =
                inner.machine.poll_timeout().map_or(u64::MAX, |at| at.0.div_ceil(GRAIN).saturating_mul(GRAIN));
            let is_stopped = self.stopping.load(Ordering::Relaxed) && inner.machine.is_stopped();
            // Under the lock, so that of two turns the later one's deadline stays.
            let sooner = self.armed.swap(deadline, Ordering::AcqRel) > deadline;
            drop(inner);
            if sooner {
                self.rearm.notify_one();
            }
            if is_stopped {
                self.stopped.notify_one();
            }
            for waker in todo.wakers.drain(..) {
                waker.wake();
            }
            for note in todo.notes.drain(..) {
                (self.listener)(&note);
            }
            for (link, address) in todo.dials.drain(..) {
                tokio::spawn(Arc::clone(self).dial(link, address));
            }
            let done: Vec<_> = todo.disk.drain(..).filter_map(|disk| self.carry_out(disk, &mut may_flush)).collect();
            if done.is_empty() && !more {
                return (result, todo.own);
            }
            inner = self.lock();
            Self::complete(&mut inner, self.clock.now(), done, &mut todo);
            more = Self::drain(&mut inner, own, &mut todo);
        }
    }

    /// Reports completed disk operations; what was held may be presented again.
    fn complete(inner: &mut Inner<M>, now: Now, done: Vec<Done>, todo: &mut Todo<M::Lease>) {
        if done.is_empty() {
            return;
        }
        for done in done {
            match done {
                Done::Stored { id, result } => inner.machine.handle_stored(now, id, result),
                Done::Loaded { ticket, result } => inner.machine.handle_loaded(now, ticket, result),
            }
        }
        for conn in inner.held.drain(..) {
            todo.wakers.extend(inner.mailboxes.get(&conn).and_then(|mailbox| mailbox.room()));
        }
    }

    /// Takes outputs, at most a turn's worth; tells whether there may be more.
    fn drain(inner: &mut Inner<M>, own: Option<ConnId>, todo: &mut Todo<M::Lease>) -> bool {
        for _ in 0..TURN {
            let Some(output) = inner.machine.poll_output() else { return false };
            let (conn, letter) = match output {
                Output::Reply { call, .. } if call.oneway => continue,
                Output::Reply { call, reply } => (call.conn, Letter::Reply(call, reply)),
                Output::Ask { conn, frame } => (conn, Letter::Frame(frame)),
                Output::Close { conn } => {
                    if own == Some(conn) {
                        todo.own.close = true;
                    } else {
                        todo.wakers.extend(inner.mailboxes.get(&conn).and_then(|mailbox| mailbox.close()));
                    }
                    continue;
                }
                Output::Dial { link, address } => {
                    todo.dials.push((link, address));
                    continue;
                }
                Output::Disk(disk) => {
                    todo.disk.push(disk);
                    continue;
                }
                Output::Note(note) => {
                    todo.notes.push(note);
                    continue;
                }
            };
            if own == Some(conn) {
                todo.own.letters.push(letter);
            } else {
                // A connection that is gone gets no letter.
                todo.wakers.extend(inner.mailboxes.get(&conn).and_then(|mailbox| mailbox.leave(letter)));
            }
        }
        true
    }

    /// Does at once what is cheap, and sends the rest to the lane.
    fn carry_out(self: &Arc<Self>, disk: Disk, may_flush: &mut bool) -> Option<Done> {
        match disk {
            Disk::Write { .. } => Some(self.execute(disk)),
            Disk::Flush { .. } if std::mem::take(may_flush) => Some(self.execute(disk)),
            // A load is what a reader waits for: it does not queue behind flushes.
            Disk::Load { .. } | Disk::Prepare { .. } => {
                let engine = Arc::clone(self);
                tokio::task::spawn_blocking(move || {
                    let done = engine.execute(disk);
                    engine.report(done);
                });
                None
            }
            _ => {
                let mut lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
                lane.waiting.push_back(disk);
                if !std::mem::replace(&mut lane.running, true) {
                    let engine = Arc::clone(self);
                    tokio::task::spawn_blocking(move || engine.run_lane());
                }
                None
            }
        }
    }

    fn run_lane(self: &Arc<Self>) {
        loop {
            let disk = {
                let mut lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(disk) = lane.waiting.pop_front() else {
                    lane.running = false;
                    return;
                };
                disk
            };
            let done = self.execute(disk);
            self.report(done);
        }
    }

    fn report(self: &Arc<Self>, done: Done) {
        self.run(None, |inner, now, todo| Self::complete(inner, now, vec![done], todo));
    }

    fn execute(&self, disk: Disk) -> Done {
        if let Some(medium) = &self.medium {
            return medium.execute(disk);
        }
        let none = StoreError::Failed("this machine has no storage".into());
        match disk {
            Disk::Write { id, .. }
            | Disk::Flush { id }
            | Disk::Prepare { id, .. }
            | Disk::Units { id, .. }
            | Disk::Put { id, .. } => Done::Stored { id, result: Err(none) },
            Disk::Load { ticket, .. } => Done::Loaded { ticket, result: Err(none) },
        }
    }

    async fn dial(self: Arc<Self>, link: LinkId, address: String) {
        let why = match tokio::time::timeout(DIAL, TcpStream::connect(&address)).await {
            Ok(Ok(stream)) => match (stream.peer_addr(), stream.local_addr()) {
                (Ok(peer), Ok(local)) => {
                    let _ = stream.set_nodelay(true);
                    let (conn, caller) = (self.new_conn(), Caller::new(peer, local));
                    let mailbox = Arc::default();
                    self.linked(link, conn, caller, &mailbox);
                    let account = self.budgets.dialled();
                    Connection::new(self, stream, conn, mailbox, account).run().await;
                    return;
                }
                (Err(error), _) | (_, Err(error)) => error.to_string(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {} s", DIAL.as_secs()),
        };
        self.turn(|machine, now| machine.handle_link_failed(now, link, &why));
    }

    async fn run_timer(self: Arc<Self>) {
        loop {
            let armed = self.armed.load(Ordering::Acquire);
            if armed == u64::MAX {
                self.rearm.notified().await;
                continue;
            }
            let at = self.clock.when(skylark_core::time::Instant(armed));
            tokio::select! {
                () = tokio::time::sleep_until(at) => {
                    // A deadline that moved further away meanwhile is simply not due yet.
                    self.turn(|machine, now| {
                        if machine.poll_timeout().is_some_and(|due| due <= now.mono) {
                            machine.handle_timeout(now);
                        }
                    });
                }
                () = self.rearm.notified() => {}
            }
        }
    }

    /// Stops the machine gracefully: waits until all is durable, at most `patience`; tells whether it is.
    pub async fn stop(self: &Arc<Self>, patience: Duration) -> bool {
        self.stopping.store(true, Ordering::Relaxed);
        self.turn(M::handle_stop);
        tokio::time::timeout(patience, self.stopped.notified()).await.is_ok()
    }
}
