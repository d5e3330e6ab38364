//! What a machine wants from the world: one closed list, answered through `handle_*`.
//!
//! A driver calls any number of `handle_*` methods, then takes outputs until there are none, executes them
//! outside the machine's lock, and reports what it must. Order among outputs is the order of effects.

use alloc::string::String;
use alloc::vec::Vec;

use crate::ids::{Call, ConnId, LinkId};
use crate::store::Disk;
use crate::wire::reply::Reply;

/// One effect. `L` is the lease of the machine's store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<L> {
    /// Answer a call. Encoding happens outside the lock; a oneway call's reply is dropped there.
    Reply {
        /// Whom and how.
        call: Call,
        /// What.
        reply: Reply<L>,
    },
    /// Send a request, already encoded as a frame, on a connection. Its answer comes back by its opaque.
    Ask {
        /// Where.
        conn: ConnId,
        /// The whole frame.
        frame: Vec<u8>,
    },
    /// Open a connection. Reported by `handle_linked` with its [`ConnId`], or `handle_link_failed`.
    Dial {
        /// The machine's name for it.
        link: LinkId,
        /// `host:port`.
        address: String,
    },
    /// Close a connection, after what was sent on it. Not reported back.
    Close {
        /// Which.
        conn: ConnId,
    },
    /// Something for the medium.
    Disk(Disk),
    /// A typed event, for logs, metrics and views.
    Note(Note),
}

/// Events that people and tests look at. No text: who shows them words them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A broker registered with a NameServer.
    Registered {
        /// The NameServer.
        namesrv: String,
    },
    /// A registration failed or was refused.
    RegisterFailed {
        /// The NameServer.
        namesrv: String,
        /// Why, in its words.
        why: String,
    },
    /// A NameServer learned of a broker, or of a change in it.
    BrokerUp {
        /// The broker's name.
        broker: String,
        /// Its address.
        address: String,
    },
    /// A NameServer dropped a broker.
    BrokerDown {
        /// The broker's name.
        broker: String,
        /// Its address.
        address: String,
    },
    /// A topic was created.
    TopicCreated {
        /// Its name.
        topic: String,
    },
    /// The medium failed or is full; the broker takes no more writes (DUR-5, STO-1).
    StoreFailed {
        /// In its words.
        why: String,
    },
}
