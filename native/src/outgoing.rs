//! What a connection still has to send: encoded heads and leases of stored messages, in order, written together.
//!
//! A body is never copied: its leases go to the socket in one vectored write with the heads around them.

use std::collections::VecDeque;
use std::io::IoSlice;

/// Pieces that one write takes.
pub(crate) const SLICES: usize = 64;
/// What the head buffer may keep while nothing is to be sent. Bytes.
const KEEP: usize = 4 << 10;

#[derive(Debug)]
enum Piece<L> {
    /// So many bytes of `heads`.
    Head(usize),
    /// Bytes of its own: what must stand before pieces whose length was not known yet.
    Own(Vec<u8>),
    Lease(L),
}

/// Bytes to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing<L> {
    heads: Vec<u8>,
    /// Bytes of `heads` that are sent.
    heads_sent: usize,
    pieces: VecDeque<Piece<L>>,
    /// Bytes of the first piece that are sent, when it is no head.
    sent: usize,
    len: usize,
    /// Where the open group begins: a piece, and `len` before it.
    group: (usize, usize),
}

impl<L: AsRef<[u8]>> Default for Outgoing<L> {
    fn default() -> Self {
        Self { heads: Vec::new(), heads_sent: 0, pieces: VecDeque::new(), sent: 0, len: 0, group: (0, 0) }
    }
}

impl<L: AsRef<[u8]>> Outgoing<L> {
    /// Bytes still to be sent.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether all is sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes taken, without leases.
    pub(crate) fn capacity(&self) -> usize {
        self.heads.capacity() + self.pieces.capacity() * size_of::<Piece<L>>()
    }

    /// Appends what `write` appends.
    pub(crate) fn head(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.heads.len();
        write(&mut self.heads);
        let added = self.heads.len() - before;
        self.len += added;
        let within = self.group.0 < self.pieces.len();
        match self.pieces.back_mut() {
            Some(Piece::Head(len)) if within => *len += added,
            _ if added > 0 => self.pieces.push_back(Piece::Head(added)),
            _ => {}
        }
    }

    /// Appends a lease.
    pub(crate) fn lease(&mut self, lease: L) {
        let len = lease.as_ref().len();
        if len > 0 {
            self.len += len;
            self.pieces.push_back(Piece::Lease(lease));
        }
    }

    /// Begins a group of pieces.
    pub(crate) fn open(&mut self) {
        self.group = (self.pieces.len(), self.len);
    }

    /// Bytes in the open group.
    pub(crate) fn group_len(&self) -> usize {
        self.len - self.group.1
    }

    /// Ends the group: what `front` gives for its length is put before it, unless the group is empty.
    pub(crate) fn close(&mut self, front: impl FnOnce(usize) -> Vec<u8>) {
        let len = self.group_len();
        if len > 0 {
            let front = front(len);
            self.len += front.len();
            self.pieces.insert(self.group.0, Piece::Own(front));
        }
        self.open();
    }

    /// The next slices to write.
    pub(crate) fn slices<'a>(&'a self, into: &mut [IoSlice<'a>; SLICES]) -> usize {
        let (mut count, mut head, mut sent) = (0, self.heads_sent, self.sent);
        for (slot, piece) in into.iter_mut().zip(&self.pieces) {
            let bytes = match piece {
                Piece::Head(len) => {
                    head += len;
                    &self.heads[head - len..head]
                }
                Piece::Own(bytes) => &bytes[sent..],
                Piece::Lease(lease) => &lease.as_ref()[sent..],
            };
            sent = 0;
            *slot = IoSlice::new(bytes);
            count += 1;
        }
        count
    }

    /// `n` bytes were written.
    pub(crate) fn advance(&mut self, mut n: usize) {
        self.len -= n;
        while n > 0 {
            let Some(piece) = self.pieces.front_mut() else { break };
            let left = match piece {
                Piece::Head(len) => *len,
                Piece::Own(bytes) => bytes.len() - self.sent,
                Piece::Lease(lease) => lease.as_ref().len() - self.sent,
            };
            let took = n.min(left);
            n -= took;
            if let Piece::Head(len) = piece {
                *len -= took;
                self.heads_sent += took;
            } else {
                self.sent += took;
            }
            if took == left {
                self.pieces.pop_front();
                self.sent = 0;
            }
        }
        // What is sent goes at once when nothing follows it, else when it is the larger part.
        if self.len == 0 || self.heads_sent >= KEEP.max(self.heads.len() / 2) {
            self.heads.drain(..self.heads_sent);
            self.heads_sent = 0;
        }
        self.group = (self.pieces.len(), self.len);
    }

    /// Gives memory back while nothing is to be sent.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() && self.capacity() > KEEP {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(out: &mut Outgoing<Vec<u8>>, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = out.slices(&mut slices);
            let flat: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            let n = step.min(flat.len());
            all.extend_from_slice(&flat[..n]);
            out.advance(n);
        }
        all
    }

    #[test]
    fn heads_leases_and_groups_come_out_in_order_whatever_a_write_takes() {
        for step in [1, 2, 3, 5, 100] {
            let mut out = Outgoing::<Vec<u8>>::default();
            out.open();
            out.head(|b| b.extend_from_slice(b"ab"));
            out.lease(b"CDE".to_vec());
            out.lease(Vec::new());
            out.head(|b| b.extend_from_slice(b"f"));
            out.head(|b| b.extend_from_slice(b"g"));
            out.close(|len| format!("<{len}>").into_bytes());
            out.close(|_| unreachable!("an empty group has no front"));
            out.head(|b| b.extend_from_slice(b"hi"));
            out.close(|len| format!("<{len}>").into_bytes());
            assert_eq!(out.len(), 15);
            assert_eq!(bytes(&mut out, step), b"<7>abCDEfg<2>hi");
            assert_eq!(out.heads.len(), 0);
        }
    }

    #[test]
    fn a_peer_that_is_always_a_little_behind_costs_no_more_than_that_sec_10() {
        let mut out = Outgoing::<Vec<u8>>::default();
        out.head(|b| b.extend_from_slice(&[0; 100]));
        for n in 0..100_000_u32 {
            out.head(|b| b.extend_from_slice(&[n as u8; 100]));
            out.advance(100);
            let mut slices = [IoSlice::new(&[]); SLICES];
            assert_eq!((out.slices(&mut slices), slices[0][0]), (1, n as u8));
        }
        assert!(out.capacity() < 100_000, "{} bytes", out.capacity());
    }
}
