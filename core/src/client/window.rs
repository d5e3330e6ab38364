//! What one queue has delivered and not yet had acknowledged, and the offset that may be committed.
//!
//! Must stay true: [`Window::commit`] never passes an offset that was delivered and not acked (DEL-4), and a
//! message is held once, whatever the broker sends twice.

use alloc::collections::VecDeque;

/// Messages of one queue between delivery and acknowledgement.
#[derive(Debug)]
pub(super) struct Window<T> {
    /// The next offset to ask the broker for. All before it was delivered here, or did not match.
    position: u64,
    /// Offset, size and message, in the order of offsets: they come at the end and mostly leave at the front.
    held: VecDeque<(u64, usize, T)>,
    bytes: usize,
}

impl<T> Window<T> {
    /// Nothing delivered, reading from `position`.
    pub(super) const fn new(position: u64) -> Self {
        Self { position, held: VecDeque::new(), bytes: 0 }
    }

    /// The next offset to read.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Messages held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Sum of the sizes of the messages held.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How far reading is ahead of what may be committed: what a crash would deliver again, at most.
    pub(super) fn span(&self) -> u64 {
        self.position - self.commit()
    }

    /// Holds a message until it is acked. `false`, and nothing changes, for an offset that was read before.
    pub(super) fn hold(&mut self, offset: u64, bytes: usize, message: T) -> bool {
        if offset < self.position {
            return false;
        }
        self.held.push_back((offset, bytes, message));
        self.bytes += bytes;
        self.position = offset + 1;
        true
    }

    /// Reading goes on at `to`: what lay between did not match, or is gone. Never backwards.
    pub(super) fn advance(&mut self, to: u64) {
        self.position = self.position.max(to);
    }

    /// The message at `offset` is done. `None` when it is not held: acked before, or of an earlier assignment.
    pub(super) fn ack(&mut self, offset: u64) -> Option<T> {
        let (_, bytes, message) = self.held.remove(self.find(offset)?)?;
        self.bytes -= bytes;
        Some(message)
    }

    /// The message at `offset`, if it is held.
    pub(super) fn get_mut(&mut self, offset: u64) -> Option<&mut T> {
        let at = self.find(offset)?;
        self.held.get_mut(at).map(|(.., message)| message)
    }

    fn find(&self, offset: u64) -> Option<usize> {
        self.held.binary_search_by_key(&offset, |(held, ..)| *held).ok()
    }

    /// The offset to commit: the smallest that is not done.
    pub(super) fn commit(&self) -> u64 {
        self.held.front().map_or(self.position, |(first, ..)| *first)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commit_is_the_smallest_unacked() {
        let mut w = Window::new(10);
        for offset in [10, 11, 13] {
            assert!(w.hold(offset, 100, ()));
        }
        w.advance(15);
        assert_eq!((w.commit(), w.position(), w.len(), w.bytes(), w.span()), (10, 15, 3, 300, 5));
        assert!(w.ack(11).is_some());
        assert_eq!(w.commit(), 10);
        assert!(w.ack(10).is_some());
        assert_eq!(w.commit(), 13);
        assert!(w.ack(13).is_some());
        assert_eq!((w.commit(), w.bytes()), (15, 0));
        assert!(w.ack(13).is_none(), "a second ack finds nothing");
    }

    #[test]
    fn what_was_read_is_not_held_again() {
        let mut w = Window::new(5);
        assert!(!w.hold(4, 1, ()));
        assert!(w.hold(5, 1, ()));
        assert!(!w.hold(5, 1, ()));
        assert_eq!((w.len(), w.bytes()), (1, 1));
    }

    proptest! {
        /// DEL-4: whatever is delivered, skipped and acked in whatever order, the commit never passes an unacked offset.
        #[test]
        fn commit_never_passes_an_unacked_offset(
            start in 0_u64..50,
            steps in proptest::collection::vec((0_u8..3, 0_u64..120), 0..200),
        ) {
            let mut window = Window::new(start);
            let mut unacked = BTreeSet::new();
            let mut delivered = BTreeSet::new();
            let mut last = start;
            for (kind, n) in steps {
                match kind {
                    0 => {
                        let offset = window.position() + n % 3;
                        prop_assert!(window.hold(offset, 7, offset));
                        prop_assert!(delivered.insert(offset));
                        unacked.insert(offset);
                    }
                    1 => window.advance(n),
                    _ => prop_assert_eq!(window.ack(n).is_some(), unacked.remove(&n)),
                }
                let commit = window.commit();
                prop_assert!(unacked.iter().all(|offset| commit <= *offset));
                prop_assert!(commit <= window.position());
                prop_assert!(commit >= last, "without a reset the commit only moves on");
                prop_assert!(delivered.range(..commit).all(|offset| !unacked.contains(offset)));
                prop_assert_eq!(window.bytes(), unacked.len() * 7);
                last = commit;
            }
        }
    }
}
