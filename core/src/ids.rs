//! Small names for things: connections, calls, asks, storage operations, places in the log.

use core::net::SocketAddr;

/// One connection of a driver. Never reused while the driver runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// A request that waits for its reply: where it came from and how the reply must be written.
///
/// It carries all that the reply's header needs, so a parked request needs no table beside it.
/// A peer that uses one opaque twice confuses only itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// The connection to answer on.
    pub conn: ConnId,
    /// The asker's number for this request; may be negative.
    pub opaque: i32,
    /// The request's header was binary (`ROCKETMQ`), so the reply's is too.
    pub binary: bool,
    /// The asker wants no answer: none is written, whatever the outcome.
    pub oneway: bool,
}

/// A request that a machine sent to a peer. It is the `opaque` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub i32);

/// A link that a machine dials and keeps: its own name for it, whatever connection carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// A storage operation in flight; answered once, with success or failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(pub u64);

/// A load in flight: what was missing in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A position in the CommitLog, in bytes from its very beginning ("physical offset").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPos(pub u64);

impl LogPos {
    /// The position `len` bytes further.
    #[must_use]
    pub const fn plus(self, len: u64) -> Self {
        Self(self.0 + len)
    }
}

/// The number of a message in its queue, from 0.
pub type QueueOffset = u64;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The peer's address as this process sees it.
    pub peer: SocketAddr,
    /// The local address that the peer reached.
    pub local: SocketAddr,
}

impl Caller {
    /// IPv4 addresses stand as such, also where a socket for both families took them: they end in records and routes.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { peer: plain(peer), local: plain(local) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_peer_of_a_socket_for_both_families_is_an_ipv4_peer() {
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:9876".parse().expect("an address");
        let six: SocketAddr = "[2001:db8::1]:9876".parse().expect("an address");
        assert_eq!(Caller::new(mapped, six), Caller { peer: ([10, 0, 0, 1], 9876).into(), local: six });
    }
}
