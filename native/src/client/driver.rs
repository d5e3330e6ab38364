//! Moves bytes between core's client and sockets, and its events to the futures that wait for them.
//!
//! The machine is behind one mutex that is never held across an await. Whoever has given it something takes its
//! outputs and events before letting go ([`Shared::with`]), so nothing waits for another task to be scheduled. Two
//! tasks serve a connection, one each way; one more sleeps until the machine's next deadline.
//!
//! Must stay true: a future's waiter is in place before the machine can answer it; what is queued to a connection is
//! bounded by what the machine allows in flight.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skylark_core::client::{
    AdminAnswer, AdminId, Client, ClientConfig, ClientError, ConsumerId, Event, Message, MessageQueue, NoLease, SendId,
    SendResult,
};
use skylark_core::ids::{Caller, ConnId, LinkId};
use skylark_core::output::Output;
use skylark_core::session::{Incoming, Session};
use skylark_core::time::{Instant, Now};
use skylark_core::wire::encode;
use skylark_core::wire::reply::Reply;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

use crate::clock::Clock;

/// Frames that one write takes together.
const FRAMES: usize = 64;
/// What a read buffer grows by, and keeps while idle. Bytes.
const READ: usize = 16 << 10;

pub(super) type SendOutcome = Result<Vec<SendResult>, ClientError>;
pub(super) type AdminOutcome = Result<AdminAnswer, ClientError>;

/// The users' side: when the last clone's `Arc` goes, the client closes in the background.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
    /// Sends that may be under way at once.
    pub(super) room: Semaphore,
}

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    clock: Clock,
    runtime: runtime::Handle,
    connect_timeout: Duration,
    /// The deadline that the timer sleeps for is not the first any more.
    sooner: Notify,
    closed: watch::Sender<bool>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) machine: Client,
    conns: HashMap<ConnId, mpsc::UnboundedSender<Vec<u8>>>,
    next_conn: u64,
    pub(super) sends: HashMap<SendId, oneshot::Sender<SendOutcome>>,
    pub(super) admins: HashMap<AdminId, oneshot::Sender<AdminOutcome>>,
    pub(super) inboxes: HashMap<ConsumerId, Inbox>,
    /// What the timer sleeps for.
    armed: Option<Instant>,
}

/// What a consumer has not taken yet. Its messages are bounded by the subscription's prefetch.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) messages: VecDeque<(MessageQueue, Arc<Message>)>,
    pub(super) assigned: Option<Vec<MessageQueue>>,
    pub(super) trouble: Option<ClientError>,
    pub(super) ended: bool,
    pub(super) arrived: Arc<Notify>,
}

/// A number that differs from process to process and from call to call.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

impl Handle {
    pub(super) fn start(config: ClientConfig) -> Result<Self, ClientError> {
        let clock = Clock::default();
        let connect_timeout = Duration::from_millis(config.connect_timeout);
        let room = Semaphore::new(config.max_sends);
        let machine = Client::new(config, seed(), clock.now())?;
        let state = State {
            machine,
            conns: HashMap::new(),
            next_conn: 0,
            sends: HashMap::new(),
            admins: HashMap::new(),
            inboxes: HashMap::new(),
            armed: None,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            clock,
            runtime: runtime::Handle::current(),
            connect_timeout,
            sooner: Notify::new(),
            closed: watch::Sender::new(false),
        });
        shared.runtime.spawn(keep_time(shared.clone()));
        Ok(Self { shared, room })
    }

    pub(super) async fn close(&self) {
        let mut closed = self.shared.closed.subscribe();
        self.shared.with(|state, now| state.machine.close(now));
        // An error would say that the sender is gone, and it is ours.
        let _ = closed.wait_for(|closed| *closed).await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.with(|state, now| state.machine.close(now));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the machine something to do and carries out what follows.
    pub(super) fn with<R>(self: &Arc<Self>, turn: impl FnOnce(&mut State, Now) -> R) -> R {
        let mut state = self.lock();
        let result = turn(&mut state, self.clock.now());
        while let Some(output) = state.machine.poll_output() {
            self.carry_out(&mut state, output);
        }
        while let Some(event) = state.machine.poll_event() {
            self.tell(&mut state, event);
        }
        let next = state.machine.poll_timeout();
        if next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed)) {
            state.armed = next;
            self.sooner.notify_one();
        }
        result
    }

    /// Looks at the state without giving the machine anything.
    pub(super) fn look<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.lock())
    }

    fn carry_out(self: &Arc<Self>, state: &mut State, output: Output<NoLease>) {
        match output {
            Output::Dial { link, address } => {
                self.runtime.spawn(dial(self.clone(), link, address));
            }
            Output::Ask { conn, frame } => send(state, conn, frame),
            Output::Reply { call, reply } => {
                let mut frame = Vec::new();
                encode::reply(&call, &reply, &mut frame);
                send(state, call.conn, frame);
            }
            // Its writer ends when it has written what is queued.
            Output::Close { conn } => drop(state.conns.remove(&conn)),
            Output::Disk(_) | Output::Note(_) => {}
        }
    }

    fn tell(&self, state: &mut State, event: Event) {
        // Who does not wait any more does not want to know: results of a send are dropped with its future.
        match event {
            Event::Sent { id, result } => {
                if let Some(waiter) = state.sends.remove(&id) {
                    let _ = waiter.send(result);
                }
            }
            Event::Admin { id, result } => {
                if let Some(waiter) = state.admins.remove(&id) {
                    let _ = waiter.send(result);
                }
            }
            Event::Messages { consumer, queue, batch } => {
                if let Some(inbox) = state.inboxes.get_mut(&consumer) {
                    inbox.messages.extend(batch.into_iter().map(|message| (queue.clone(), message)));
                    inbox.arrived.notify_one();
                }
            }
            Event::Assigned { consumer, queues } => {
                if let Some(inbox) = state.inboxes.get_mut(&consumer) {
                    // What another member reads now is not handed out here any more.
                    inbox.messages.retain(|(queue, message)| queue.topic != message.topic || queues.contains(queue));
                    inbox.assigned = Some(queues);
                    inbox.arrived.notify_one();
                }
            }
            Event::Trouble { consumer, error } => {
                if let Some(inbox) = state.inboxes.get_mut(&consumer) {
                    inbox.trouble = Some(error);
                    inbox.arrived.notify_one();
                }
            }
            Event::Unsubscribed { consumer } => {
                if let Some(inbox) = state.inboxes.get_mut(&consumer) {
                    inbox.ended = true;
                    inbox.messages.clear();
                    inbox.arrived.notify_one();
                }
            }
            Event::Closed => {
                self.closed.send_replace(true);
                self.sooner.notify_one();
            }
            _ => {}
        }
    }
}

fn send(state: &State, conn: ConnId, frame: Vec<u8>) {
    if let Some(queue) = state.conns.get(&conn).filter(|_| !frame.is_empty()) {
        // A connection that has just ended is reported by its reader.
        let _ = queue.send(frame);
    }
}

async fn keep_time(shared: Arc<Shared>) {
    let closed = shared.closed.subscribe();
    while !*closed.borrow() {
        let due = shared.look(|state| {
            state.armed = state.machine.poll_timeout();
            state.armed
        });
        let sleep = async {
            match due {
                Some(due) => tokio::time::sleep_until(shared.clock.when(due)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => shared.with(|state, now| state.machine.handle_timeout(now)),
            () = shared.sooner.notified() => {}
        }
    }
}

async fn dial(shared: Arc<Shared>, link: LinkId, address: String) {
    let stream = match tokio::time::timeout(shared.connect_timeout, connect(&address)).await {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Err("connection refused".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection in {} ms", shared.connect_timeout.as_millis())),
    };
    let (stream, peer, local) = match stream {
        Ok(connected) => connected,
        Err(why) => {
            shared.with(|state, now| state.machine.handle_link_failed(now, link, &why));
            return;
        }
    };
    let (read, write) = stream.into_split();
    let (queue, frames) = mpsc::unbounded_channel();
    let conn = shared.look(|state| {
        state.next_conn += 1;
        let conn = ConnId(state.next_conn);
        state.conns.insert(conn, queue);
        conn
    });
    let reader = shared.runtime.spawn(read_all(shared.clone(), conn, read));
    shared.with(|state, now| state.machine.handle_linked(now, link, conn, Caller { peer, local }));
    write_all(write, frames).await;
    // Either the reader has ended already, or nothing that comes now is wanted.
    reader.abort();
}

async fn connect(address: &str) -> std::io::Result<(TcpStream, SocketAddr, SocketAddr)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
    Ok((stream, peer, local))
}

async fn write_all(mut socket: OwnedWriteHalf, mut frames: mpsc::UnboundedReceiver<Vec<u8>>) {
    let mut batch = Vec::with_capacity(FRAMES);
    let mut bytes = Vec::new();
    while frames.recv_many(&mut batch, FRAMES).await > 0 {
        let written = if let [frame] = &batch[..] {
            socket.write_all(frame).await
        } else {
            bytes.clear();
            for frame in &batch {
                bytes.extend_from_slice(frame);
            }
            socket.write_all(&bytes).await
        };
        batch.clear();
        if written.is_err() {
            // The reader finds out too, and reports it.
            while frames.recv().await.is_some() {}
            return;
        }
    }
    let _ = socket.shutdown().await;
}

async fn read_all(shared: Arc<Shared>, conn: ConnId, mut socket: OwnedReadHalf) {
    let mut session = Session::new(conn);
    let mut buf = Vec::new();
    loop {
        buf.reserve(READ);
        match socket.read_buf(&mut buf).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
        let Ok(used) = session.split(&mut buf) else { break };
        if used == 0 {
            continue;
        }
        shared.with(|state, now| {
            for at in 0..session.len() {
                match session.get(at, &buf) {
                    Some(Incoming::Answer(ask, answer)) => state.machine.handle_answer(now, conn, ask, &answer),
                    Some(Incoming::Request(call, request)) => state.machine.handle_request(now, call, &request),
                    Some(Incoming::Refused(call, refusal)) => {
                        let mut frame = Vec::new();
                        encode::reply::<NoLease>(&call, &Reply::Refused(refusal), &mut frame);
                        send(state, conn, frame);
                    }
                    None => {}
                }
            }
        });
        buf.drain(..used);
        if buf.is_empty() && buf.capacity() > 16 * READ {
            buf = Vec::new();
        }
    }
    shared.with(|state, now| {
        state.conns.remove(&conn);
        state.machine.handle_closed(now, conn);
    });
}
