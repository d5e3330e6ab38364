//! A broker with default settings and nothing to do stays small.

use skylark_tests::{Folder, Options, Server};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const ANONYMOUS: u64 = 16 * MIB;
const RESIDENT: u64 = 30 * MIB;

#[test]
fn idle_broker_is_small() {
    let folder = Folder::new();
    let mut server = Server::start(&folder, &Options::default());
    // Five idle seconds are what is promised about, so the time itself is the matter here.
    let end = Instant::now() + Duration::from_secs(5);
    let (mut anonymous, mut resident) = (0, 0);
    while Instant::now() < end {
        (anonymous, resident) = (server.memory("RssAnon"), server.memory("VmRSS"));
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("RssAnon {} KiB, VmRSS {} KiB", anonymous / 1024, resident / 1024);
    assert!(anonymous < ANONYMOUS, "{anonymous} bytes of anonymous memory");
    assert!(resident < RESIDENT, "{resident} bytes resident");
    server.assert_healthy();
}
