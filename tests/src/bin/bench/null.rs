//! The null server: Skylark's own sockets and frames, and a machine that acknowledges at once and keeps nothing.
//!
//! What it reaches is the ceiling on these cores, the measure that everything else is a ratio of.

use std::collections::VecDeque;
use std::sync::Arc;

use skylark::clock::Clock;
use skylark::engine::Engine;
use skylark::http::Site;
use skylark::listen::Port;
use skylark::machine::{Machine, Stored, Taken};
use skylark_core::ids::{AskId, Call, Caller, ConnId, LinkId, LogPos, StoreId, Ticket};
use skylark_core::output::Output;
use skylark_core::store::StoreError;
use skylark_core::time::{Instant, Now};
use skylark_core::wire::answer::Answer;
use skylark_core::wire::codes::Code;
use skylark_core::wire::reply::{Positions, Pulled, Reply, Sent};
use skylark_core::wire::request::Request;

use crate::load::{BATCH, BODY};

type Lease = Arc<Vec<u8>>;

/// A lease as the server writes it.
#[derive(Clone)]
pub(crate) struct Bytes(Lease);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

struct Null {
    message: Bytes,
    next: u64,
    out: VecDeque<Output<Bytes>>,
}

impl Machine for Null {
    type Lease = Bytes;

    fn handle_request(&mut self, _: Now, call: Call, request: Request<'_>) -> Taken {
        let reply = match request {
            Request::Send(send) => {
                self.next += 1;
                Reply::Sent(Sent {
                    code: Code::SUCCESS,
                    host: ([127, 0, 0, 1], 10911).into(),
                    at: Positions::One(LogPos(self.next * 1200)),
                    queue_id: send.queue_id,
                    queue_offset: self.next,
                    unique_key: String::new(),
                })
            }
            Request::Pull(pull) => Reply::Pulled(Pulled {
                code: Code::SUCCESS,
                remark: "FOUND",
                next: pull.offset + i64::from(BATCH),
                min: 0,
                max: i64::MAX,
                suggest: 0,
                leases: vec![self.message.clone(); BATCH as usize],
            }),
            _ => Reply::Done,
        };
        self.out.push_back(Output::Reply { call, reply });
        Taken::Yes
    }

    fn poll_output(&mut self) -> Option<Output<Bytes>> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn is_stopped(&self) -> bool {
        true
    }

    fn handle_connected(&mut self, _: Now, _: ConnId, _: Caller) {}
    fn handle_answer(&mut self, _: Now, _: ConnId, _: AskId, _: &Answer<'_>) {}
    fn handle_closed(&mut self, _: Now, _: ConnId) {}
    fn handle_linked(&mut self, _: Now, _: LinkId, _: ConnId, _: Caller) {}
    fn handle_link_failed(&mut self, _: Now, _: LinkId, _: &str) {}
    fn handle_stored(&mut self, _: Now, _: StoreId, _: Stored) {}
    fn handle_loaded(&mut self, _: Now, _: Ticket, _: Result<Vec<u8>, StoreError>) {}
    fn handle_timeout(&mut self, _: Now) {}
    fn handle_stop(&mut self, _: Now) {}
}

/// Serves until its standard input ends, as it does when the benchmarks are gone; prints its address first.
pub(crate) fn serve() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // A stored message is some 100 bytes longer than its body.
        let null = Null { message: Bytes(Arc::new(vec![b'x'; BODY + 100])), next: 0, out: VecDeque::new() };
        let engine = Engine::start(null, None, false, Clock::default(), Box::new(|_| ()));
        let port = Port::bind(([127, 0, 0, 1], 0).into(), "--listen").await.expect("a free port");
        println!("{}", port.address());
        port.serve(engine, Arc::new(Site::new(false, String::new(), Vec::new(), &[]))).await;
    });
}
