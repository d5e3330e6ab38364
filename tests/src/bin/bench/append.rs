//! Appending without sockets: the core Broker over a medium that takes everything and keeps nothing.

use std::hint::black_box;
use std::time::Instant as StdInstant;

use skylark_core::broker::{Broker, BrokerConfig, Tables, Taken};
use skylark_core::ids::{Call, ConnId, LogPos};
use skylark_core::output::Output;
use skylark_core::session::{Incoming, Session};
use skylark_core::store::opening::Opened;
use skylark_core::store::{Disk, Read, Room, Store};
use skylark_core::time::{Instant, Now, Unix};

use crate::load::{cpu_of, send_frame};

/// Messages in a batch, as one read of a busy connection brings them.
const BATCH: usize = 64;
/// Bytes of a segment.
const SEGMENT: u64 = 1 << 30;

/// Takes everything, keeps nothing.
struct Sink;

impl Store for Sink {
    type Lease = Vec<u8>;
    fn read(&self, _: LogPos, _: usize) -> Read<Vec<u8>> {
        Read::Damaged
    }
    fn room(&self, _: LogPos) -> Room {
        Room::Ready
    }
}

/// Nanoseconds for a message of 1 KiB: encoding, checksum, queue offset, dispatch, acknowledgement.
pub(crate) fn nanoseconds(seconds: f64) -> f64 {
    let started = StdInstant::now();
    let now = || Now { mono: Instant(started.elapsed().as_micros() as u64), wall: Unix(1_700_000_000_000) };
    let opened = Opened::empty(SEGMENT, true);
    let mut broker = Broker::new(BrokerConfig::default(), Sink, opened, Tables::default(), 1, now());
    let mut frames: Vec<u8> = (0..BATCH).flat_map(|n| send_frame((n % 4) as i32)).collect();
    let mut session = Session::new(ConnId(1));
    // Frames are read once: reading them is not what is measured here.
    let used = session.split(&mut frames).expect("whole frames");
    assert_eq!((used, session.len()), (frames.len(), BATCH));
    let mut turn = || {
        for at in 0..BATCH {
            let Some(Incoming::Request(call, request)) = session.get(at, &frames) else { panic!("not a send") };
            assert!(matches!(broker.handle_request(now(), Call { ..call }, request), Taken::Yes));
        }
        let mut acknowledged = 0;
        while let Some(output) = broker.poll_output() {
            match output {
                Output::Disk(Disk::Write { id, bytes, .. }) => {
                    broker.handle_stored(now(), id, Ok(Some(black_box(bytes))));
                }
                Output::Disk(
                    Disk::Flush { id } | Disk::Prepare { id, .. } | Disk::Units { id, .. } | Disk::Put { id, .. },
                ) => broker.handle_stored(now(), id, Ok(None)),
                Output::Reply { reply, .. } => {
                    black_box(&reply);
                    acknowledged += 1;
                }
                _ => {}
            }
        }
        assert_eq!(acknowledged, BATCH);
        if broker.poll_timeout().is_some_and(|due| due <= now().mono) {
            broker.handle_timeout(now());
        }
    };
    for _ in 0..1000 {
        turn();
    }
    // CPU time of this process, of which only this thread runs: waiting for a core is not the append's cost.
    let (start, mut messages, cpu) = (StdInstant::now(), 0, cpu_of(std::process::id()));
    while start.elapsed().as_secs_f64() < seconds {
        turn();
        messages += BATCH;
    }
    (cpu_of(std::process::id()) - cpu) * 1e9 / messages as f64
}
