//! A small world: machines joined by byte pipes, one virtual clock, no threads. What crosses a link is real bytes,
//! split and decoded by real sessions; time jumps to the next deadline.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use skylark_core::broker::{Broker, BrokerConfig, Tables, Taken};
use skylark_core::client::{Client, ClientConfig, Event};
use skylark_core::ids::{Call, Caller, ConnId, LinkId};
use skylark_core::namesrv::{NameServer, NamesrvConfig};
use skylark_core::output::{Note, Output};
use skylark_core::session::{Incoming, Session};
use skylark_core::store::Done;
use skylark_core::store::memory::MemoryStore;
use skylark_core::store::opening::Opened;
use skylark_core::time::{Instant, Now, Unix};
use skylark_core::wire::encode;
use skylark_core::wire::reply::Reply;
use skylark_core::wire::request::Request;

/// A machine of the world, by its kind.
pub enum Node {
    NameServer(Box<NameServer>),
    Broker(Box<Broker<MemoryStore>>),
    Client(Box<Client>),
}

/// One end of a connection: its session, what arrived and was not taken yet, and where its other end is.
struct End {
    node: usize,
    session: Session,
    buffer: Vec<u8>,
    other: ConnId,
}

/// All machines, their links and their clock.
pub struct World {
    pub now: Now,
    pub nodes: Vec<Option<Node>>,
    addresses: BTreeMap<String, usize>,
    ends: BTreeMap<ConnId, End>,
    wires: VecDeque<(ConnId, Vec<u8>)>,
    dials: VecDeque<(usize, LinkId, String)>,
    next_conn: u64,
    pub events: Vec<(usize, Event)>,
    pub notes: Vec<Note>,
    /// Request codes as they crossed the wires: from node, to node, code.
    pub frames: Vec<(usize, usize, i32)>,
}

fn address(n: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, n as u8 + 1), 10911))
}

impl World {
    pub fn new() -> Self {
        Self {
            now: Now { mono: Instant(0), wall: Unix(1_700_000_000_000) },
            nodes: Vec::new(),
            addresses: BTreeMap::new(),
            ends: BTreeMap::new(),
            wires: VecDeque::new(),
            dials: VecDeque::new(),
            next_conn: 0,
            events: Vec::new(),
            notes: Vec::new(),
            frames: Vec::new(),
        }
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(Some(node));
        let id = self.nodes.len() - 1;
        self.addresses.insert(address(id).to_string(), id);
        id
    }

    pub fn namesrv(&mut self) -> usize {
        self.add(Node::NameServer(Box::new(NameServer::new(NamesrvConfig::default(), self.now))))
    }

    pub fn broker(&mut self, namesrvs: &[usize], edit: impl FnOnce(&mut BrokerConfig)) -> usize {
        let id = self.nodes.len();
        let mut config = BrokerConfig {
            name: format!("broker-{id}"),
            host: address(id),
            namesrvs: namesrvs.iter().map(|n| address(*n).to_string()).collect(),
            ..BrokerConfig::default()
        };
        edit(&mut config);
        let opened = Opened::empty(1 << 30, false);
        let store = MemoryStore::new(1 << 30);
        self.add(Node::Broker(Box::new(Broker::new(config, store, opened, Tables::default(), id as u64, self.now))))
    }

    pub fn client(&mut self, namesrvs: &[usize]) -> usize {
        let id = self.nodes.len();
        let names = namesrvs.iter().map(|n| address(*n).to_string()).collect();
        let config = ClientConfig::new(names, format!("client-{id}"));
        let client = Client::new(config, id as u64 * 7919, self.now).expect("a good configuration");
        self.add(Node::Client(Box::new(client)))
    }

    pub fn as_client(&mut self, id: usize) -> &mut Client {
        match &mut self.nodes[id] {
            Some(Node::Client(client)) => client,
            _ => panic!("node {id} is no client"),
        }
    }

    /// The process is gone: its connections close, nobody answers at its address.
    pub fn kill(&mut self, id: usize) {
        self.nodes[id] = None;
        let lost: Vec<ConnId> = self.ends.iter().filter(|(_, end)| end.node == id).map(|(conn, _)| *conn).collect();
        for conn in lost {
            self.disconnect(conn);
        }
    }

    fn disconnect(&mut self, conn: ConnId) {
        let Some(end) = self.ends.remove(&conn) else { return };
        if let Some(other) = self.ends.remove(&end.other) {
            let now = self.now;
            match self.nodes[other.node].as_mut() {
                Some(Node::NameServer(it)) => it.handle_closed(now, end.other),
                Some(Node::Broker(it)) => it.handle_closed(now, end.other),
                Some(Node::Client(it)) => it.handle_closed(now, end.other),
                None => {}
            }
        }
    }

    /// Runs for this long, jumping from deadline to deadline.
    pub fn run(&mut self, ms: u64) {
        let end = self.now.mono.plus_ms(ms);
        loop {
            self.settle();
            let due = self.nodes.iter().flatten().filter_map(|node| match node {
                Node::NameServer(it) => it.poll_timeout(),
                Node::Broker(it) => it.poll_timeout(),
                Node::Client(it) => it.poll_timeout(),
            });
            let next = due.min().unwrap_or(end).max(Instant(self.now.mono.0 + 1));
            if next > end {
                self.set_time(end);
                return;
            }
            self.set_time(next);
            let now = self.now;
            for node in self.nodes.iter_mut().flatten() {
                match node {
                    Node::NameServer(it) => it.handle_timeout(now),
                    Node::Broker(it) => it.handle_timeout(now),
                    Node::Client(it) => it.handle_timeout(now),
                }
            }
        }
    }

    fn set_time(&mut self, mono: Instant) {
        self.now = Now { mono, wall: Unix(1_700_000_000_000 + (mono.0 / 1000) as i64) };
    }

    /// Drains outputs, moves bytes, opens links, until nothing is left to do at this moment.
    pub fn settle(&mut self) {
        loop {
            for id in 0..self.nodes.len() {
                self.drain(id);
            }
            if let Some((conn, bytes)) = self.wires.pop_front() {
                self.deliver(conn, &bytes);
            } else if let Some((node, link, to)) = self.dials.pop_front() {
                self.dial(node, link, &to);
            } else {
                return;
            }
        }
    }

    fn drain(&mut self, id: usize) {
        let now = self.now;
        loop {
            match self.nodes[id].as_mut() {
                Some(Node::NameServer(it)) => match it.poll_output() {
                    Some(output) => self.act(id, output),
                    None => return,
                },
                Some(Node::Client(it)) => {
                    if let Some(event) = it.poll_event() {
                        self.events.push((id, event));
                    } else if let Some(output) = it.poll_output() {
                        self.act(id, output);
                    } else {
                        return;
                    }
                }
                Some(Node::Broker(it)) => match it.poll_output() {
                    Some(Output::Disk(disk)) => match it.store_mut().execute(disk) {
                        Done::Stored { id, result } => it.handle_stored(now, id, result),
                        Done::Loaded { ticket, result } => it.handle_loaded(now, ticket, result),
                    },
                    Some(output) => self.act(id, output),
                    None => return,
                },
                None => return,
            }
        }
    }

    fn act<L: AsRef<[u8]>>(&mut self, node: usize, output: Output<L>) {
        match output {
            Output::Reply { call, reply } => self.write_reply(&call, &reply),
            Output::Ask { conn, frame } => self.wires.push_back((conn, frame)),
            Output::Dial { link, address } => self.dials.push_back((node, link, address)),
            Output::Close { conn } => self.disconnect(conn),
            Output::Note(note) => self.notes.push(note),
            Output::Disk(disk) => panic!("no medium here: {disk:?}"),
        }
    }

    fn write_reply<L: AsRef<[u8]>>(&mut self, call: &Call, reply: &Reply<L>) {
        if call.oneway {
            return;
        }
        let mut bytes = Vec::new();
        encode::reply(call, reply, &mut bytes);
        for lease in encode::leases(reply) {
            bytes.extend_from_slice(lease.as_ref());
        }
        self.wires.push_back((call.conn, bytes));
    }

    fn dial(&mut self, node: usize, link: LinkId, to: &str) {
        let target = self.addresses.get(to).copied().filter(|id| self.nodes[*id].is_some());
        let now = self.now;
        let Some(target) = target else {
            match self.nodes[node].as_mut() {
                Some(Node::Broker(it)) => it.handle_link_failed(now, link, "connection refused"),
                Some(Node::Client(it)) => it.handle_link_failed(now, link, "connection refused"),
                _ => {}
            }
            return;
        };
        let (here, there) = (ConnId(self.next_conn), ConnId(self.next_conn + 1));
        self.next_conn += 2;
        self.ends.insert(here, End { node, session: Session::new(here), buffer: Vec::new(), other: there });
        self.ends.insert(there, End { node: target, session: Session::new(there), buffer: Vec::new(), other: here });
        let caller = Caller { peer: address(node), local: address(target) };
        match self.nodes[target].as_mut() {
            Some(Node::NameServer(it)) => it.handle_connected(now, there, caller),
            Some(Node::Broker(it)) => it.handle_connected(now, there, caller),
            _ => {}
        }
        let caller = Caller { peer: address(target), local: address(node) };
        match self.nodes[node].as_mut() {
            Some(Node::Broker(it)) => it.handle_linked(now, link, here, caller),
            Some(Node::Client(it)) => it.handle_linked(now, link, here, caller),
            _ => {}
        }
    }

    /// Bytes that `conn` sent arrive at its other end.
    fn deliver(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(from) = self.ends.get(&conn).map(|end| (end.node, end.other)) else { return };
        let Some(mut end) = self.ends.remove(&from.1) else { return };
        end.buffer.extend_from_slice(bytes);
        let used = end.session.split(&mut end.buffer).expect("sense");
        let now = self.now;
        for at in 0..end.session.len() {
            let incoming = end.session.get(at, &end.buffer).expect("a frame that was counted");
            if let Incoming::Request(_, request) = &incoming {
                self.frames.push((from.0, end.node, request.code()));
            }
            match (self.nodes[end.node].as_mut(), incoming) {
                (Some(Node::NameServer(it)), Incoming::Request(call, request)) => {
                    it.handle_request(now, call, &request);
                }
                (Some(Node::Broker(it)), Incoming::Request(call, request)) => {
                    assert_eq!(it.handle_request(now, call, request), Taken::Yes);
                }
                (Some(Node::Client(it)), Incoming::Request(call, request)) => it.handle_request(now, call, &request),
                (Some(Node::Broker(it)), Incoming::Answer(ask, answer)) => it.handle_answer(now, from.1, ask, &answer),
                (Some(Node::Client(it)), Incoming::Answer(ask, answer)) => it.handle_answer(now, from.1, ask, &answer),
                (_, Incoming::Refused(_, refusal)) => panic!("our own peers speak well: {refusal:?}"),
                (_, Incoming::Request(_, Request::Unknown { code })) => panic!("nobody asks for {code}"),
                _ => {}
            }
        }
        end.buffer.drain(..used);
        self.ends.insert(from.1, end);
    }
}
