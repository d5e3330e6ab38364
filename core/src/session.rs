//! One connection: bytes to typed requests and answers.
//!
//! A driver keeps a read buffer and a [`Session`] a connection. After each read it calls [`Session::split`], then
//! hands every [`Incoming`] to its machine under the machine's lock, then drops the bytes that were consumed. Decoding
//! frames happens before the lock is taken; looking at a request under it borrows and copies nothing.
//!
//! Must stay true: bytes that make no sense end the connection; a request that is understood never does. Replies are
//! written by [`wire::encode`](crate::wire::encode) and need no session, since a [`Call`] carries all that they need.

use crate::ids::{AskId, Call, ConnId};
use crate::wire::WireError;
use crate::wire::answer::Answer;
use crate::wire::frame::{Frame, Frames, MAX_FRAME};
use crate::wire::reply::Refusal;
use crate::wire::request::Request;

/// The largest frame of a connection that has not shown one whole frame yet, bytes (SEC-7).
const MAX_FIRST_FRAME: usize = 5 << 20;

/// What a frame turned out to be.
#[derive(Debug)]
pub enum Incoming<'a> {
    /// The peer asks.
    Request(Call, Request<'a>),
    /// The peer asks for something that cannot be read as a request: this is the answer.
    Refused(Call, Refusal),
    /// The peer answers.
    Answer(AskId, Answer<'a>),
}

/// The receiving side of one connection.
#[derive(Debug)]
pub struct Session {
    conn: ConnId,
    frames: Frames,
    proven: bool,
}

impl Session {
    /// For a new connection.
    pub const fn new(conn: ConnId) -> Self {
        Self { conn, frames: Frames::new(), proven: false }
    }

    /// Finds the whole frames at the front of `buf` and gives the number of bytes that they take. The buffer must
    /// stay as it is until they were looked at. An error closes the connection.
    pub fn split(&mut self, buf: &mut [u8]) -> Result<usize, WireError> {
        let used = self.frames.split(buf, if self.proven { MAX_FRAME } else { MAX_FIRST_FRAME })?;
        self.proven |= used > 0;
        Ok(used)
    }

    /// Whether the peer has shown one whole frame.
    pub fn is_proven(&self) -> bool {
        self.proven
    }

    /// How many frames the last split found.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether the last split found none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The frame number `at` of the last split of `buf`.
    pub fn get<'a>(&'a self, at: usize, buf: &'a [u8]) -> Option<Incoming<'a>> {
        self.get_with(at, buf, Request::decode)
    }

    /// As [`Self::get`], for a connection of a client: see [`Request::decode_for_client`].
    pub fn get_for_client<'a>(&'a self, at: usize, buf: &'a [u8]) -> Option<Incoming<'a>> {
        self.get_with(at, buf, Request::decode_for_client)
    }

    fn get_with<'a>(
        &'a self,
        at: usize,
        buf: &'a [u8],
        decode: impl Fn(&Frame<'a>) -> Result<Request<'a>, Refusal>,
    ) -> Option<Incoming<'a>> {
        let frame = self.frames.get(at, buf)?;
        if frame.is_response() {
            return Some(Incoming::Answer(frame.ask(), Answer::of(frame)));
        }
        let call = frame.call(self.conn);
        Some(match decode(&frame) {
            Ok(request) => Incoming::Request(call, request),
            Err(refusal) => Incoming::Refused(call, refusal),
        })
    }
}
