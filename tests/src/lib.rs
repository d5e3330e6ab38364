//! What the tests that cross crates share: a server process, a raw remoting client, the official Java client, and a reader of
//! the log folder.
//!
//! Nothing here uses `skylark-core`: an oracle that shares the code it judges agrees with its mistakes. Frames, records and
//! checksums are read from the protocol's description a second time, in as few lines as possible.
//!
//! Start at [`Server`] (a `skylark up` process on free ports in a folder of its own) and [`Link`] (one connection to it).
//! The tests are in `tests/*.rs`; each names the ids of the promises that it guards. With `SKYLARK_SOAK=1` the long forms run.
#![allow(
    clippy::missing_panics_doc,
    reason = "a harness reports by panicking, with a sentence that says what was expected"
)]

mod content;
mod folder;
mod java;
mod link;
mod log;
mod random;
mod server;

pub use content::{TAGS, body_of, key_of, tag_of};
pub use folder::Folder;
pub use java::{Java, JavaClient, JavaRun};
pub use link::{Frame, Link, Pulled, Refusal, code, pull_code};
pub use log::{Record, parse_records, scan_log};
pub use random::Random;
pub use server::{Flush, Options, Server, binary};

use std::time::{Duration, Instant};

/// Whether the long forms of the tests were asked for.
pub fn soak() -> bool {
    std::env::var_os("SKYLARK_SOAK").is_some_and(|value| value != "0")
}

/// Asks again, every 10 ms, until `ready` gives a value; panics after `limit` with what was waited for.
pub fn wait_for<T>(what: &str, limit: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
