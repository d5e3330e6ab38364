//! Very many queues need neither a file of Apache's full size on disk, nor a mapping, nor an open file each.

use skylark_tests::{Folder, Frame, Link, Options, Server, soak};

const QUEUES: u32 = 8;
const IN_FLIGHT: usize = 64;

#[test]
fn many_queues_cost_little() {
    // By the layout's file size every queue would have 6 MB: 48 GB for 1,000 topics, 480 GB for 10,000.
    let topics = if soak() { 10_000 } else { 1_000 };
    let folder = Folder::new();
    let mut server = Server::start(&folder, &Options::default());
    let mut link = server.link();
    create(&mut link, topics);
    fill(&mut link, topics);
    check(&mut link, topics);
    server.assert_healthy();
    let limit_for_files = 4096;
    assert!(server.mappings() < limit_for_files, "{} mappings", server.mappings());
    assert!(server.open_files() < limit_for_files, "{} open files", server.open_files());
    drop(link);
    assert!(server.stop().success());
    // At most two blocks of 4 KiB for each queue and its folder, and the log with what is allocated ahead of it.
    let (disk, limit) = (folder.disk_bytes(), topics as u64 * u64::from(QUEUES) * 3 * 4096 + (256 << 20));
    assert!(disk < limit, "{} MiB on disk for {topics} topics", disk >> 20);

    let mut server = Server::start(&folder, &Options::default());
    check(&mut server.link(), topics);
    assert!(server.mappings() < limit_for_files, "{} mappings after the restart", server.mappings());
    assert!(server.open_files() < limit_for_files, "{} open files after the restart", server.open_files());
    server.assert_healthy();
}

fn name(topic: usize) -> String {
    format!("many-{topic}")
}

/// Asks for many topics at once: each answer waits until the table of topics is saved, which then holds many of them.
fn create(link: &mut Link, topics: usize) {
    let mut open = 0;
    for topic in 0..topics {
        link.ask_create_topic(&name(topic), QUEUES).expect("a creation");
        open += 1;
        if open == IN_FLIGHT {
            take(link);
            open -= 1;
        }
    }
    (0..open).for_each(|_| drop(take(link)));
}

fn take(link: &mut Link) -> Frame {
    let reply = link.answer().expect("an answer");
    assert_eq!(reply.code, 0, "{}", reply.remark);
    reply
}

/// One message into every queue.
fn fill(link: &mut Link, topics: usize) {
    let mut open = 0;
    let take = |link: &mut Link| assert_eq!(take(link).number("queueOffset"), 0);
    for topic in 0..topics {
        for queue in 0..QUEUES as i32 {
            link.ask_send(&name(topic), queue, "", name(topic).as_bytes()).expect("a send");
            open += 1;
            if open == IN_FLIGHT {
                take(link);
                open -= 1;
            }
        }
    }
    for _ in 0..open {
        take(link);
    }
}

/// Every queue of some topics, spread over all of them.
fn check(link: &mut Link, topics: usize) {
    for topic in (0..topics).step_by(37).chain([topics - 1]) {
        for queue in 0..QUEUES as i32 {
            let records = link.pull_all(&name(topic), queue, 0);
            let bodies: Vec<_> = records.iter().map(|record| record.body.as_slice()).collect();
            assert_eq!(bodies, [name(topic).as_bytes()], "queue {queue} of {}", name(topic));
        }
    }
}
