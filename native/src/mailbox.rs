//! What others leave for a connection's task: replies, asks, the order to close, the news that there is room.
//!
//! Bounded (SEC-10): beyond [`LIMIT`] bytes of heap the connection is closed, since its peer does not read.
//! Leases are counted ranges of the log and cost no heap. Letters are left under the machine's lock, so they lie in the order of
//! their effects; the task is woken once for all of them, after the lock is free.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use skylark_core::ids::Call;
use skylark_core::wire::reply::Reply;

/// Heap bytes that may wait in one mailbox.
pub const LIMIT: usize = 16 << 20;

/// One thing to do for a connection's task.
#[derive(Debug)]
pub enum Letter<L> {
    /// Encode and send this answer.
    Reply(Call, Reply<L>),
    /// Send this frame.
    Frame(Vec<u8>),
}

impl<L> Letter<L> {
    /// Heap bytes that this letter holds, roughly.
    pub fn weight(&self) -> usize {
        64 + match self {
            Self::Reply(_, Reply::Body(body) | Reply::Registered { body, .. }) | Self::Frame(body) => body.len(),
            Self::Reply(_, Reply::Refused(refusal)) => refusal.remark.len(),
            Self::Reply(_, Reply::Sent(_)) => 128,
            Self::Reply(_, Reply::Pulled(pulled)) => pulled.leases.len() * size_of::<L>(),
            Self::Reply(_, Reply::Messages(leases)) => leases.len() * size_of::<L>(),
            Self::Reply(..) => 0,
        }
    }
}

/// What is in a mailbox.
#[derive(Debug)]
pub struct Mail<L> {
    /// In the order in which they were left.
    pub letters: Vec<Letter<L>>,
    /// Close after what was sent.
    pub close: bool,
    /// A request that had no room may be presented again.
    pub room: bool,
    weight: usize,
    waker: Option<Waker>,
}

impl<L> Mail<L> {
    fn is_empty(&self) -> bool {
        self.letters.is_empty() && !self.close && !self.room
    }
}

/// A connection's mailbox.
#[derive(Debug)]
pub struct Mailbox<L>(Mutex<Mail<L>>);

impl<L> Default for Mailbox<L> {
    fn default() -> Self {
        Self(Mutex::new(Mail { letters: Vec::new(), close: false, room: false, weight: 0, waker: None }))
    }
}

impl<L> Mailbox<L> {
    fn lock(&self) -> MutexGuard<'_, Mail<L>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, what: impl FnOnce(&mut Mail<L>)) -> Option<Waker> {
        let mut mail = self.lock();
        what(&mut mail);
        mail.waker.take()
    }

    /// Leaves a letter. The waker, if any, is to be woken when the machine's lock is free.
    #[must_use]
    pub fn leave(&self, letter: Letter<L>) -> Option<Waker> {
        self.change(|mail| {
            mail.weight += letter.weight();
            if mail.weight > LIMIT {
                mail.close = true;
                mail.letters.clear();
            } else {
                mail.letters.push(letter);
            }
        })
    }

    /// Asks for closing, after the letters left so far.
    #[must_use]
    pub fn close(&self) -> Option<Waker> {
        self.change(|mail| mail.close = true)
    }

    /// Says that a held request may be presented again.
    #[must_use]
    pub fn room(&self) -> Option<Waker> {
        self.change(|mail| mail.room = true)
    }

    /// Moves the letters to `into`; tells whether to close, and whether there is room again. When there is
    /// nothing at all, `waker` (if given) is kept and woken by the next change; the answer is then `None`.
    pub fn take(&self, into: &mut Vec<Letter<L>>, waker: Option<&Waker>) -> Option<Signals> {
        let mut mail = self.lock();
        if mail.is_empty() {
            if let Some(waker) = waker
                && !mail.waker.as_ref().is_some_and(|w| w.will_wake(waker))
            {
                mail.waker = Some(waker.clone());
            }
            return None;
        }
        into.append(&mut mail.letters);
        mail.weight = 0;
        if mail.letters.capacity() > 64 {
            mail.letters = Vec::new();
        }
        Some(Signals { close: mail.close, room: std::mem::take(&mut mail.room) })
    }
}

/// What a mailbox says beside its letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// Close after what was sent.
    pub close: bool,
    /// A held request may be presented again.
    pub room: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_does_not_read_is_closed_and_holds_nothing_sec_10() {
        let mailbox = Mailbox::<Vec<u8>>::default();
        for _ in 0..17 {
            let _ = mailbox.leave(Letter::Frame(vec![0; 1 << 20]));
        }
        let mut letters = Vec::new();
        assert_eq!(mailbox.take(&mut letters, None), Some(Signals { close: true, room: false }));
        assert!(letters.is_empty());
    }

    #[test]
    fn one_wake_for_a_batch() {
        let mailbox = Mailbox::<Vec<u8>>::default();
        let mut letters = Vec::new();
        assert_eq!(mailbox.take(&mut letters, Some(Waker::noop())), None);
        assert!(mailbox.leave(Letter::Frame(vec![1])).is_some());
        assert!(mailbox.leave(Letter::Frame(vec![2])).is_none());
        assert_eq!(mailbox.take(&mut letters, None), Some(Signals::default()));
        assert_eq!(letters.len(), 2);
    }
}
