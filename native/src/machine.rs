//! What the engine drives: the one shape that a Broker and a NameServer share, and what carries out a machine's disk operations.
//!
//! No rule of RocketMQ is here; both traits only give names to what core already has.

use skylark_core::broker::Broker;
use skylark_core::ids::{AskId, Call, Caller, ConnId, LinkId, StoreId, Ticket};
use skylark_core::namesrv::{NameServer, NoLease};
use skylark_core::output::Output;
use skylark_core::store::{Disk, Done, Store, StoreError};
use skylark_core::time::{Instant, Now};
use skylark_core::wire::answer::Answer;
use skylark_core::wire::reply::Reply;
use skylark_core::wire::request::Request;

/// What becomes of a request, see [`Machine::handle_request`].
pub use skylark_core::broker::Taken;

/// The result of a storage operation: a write gives its buffer back.
pub type Stored = Result<Option<Vec<u8>>, StoreError>;

/// A core machine: facts in through `handle_*`, effects out through `poll_output`.
pub trait Machine: Send + 'static {
    /// Counted bytes of stored messages.
    type Lease: AsRef<[u8]> + Clone + Send + 'static;

    /// Someone connected.
    fn handle_connected(&mut self, now: Now, conn: ConnId, caller: Caller);
    /// A request came. [`Taken::Later`]: present it again after the next completion of a disk operation.
    fn handle_request(&mut self, now: Now, call: Call, request: Request<'_>) -> Taken;
    /// An answer to an ask came.
    fn handle_answer(&mut self, now: Now, conn: ConnId, ask: AskId, answer: &Answer<'_>);
    /// A connection is gone.
    fn handle_closed(&mut self, now: Now, conn: ConnId);
    /// A dial succeeded.
    fn handle_linked(&mut self, now: Now, link: LinkId, conn: ConnId, caller: Caller);
    /// A dial failed.
    fn handle_link_failed(&mut self, now: Now, link: LinkId, why: &str);
    /// A disk operation is complete.
    fn handle_stored(&mut self, now: Now, id: StoreId, result: Stored);
    /// A load is complete.
    fn handle_loaded(&mut self, now: Now, ticket: Ticket, result: Result<Vec<u8>, StoreError>);
    /// The deadline has passed.
    fn handle_timeout(&mut self, now: Now);
    /// Stop gracefully.
    fn handle_stop(&mut self, now: Now);
    /// Whether all is durable after `handle_stop`.
    fn is_stopped(&self) -> bool;
    /// The next effect.
    fn poll_output(&mut self) -> Option<Output<Self::Lease>>;
    /// When to call `handle_timeout`.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// What carries out a machine's disk operations.
pub trait Medium: Send + Sync + 'static {
    /// Carries out one operation, blocking until it is done. Several may be under way at once.
    fn execute(&self, disk: Disk) -> Done;
}

impl Medium for crate::store::Volume {
    fn execute(&self, disk: Disk) -> Done {
        crate::store::Volume::execute(self, disk)
    }
}

impl<S> Machine for Broker<S>
where
    S: Store + Send + 'static,
    S::Lease: Send + 'static,
{
    type Lease = S::Lease;

    fn handle_connected(&mut self, now: Now, conn: ConnId, caller: Caller) {
        Broker::handle_connected(self, now, conn, caller);
    }
    fn handle_request(&mut self, now: Now, call: Call, request: Request<'_>) -> Taken {
        Broker::handle_request(self, now, call, request)
    }
    fn handle_answer(&mut self, now: Now, conn: ConnId, ask: AskId, answer: &Answer<'_>) {
        Broker::handle_answer(self, now, conn, ask, answer);
    }
    fn handle_closed(&mut self, now: Now, conn: ConnId) {
        Broker::handle_closed(self, now, conn);
    }
    fn handle_linked(&mut self, now: Now, link: LinkId, conn: ConnId, caller: Caller) {
        Broker::handle_linked(self, now, link, conn, caller);
    }
    fn handle_link_failed(&mut self, now: Now, link: LinkId, why: &str) {
        Broker::handle_link_failed(self, now, link, why);
    }
    fn handle_stored(&mut self, now: Now, id: StoreId, result: Stored) {
        Broker::handle_stored(self, now, id, result);
    }
    fn handle_loaded(&mut self, now: Now, ticket: Ticket, result: Result<Vec<u8>, StoreError>) {
        Broker::handle_loaded(self, now, ticket, result);
    }
    fn handle_timeout(&mut self, now: Now) {
        Broker::handle_timeout(self, now);
    }
    fn handle_stop(&mut self, now: Now) {
        Broker::handle_stop(self, now);
    }
    fn is_stopped(&self) -> bool {
        Broker::is_stopped(self)
    }
    fn poll_output(&mut self) -> Option<Output<S::Lease>> {
        Broker::poll_output(self)
    }
    fn poll_timeout(&self) -> Option<Instant> {
        Broker::poll_timeout(self)
    }
}

/// A NameServer dials nobody and stores nothing.
impl Machine for NameServer {
    type Lease = NoLease;

    fn handle_connected(&mut self, now: Now, conn: ConnId, caller: Caller) {
        NameServer::handle_connected(self, now, conn, caller);
    }
    fn handle_request(&mut self, now: Now, call: Call, request: Request<'_>) -> Taken {
        NameServer::handle_request(self, now, call, &request);
        Taken::Yes
    }
    fn handle_answer(&mut self, _: Now, _: ConnId, _: AskId, _: &Answer<'_>) {}
    fn handle_closed(&mut self, now: Now, conn: ConnId) {
        NameServer::handle_closed(self, now, conn);
    }
    fn handle_linked(&mut self, _: Now, _: LinkId, _: ConnId, _: Caller) {}
    fn handle_link_failed(&mut self, _: Now, _: LinkId, _: &str) {}
    fn handle_stored(&mut self, _: Now, _: StoreId, _: Stored) {}
    fn handle_loaded(&mut self, _: Now, _: Ticket, _: Result<Vec<u8>, StoreError>) {}
    fn handle_timeout(&mut self, now: Now) {
        NameServer::handle_timeout(self, now);
    }
    fn handle_stop(&mut self, _: Now) {}
    fn is_stopped(&self) -> bool {
        true
    }
    fn poll_output(&mut self) -> Option<Output<NoLease>> {
        NameServer::poll_output(self)
    }
    fn poll_timeout(&self) -> Option<Instant> {
        NameServer::poll_timeout(self)
    }
}

/// The leases of a reply, in the order in which they follow its head.
pub(crate) fn leases<L>(reply: Reply<L>) -> Vec<L> {
    match reply {
        Reply::Pulled(pulled) => pulled.leases,
        Reply::Messages(leases) => leases,
        _ => Vec::new(),
    }
}
