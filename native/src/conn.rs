//! One remoting connection: its socket, buffers, session and deadlines, in one task.
//!
//! A read is split into frames outside the lock, the whole batch goes to the machine in one turn, and the answers
//! are encoded and written by this same task. A request whose answer may be long ends its turn. While a request is held
//! for lack of room, while answers wait for a slow peer, or while too many requests are open, nothing more is read: TCP
//! then slows the peer down.
//!
//! Must stay true: memory grows with bytes that arrived (SEC-8); every buffer is in the account (SEC-7, SEC-10).
//! Elsewhere: what a frame is (core's `Session`), WebSocket framing ([`crate::ws`]), HTTP ([`crate::http`]).
//! Start at [`Connection::run`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use skylark_core::ids::ConnId;
use skylark_core::session::{Incoming, Session};
use skylark_core::wire::encode;
use skylark_core::wire::reply::Reply;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tracing::debug;

use crate::budget::{Account, frame_time};
use crate::engine::Engine;
use crate::machine::{Machine, Taken, leases};
use crate::mailbox::{Letter, Mailbox, Signals};
use crate::outgoing::{Outgoing, SLICES};
use crate::ws::{self, Closing, WebSocket};

/// The read buffer of a quiet connection.
const SMALL: usize = 4 << 10;
/// What one turn reads at most.
const READ: usize = 256 << 10;
/// Answers waiting for a slow peer beyond which nothing more is read.
const UNSENT: usize = 1 << 20;
/// Bytes after which a WebSocket message ends.
const MESSAGE: usize = 256 << 10;
/// Requests that may be open at once, beyond which nothing more is read.
const OPEN: usize = 16_384;
/// A connection without traffic either way, or without progress of a write, is closed after this.
pub(crate) const IDLE: Duration = Duration::from_mins(2);
/// A connection that was quiet for so long gives its buffers back.
const QUIET: Duration = Duration::from_secs(5);

const NO_BUDGET: &str = "the memory budget of this port is used up (SEC-7)";

/// Why a connection ended, for the log.
type Reason = String;

enum Event {
    Mail(Signals),
    Read(usize),
    /// Frames that have come may be handed over.
    Frames,
    End,
    Tick,
}

/// One connection.
pub(crate) struct Connection<M: Machine> {
    engine: Arc<Engine<M>>,
    stream: TcpStream,
    conn: ConnId,
    mailbox: Arc<Mailbox<M::Lease>>,
    account: Account,
    session: Session,
    web: Option<WebSocket>,
    /// The first `filled` bytes have arrived.
    buffer: Vec<u8>,
    filled: usize,
    /// Whole frames at the buffer's front that have not all been taken: their bytes, their number, the next one.
    frames: Frames,
    letters: Vec<Letter<M::Lease>>,
    out: Outgoing<M::Lease>,
    /// Requests that were handed over and not answered.
    open: usize,
    closing: bool,
    sleep: Pin<Box<Sleep>>,
    last: Instant,
    /// Since when a stranger's frame has been coming.
    frame_since: Option<Instant>,
}

#[derive(Default)]
struct Frames {
    bytes: usize,
    count: usize,
    next: usize,
    /// The next one waits for room.
    held: bool,
}

impl<M: Machine> Connection<M> {
    pub(crate) fn new(
        engine: Arc<Engine<M>>,
        stream: TcpStream,
        conn: ConnId,
        mailbox: Arc<Mailbox<M::Lease>>,
        account: Account,
    ) -> Self {
        let now = Instant::now();
        Self {
            engine,
            stream,
            conn,
            mailbox,
            account,
            session: Session::new(conn),
            web: None,
            buffer: Vec::new(),
            filled: 0,
            frames: Frames::default(),
            letters: Vec::new(),
            out: Outgoing::default(),
            open: 0,
            closing: false,
            sleep: Box::pin(tokio::time::sleep_until(now + IDLE)),
            last: now,
            frame_since: None,
        }
    }

    /// Bytes that were read while finding out what the peer speaks.
    pub(crate) fn with_bytes(mut self, bytes: Vec<u8>, web: Option<WebSocket>) -> Self {
        self.filled = bytes.len();
        self.buffer = bytes;
        self.web = web;
        self
    }

    /// Serves until the end.
    pub(crate) async fn run(mut self) {
        let arrived = std::mem::take(&mut self.filled);
        let reason = if arrived > 0
            && let Err(reason) = self.arrived(arrived)
        {
            self.last_words().await;
            reason
        } else {
            self.serve().await
        };
        debug!(conn = self.conn.0, %reason, "connection closed");
        self.engine.closed(self.conn);
    }

    async fn serve(&mut self) -> Reason {
        loop {
            let event = match std::future::poll_fn(|cx| self.poll_event(cx)).await {
                Ok(event) => event,
                Err(error) => return error.to_string(),
            };
            let done = match event {
                Event::Mail(signals) => self.mail(signals),
                Event::Read(n) => {
                    self.last = Instant::now();
                    self.arrived(n)
                }
                Event::Frames => self.hand_over(),
                Event::Tick => self.tick(),
                Event::End => return "closed".into(),
            };
            if let Err(reason) = done {
                self.last_words().await;
                return reason;
            }
        }
    }

    /// What happens next: letters, progress of a write, bytes, a deadline.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        loop {
            if !self.out.is_empty() {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = self.out.slices(&mut slices);
                if let Poll::Ready(n) = Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]) {
                    let n = n?;
                    if n == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    self.out.advance(n);
                    self.last = Instant::now();
                    continue;
                }
            } else if self.closing {
                return Poll::Ready(Ok(Event::End));
            }
            // A peer that does not read gets no more letters encoded: they wait in the bounded mailbox.
            if self.out.len() < UNSENT
                && let Some(signals) = self.mailbox.take(&mut self.letters, Some(cx.waker()))
            {
                return Poll::Ready(Ok(Event::Mail(signals)));
            }
            if self.frames.count > 0 && !self.frames.held && !self.closing && self.out.len() < UNSENT {
                return Poll::Ready(Ok(Event::Frames));
            }
            if self.may_read()
                && let Poll::Ready(read) = self.poll_read(cx)
            {
                return Poll::Ready(read.map(|n| if n == 0 { Event::End } else { Event::Read(n) }));
            }
            ready!(self.sleep.as_mut().poll(cx));
            return Poll::Ready(Ok(Event::Tick));
        }
    }

    fn may_read(&self) -> bool {
        !self.closing && self.frames.count == 0 && self.out.len() < UNSENT && self.open < OPEN
    }

    /// Reads until the socket is empty or a turn's worth has come: what came together is stored, and flushed, together.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut read = 0;
        loop {
            let from = self.filled + read;
            if from == self.buffer.len() {
                // Doubling follows what has arrived, never what was announced.
                let grown = (from + from.clamp(SMALL, READ)).next_multiple_of(SMALL);
                if !self.account.hold(grown + self.out.capacity()) {
                    return Poll::Ready(Err(io::Error::other(NO_BUDGET)));
                }
                self.buffer.resize(grown, 0);
            }
            let end = self.buffer.len().min(from + READ - read);
            let mut space = ReadBuf::new(&mut self.buffer[from..end]);
            let n = match Pin::new(&mut self.stream).poll_read(cx, &mut space) {
                Poll::Ready(result) => result.map(|()| space.filled().len())?,
                Poll::Pending if read == 0 => return Poll::Pending,
                Poll::Pending => 0,
            };
            read += n;
            if n < end - from || read == READ || self.account.is_stranger() {
                return Poll::Ready(Ok(read));
            }
        }
    }

    /// `n` bytes have come behind the `filled` ones.
    fn arrived(&mut self, mut n: usize) -> Result<(), Reason> {
        if let Some(web) = &mut self.web {
            let decoded = web.decode(&mut self.buffer[self.filled..self.filled + n]);
            let answers = web.take_answers();
            self.out.head(|out| out.extend_from_slice(&answers));
            self.out.open();
            n = decoded.map_err(|why| self.say_goodbye(why))?;
        }
        self.filled += n;
        if self.buffer.len() > SMALL && self.sleep.deadline() > self.last + QUIET {
            self.sleep.as_mut().reset(self.last + QUIET);
        }
        let bytes = self.session.split(&mut self.buffer[..self.filled]).map_err(|error| error.to_string())?;
        self.frames = Frames { bytes, count: self.session.len(), next: 0, held: false };
        if self.frames.count > 0 {
            self.frame_since = None;
            self.hand_over()
        } else {
            self.expect_frame();
            Ok(())
        }
    }

    /// Hands frames that have come to the machine, in one turn, and encodes what it answers to this connection.
    fn hand_over(&mut self) -> Result<(), Reason> {
        let Self { engine, conn, session, buffer, frames, letters, account, open, .. } = self;
        let mut refused = Vec::new();
        let close = engine.turn_of(*conn, letters, |machine, now| {
            let mut much = false;
            while frames.next < frames.count && !much {
                match session.get(frames.next, &buffer[..frames.bytes]) {
                    Some(Incoming::Request(call, request)) => {
                        if account.is_stranger() {
                            account.become_known();
                        }
                        much = request.asks_for_much();
                        if let Taken::Later = machine.handle_request(now, call, request) {
                            frames.held = true;
                            return true;
                        }
                        *open += usize::from(!call.oneway);
                    }
                    Some(Incoming::Refused(call, refusal)) if !call.oneway => {
                        *open += 1;
                        refused.push(Letter::Reply(call, Reply::Refused(refusal)));
                    }
                    Some(Incoming::Answer(ask, answer)) => machine.handle_answer(now, *conn, ask, &answer),
                    Some(Incoming::Refused(..)) | None => {}
                }
                frames.next += 1;
            }
            false
        });
        self.letters.append(&mut refused);
        if self.frames.next == self.frames.count {
            let rest = self.frames.bytes..self.filled;
            self.filled = rest.len();
            self.buffer.copy_within(rest, 0);
            self.frames = Frames::default();
            self.expect_frame();
        }
        self.mail(Signals { close, room: false })
    }

    /// Encodes the letters.
    fn mail(&mut self, signals: Signals) -> Result<(), Reason> {
        let mut letters = std::mem::take(&mut self.letters);
        for letter in letters.drain(..) {
            match letter {
                Letter::Frame(frame) => self.out.head(|out| out.extend_from_slice(&frame)),
                Letter::Reply(call, reply) => {
                    self.open = self.open.saturating_sub(1);
                    self.out.head(|out| encode::reply(&call, &reply, out));
                    for lease in leases(reply) {
                        self.out.lease(lease);
                    }
                }
            }
            if self.web.is_some() && self.out.group_len() >= MESSAGE {
                self.out.close(ws::message_header);
            }
        }
        if self.web.is_some() {
            self.out.close(ws::message_header);
        }
        if letters.capacity() <= 1024 {
            self.letters = letters;
        }
        self.closing |= signals.close;
        self.frames.held &= !signals.room;
        self.hold()
    }

    /// Tells the account what the buffers take.
    fn hold(&mut self) -> Result<(), Reason> {
        let granted = self.account.hold(self.buffer.len() + self.out.capacity());
        granted.then_some(()).ok_or_else(|| NO_BUDGET.into())
    }

    /// A stranger's frame must finish in time.
    fn expect_frame(&mut self) {
        if !self.account.is_stranger() || self.filled == 0 {
            self.frame_since = None;
        } else if self.frame_since.is_none() {
            let now = Instant::now();
            self.frame_since = Some(now);
            self.sleep.as_mut().reset(now + frame_time(0));
        }
    }

    /// When the current frame of a stranger must have come.
    fn frame_deadline(&self) -> Option<Instant> {
        let announced = self.buffer.first_chunk::<4>().map_or(0, |len| u32::from_be_bytes(*len) as usize);
        self.frame_since.map(|since| since + frame_time(announced))
    }

    /// Looks at the deadlines and sleeps until the next.
    fn tick(&mut self) -> Result<(), Reason> {
        let now = Instant::now();
        let idle = self.last + IDLE;
        if now >= idle {
            let what = if self.out.is_empty() { "traffic" } else { "progress of a write" };
            return Err(format!("no {what} for {} s", IDLE.as_secs()));
        }
        let frame = self.frame_deadline();
        if frame.is_some_and(|frame| now >= frame) {
            return Err("a first frame took too long (SEC-7)".into());
        }
        self.give_back(now);
        let quiet = if self.buffer.len() > SMALL { self.last.max(now) + QUIET } else { idle };
        self.sleep.as_mut().reset(idle.min(quiet).min(frame.unwrap_or(idle)));
        Ok(())
    }

    /// Gives memory back when nothing has happened for a while.
    fn give_back(&mut self, now: Instant) {
        if now < self.last + QUIET || self.frames.count > 0 {
            return;
        }
        if self.filled <= SMALL && self.buffer.len() > SMALL {
            self.buffer.truncate(self.filled);
            self.buffer.shrink_to(SMALL);
        }
        self.out.shrink();
        // Taking less is never refused.
        let _ = self.hold();
    }

    fn say_goodbye(&mut self, why: Closing) -> Reason {
        self.out.head(|out| out.extend_from_slice(&ws::close_frame(why)));
        format!("WebSocket closed: {why:?}")
    }

    /// Sends what is ready, if the peer takes it at once, and ends.
    async fn last_words(&mut self) {
        self.closing = true;
        let _ = tokio::time::timeout(Duration::from_secs(1), async {
            while !self.out.is_empty() {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = self.out.slices(&mut slices);
                match std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]))
                    .await
                {
                    Ok(n) if n > 0 => self.out.advance(n),
                    _ => break,
                }
            }
        })
        .await;
    }
}
