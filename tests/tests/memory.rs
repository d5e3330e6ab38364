//! A broker with default settings and nothing to do stays small, and does nothing.

use skylark_tests::{Folder, Options, Server};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const ANONYMOUS: u64 = 16 * MIB;
const RESIDENT: u64 = 30 * MIB;
/// Ten times the budget of 0.5 % of a core, over five seconds, in ticks of 10 ms.
const TICKS: u64 = 25;

#[test]
fn idle_broker_is_small() {
    let folder = Folder::new();
    let mut server = Server::start(&folder, &Options::default());
    // What a message leaves to be done (a flush, a save) must come to an end.
    let sent = server.link().send("TestTopic", 0, "a", b"hello").expect("an answer");
    assert!(sent.is_ok(), "{sent:?}");
    let before = server.cpu_ticks();
    // Five idle seconds are what is promised about, so the time itself is the matter here.
    let end = Instant::now() + Duration::from_secs(5);
    let (mut anonymous, mut resident) = (0, 0);
    while Instant::now() < end {
        (anonymous, resident) = (server.memory("RssAnon"), server.memory("VmRSS"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let ticks = server.cpu_ticks() - before;
    println!("RssAnon {} KiB, VmRSS {} KiB, {ticks} ticks", anonymous / 1024, resident / 1024);
    assert!(ticks <= TICKS, "{ticks} ticks of CPU in five idle seconds");
    assert!(anonymous < ANONYMOUS, "{anonymous} bytes of anonymous memory");
    assert!(resident < RESIDENT, "{resident} bytes resident");
    server.assert_healthy();
}
