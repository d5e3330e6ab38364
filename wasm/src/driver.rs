//! Drives one machine of the core: its links, its one timer, its turns.
//!
//! A turn: what came in goes through the connections' sessions into the machine; its outputs are drained; each
//! link sends all its bytes in one message; the timer is set; events go out. Commands from JavaScript start a
//! turn at the end of the current task, so that many of them share one.
//!
//! Must stay true: nothing of JavaScript is called while the state is borrowed. User code that runs inside of a
//! turn may therefore give commands. Rules of RocketMQ are in the core, what a link is in [`crate::link`], what
//! events look like outside with each [`Host`]. Start at [`Driver::turn`].

use std::cell::RefCell;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use gloo_timers::callback::Timeout;
use js_sys::Uint8Array;
use skylark_core::ids::{AskId, Call, Caller, ConnId, LinkId};
use skylark_core::output::Output;
use skylark_core::session::{Incoming, Session};
use skylark_core::sorted::Map;
use skylark_core::store::Disk;
use skylark_core::time::{Instant, Now, Unix};
use skylark_core::wire::WireError;
use skylark_core::wire::answer::Answer;
use skylark_core::wire::encode;
use skylark_core::wire::reply::Reply;
use skylark_core::wire::request::Request;
use wasm_bindgen::prelude::*;

use crate::link::{End, Link, LinkEvent};

/// A WebSocket message is kept below this, bytes: servers bound what they take.
const PIECE: usize = 1 << 20;

/// Both ends of a link that was dialled: a tab has no addresses, and no machine here asks for them.
const DIALLED: Caller = {
    let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    Caller { peer: nowhere, local: nowhere }
};

/// What every machine of the core has, under one name.
pub(crate) trait Machine: 'static {
    type Lease: AsRef<[u8]> + 'static;
    type Event;
    #[cfg(feature = "broker")]
    fn handle_connected(&mut self, now: Now, conn: ConnId, caller: Caller);
    fn handle_linked(&mut self, now: Now, link: LinkId, conn: ConnId, caller: Caller);
    fn handle_link_failed(&mut self, now: Now, link: LinkId, why: &str);
    /// What a frame of the session is, to this machine.
    fn incoming<'a>(session: &'a Session, at: usize, input: &'a [u8]) -> Option<Incoming<'a>>;
    /// `false`: there is no room yet, and the request must be presented again.
    fn handle_request(&mut self, now: Now, call: Call, request: Request<'_>) -> bool;
    fn handle_answer(&mut self, now: Now, conn: ConnId, ask: AskId, answer: &Answer<'_>);
    fn handle_closed(&mut self, now: Now, conn: ConnId);
    fn handle_timeout(&mut self, now: Now);
    /// Executes an operation on the machine's medium and reports it to the machine.
    fn execute(&mut self, now: Now, disk: Disk);
    fn poll_output(&mut self) -> Option<Output<Self::Lease>>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn poll_event(&mut self) -> Option<Self::Event>;
}

/// What a driver needs from outside. Called while nothing is borrowed.
pub(crate) trait Host<E>: 'static {
    /// Opens a WebSocket or a MessagePort to an address, or says why not.
    fn dial(&self, address: &str) -> Result<JsValue, String>;
    /// Takes an event.
    fn deliver(&self, event: E);
}

/// A machine that runs. A clone is the same one.
pub(crate) struct Driver<M: Machine, H: Host<M::Event>>(Rc<Shared<M, H>>);

struct Shared<M, H> {
    state: RefCell<State<M>>,
    host: H,
}

struct State<M> {
    machine: M,
    conns: Map<ConnId, Conn>,
    last_conn: u64,
    timer: Option<(Instant, Timeout)>,
    /// A turn is on its way.
    #[cfg(feature = "client")]
    awaited: bool,
}

struct Conn {
    link: Link,
    /// Dialled, and not open yet.
    dialling: Option<LinkId>,
    caller: Caller,
    session: Session,
    input: Vec<u8>,
    /// Bytes of the input whose frames the session holds; untouched until the machine took them all.
    split: usize,
    /// The first of these frames that the machine has not taken.
    next: usize,
    output: Vec<u8>,
}

/// What a turn does once nothing is borrowed.
enum Effect<E> {
    Dial(LinkId, String),
    Send(End, Vec<u8>),
    Close(Link),
    Deliver(E),
}

impl<M: Machine, H: Host<M::Event>> Clone for Driver<M, H> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<M: Machine, H: Host<M::Event>> Driver<M, H> {
    pub(crate) fn new(machine: M, host: H) -> Self {
        let state = State {
            machine,
            conns: Map::new(),
            last_conn: 0,
            timer: None,
            #[cfg(feature = "client")]
            awaited: false,
        };
        Self(Rc::new(Shared { state: RefCell::new(state), host }))
    }

    /// Gives the machine a command, and a turn soon.
    #[cfg(feature = "client")]
    pub(crate) fn command<T>(&self, command: impl FnOnce(&mut M, Now) -> T) -> T {
        let mut state = self.0.state.borrow_mut();
        let answer = command(&mut state.machine, now());
        if !std::mem::replace(&mut state.awaited, true) {
            let weak = Rc::downgrade(&self.0);
            wasm_bindgen_futures::spawn_local(async move {
                if let Some(shared) = weak.upgrade() {
                    Self(shared).turn();
                }
            });
        }
        answer
    }

    /// What the driver was given from outside.
    #[cfg(feature = "client")]
    pub(crate) fn host(&self) -> &H {
        &self.0.host
    }

    /// Someone connected to this machine.
    #[cfg(feature = "broker")]
    pub(crate) fn accept(&self, port: web_sys::MessagePort, caller: Caller) {
        let conn = self.0.state.borrow_mut().name_conn();
        let link = Link::accept(port, self.handler(conn));
        let mut state = self.0.state.borrow_mut();
        state.conns.insert(conn, Conn::new(conn, link, None, caller));
        state.machine.handle_connected(now(), conn, caller);
        drop(state);
        self.turn();
    }

    /// Closes all links at once and forgets the timer. The machine stays as it is.
    pub(crate) fn shut(&self) {
        let mut state = self.0.state.borrow_mut();
        state.timer = None;
        let conns = mem::take(&mut state.conns);
        drop(state);
        for conn in conns.into_values() {
            conn.link.close();
        }
    }

    /// Drains the machine and carries out what it wants, until it wants nothing more.
    pub(crate) fn turn(&self) {
        loop {
            let effects = self.0.state.borrow_mut().collect();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Dial(link, address) => self.dial(link, &address),
                    Effect::Send(end, bytes) => bytes.chunks(PIECE).for_each(|piece| end.send(piece)),
                    Effect::Close(link) => link.close(),
                    Effect::Deliver(event) => self.0.host.deliver(event),
                }
            }
        }
        self.set_timer();
    }

    fn dial(&self, link: LinkId, address: &str) {
        let conn = self.0.state.borrow_mut().name_conn();
        let opened = self.0.host.dial(address).and_then(|raw| Ok(Link::attach(raw, self.handler(conn))?));
        let mut state = self.0.state.borrow_mut();
        match opened {
            Ok(opened) => {
                state.conns.insert(conn, Conn::new(conn, opened, Some(link), DIALLED));
            }
            Err(why) => state.machine.handle_link_failed(now(), link, &why),
        }
    }

    fn handler(&self, conn: ConnId) -> impl Fn(LinkEvent) + Clone + 'static {
        let weak = Rc::downgrade(&self.0);
        move |event| {
            if let Some(shared) = weak.upgrade() {
                let driver = Self(shared);
                driver.happened(conn, event);
                driver.turn();
            }
        }
    }

    fn happened(&self, conn: ConnId, event: LinkEvent) {
        let gone = {
            let mut state = self.0.state.borrow_mut();
            match event {
                LinkEvent::Open => state.opened(conn),
                LinkEvent::Bytes(bytes) => state.came(conn, &bytes),
                LinkEvent::Closed(why) => state.gone(conn, &why),
            }
        };
        if let Some(link) = gone {
            link.close();
        }
    }

    fn set_timer(&self) {
        let mut state = self.0.state.borrow_mut();
        let Some(at) = state.machine.poll_timeout() else {
            state.timer = None;
            return;
        };
        // One that fires early only asks again.
        if state.timer.as_ref().is_some_and(|(set, _)| *set <= at) {
            return;
        }
        let weak = Rc::downgrade(&self.0);
        let delay = at.0.saturating_sub(now().mono.0).div_ceil(1000).min(0x7FFF_FFFF) as u32;
        let timer = Timeout::new(delay, move || {
            if let Some(shared) = weak.upgrade() {
                let driver = Self(shared);
                {
                    let mut state = driver.0.state.borrow_mut();
                    state.timer = None;
                    state.machine.handle_timeout(now());
                }
                driver.turn();
            }
        });
        state.timer = Some((at, timer));
    }
}

impl<M: Machine> State<M> {
    fn name_conn(&mut self) -> ConnId {
        self.last_conn += 1;
        ConnId(self.last_conn)
    }

    fn opened(&mut self, id: ConnId) -> Option<Link> {
        let conn = self.conns.get_mut(&id)?;
        if let Some(link) = conn.dialling.take() {
            self.machine.handle_linked(now(), link, id, conn.caller);
        }
        None
    }

    fn came(&mut self, id: ConnId, bytes: &Uint8Array) -> Option<Link> {
        let conn = self.conns.get_mut(&id)?;
        let had = conn.input.len();
        conn.input.resize(had + bytes.length() as usize, 0);
        bytes.copy_to(&mut conn.input[had..]);
        if conn.feed(id, &mut self.machine, now()).is_ok() {
            return None;
        }
        self.gone(id, "what came is not RocketMQ's protocol")
    }

    /// Forgets a connection that ended, or must end since it makes no sense. Answers its link, to be closed.
    fn gone(&mut self, id: ConnId, why: &str) -> Option<Link> {
        let conn = self.conns.remove(&id)?;
        match conn.dialling {
            Some(link) => {
                let why = if why.is_empty() { "nobody answers" } else { why.trim_end_matches('.') };
                self.machine.handle_link_failed(now(), link, why);
            }
            None => self.machine.handle_closed(now(), id),
        }
        Some(conn.link)
    }

    /// Drains the machine into effects, sends last of all but events.
    fn collect(&mut self) -> Vec<Effect<M::Event>> {
        #[cfg(feature = "client")]
        {
            self.awaited = false;
        }
        let mut effects = Vec::new();
        let mut closing = Vec::new();
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Reply { call, reply } => {
                    if let Some(conn) = self.conns.get_mut(&call.conn) {
                        conn.reply(&call, &reply);
                    }
                }
                Output::Ask { conn, frame } => {
                    if let Some(conn) = self.conns.get_mut(&conn) {
                        conn.output.extend_from_slice(&frame);
                    }
                }
                Output::Dial { link, address } => effects.push(Effect::Dial(link, address)),
                Output::Close { conn } => closing.push(conn),
                Output::Disk(disk) => {
                    let now = now();
                    self.machine.execute(now, disk);
                    self.retry(now, &mut closing);
                }
                Output::Note(_) => {}
            }
        }
        for conn in self.conns.values_mut().filter(|conn| !conn.output.is_empty()) {
            effects.push(Effect::Send(conn.link.end(), mem::take(&mut conn.output)));
        }
        for conn in closing.iter().filter_map(|id| self.conns.remove(id)) {
            effects.push(Effect::Close(conn.link));
        }
        while let Some(event) = self.machine.poll_event() {
            effects.push(Effect::Deliver(event));
        }
        effects
    }

    /// Presents once more what the machine would not take before.
    fn retry(&mut self, now: Now, closing: &mut Vec<ConnId>) {
        for (id, conn) in &mut self.conns {
            if conn.is_stalled() && conn.feed(*id, &mut self.machine, now).is_err() {
                closing.push(*id);
            }
        }
    }
}

impl Conn {
    fn new(id: ConnId, link: Link, dialling: Option<LinkId>, caller: Caller) -> Self {
        let (input, output) = (Vec::new(), Vec::new());
        Self { link, dialling, caller, session: Session::new(id), input, split: 0, next: 0, output }
    }

    /// Hands the machine every whole frame of the input, until there is none or the machine has no room.
    fn feed<M: Machine>(&mut self, id: ConnId, machine: &mut M, now: Now) -> Result<(), WireError> {
        loop {
            while let Some(incoming) = M::incoming(&self.session, self.next, &self.input) {
                match incoming {
                    Incoming::Request(call, request) => {
                        if !machine.handle_request(now, call, request) {
                            return Ok(());
                        }
                    }
                    Incoming::Refused(call, refusal) => {
                        encode::reply(&call, &Reply::<M::Lease>::Refused(refusal), &mut self.output);
                    }
                    Incoming::Answer(ask, answer) => machine.handle_answer(now, id, ask, &answer),
                }
                self.next += 1;
            }
            self.next = 0;
            self.input.drain(..self.split);
            self.split = self.session.split(&mut self.input)?;
            if self.split == 0 {
                return Ok(());
            }
        }
    }

    /// The machine had no room for a request of this connection.
    fn is_stalled(&self) -> bool {
        self.next < self.session.len()
    }

    fn reply<L: AsRef<[u8]>>(&mut self, call: &Call, reply: &Reply<L>) {
        if call.oneway {
            return;
        }
        encode::reply(call, reply, &mut self.output);
        for lease in encode::leases(reply) {
            self.output.extend_from_slice(lease.as_ref());
        }
    }
}

/// The machine's clocks.
pub(crate) fn now() -> Now {
    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = performance, js_name = now)]
        fn since_start() -> f64;
    }
    Now { mono: Instant((since_start() * 1000.0) as u64), wall: Unix(js_sys::Date::now() as i64) }
}
