//! The server is killed with KILL in the middle of sends, again and again (DUR-1, ORD-1, DEL-3, STO-2, STO-6): no acked
//! message is lost, none is damaged, offsets go on and no offset is given to a second message.

use skylark_tests::{Folder, Link, Options, Random, Record, Server, scan_log, soak};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const SEED: u64 = 0x5eed_0001;
const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 16;
const QUEUES: i32 = 4;
const TOPIC: &str = "kill9";

/// What the producers know.
#[derive(Default)]
struct Known {
    /// Acked: place to body.
    acked: BTreeMap<(i32, i64), Vec<u8>>,
    /// All bodies that were ever written to a connection.
    sent: BTreeSet<Vec<u8>>,
    /// Sends that were refused, though nothing was wrong with them.
    refused: Vec<String>,
}

#[test]
fn kill_while_sending_with_sync_flush() {
    kill_while_sending(&Options::sync(), if soak() { 500 } else { 50 });
}

/// What is in the page cache outlives the process: with async flush a kill loses nothing either.
#[test]
fn kill_while_sending_with_async_flush() {
    kill_while_sending(&Options::default(), if soak() { 200 } else { 20 });
}

fn kill_while_sending(options: &Options, rounds: usize) {
    let folder = Folder::new();
    let mut random = Random::new(SEED);
    let known = Mutex::new(Known::default());
    let mut server = Server::start(&folder, options);
    server.create_topic(TOPIC, QUEUES as u32);
    let mut checked = Checked::default();
    for round in 0..rounds {
        let acks = 20 + random.below(300);
        send_and_kill(server, round, acks, random.bits(), &known);
        server = Server::start(&folder, options);
        checked.follow(&mut server.link(), &known.lock().expect("the producers' knowledge"), round);
    }
    let known = known.into_inner().expect("the producers' knowledge");
    assert!(known.refused.is_empty(), "sends were refused: {:?}", &known.refused[..known.refused.len().min(3)]);
    assert!(known.acked.len() >= rounds * 20, "only {} sends were acked", known.acked.len());

    // Once more from the beginning, over a start after a clean stop and one after a kill: the same (STO-6).
    let mut whole = Checked::default();
    whole.follow(&mut server.link(), &known, rounds);
    server.assert_healthy();
    assert!(server.stop().success());
    for _ in 0..2 {
        let server = Server::start(&folder, options);
        let mut again = Checked::default();
        again.follow(&mut server.link(), &known, rounds);
        assert_eq!(again.queues, whole.queues, "a second recovery gave another state");
        server.kill();
    }
    let mut in_log = BTreeMap::new();
    scan_log(&folder.join("store"), |record| {
        if record.topic == TOPIC {
            assert!(
                in_log.insert((record.queue, record.offset), record.body).is_none(),
                "an offset is in the log twice"
            );
        }
    });
    for (place, body) in &known.acked {
        assert_eq!(in_log.get(place), Some(body), "the acked message at {place:?}");
    }
    println!("{rounds} kills, {} sent, {} acked, {} in the log", known.sent.len(), known.acked.len(), in_log.len());
}

/// Several producers, each with several sends in flight; after `acks` answers the server is killed, whatever it is doing.
fn send_and_kill(server: Server, round: usize, acks: usize, seed: u64, known: &Mutex<Known>) {
    let count = AtomicUsize::new(0);
    let broker = server.broker.clone();
    let (reached, wait) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (broker, count, reached) = (&broker, &count, reached.clone());
            let mut random = Random::new(seed ^ connection as u64);
            scope.spawn(move || {
                // Another thread's answers may have been enough already.
                let Ok(mut link) = Link::connect(broker) else { return };
                let mut open: BTreeMap<i32, (i32, Vec<u8>)> = BTreeMap::new();
                for number in 0.. {
                    let queue = random.below(QUEUES as usize) as i32;
                    let mut body = format!("{round}/{connection}/{number}/").into_bytes();
                    let length = random.below(3000);
                    body.extend(random.bytes(length));
                    known.lock().expect("knowledge").sent.insert(body.clone());
                    let Ok(opaque) = link.ask_send(TOPIC, queue, "", &body) else { return };
                    open.insert(opaque, (queue, body));
                    if open.len() < IN_FLIGHT {
                        continue;
                    }
                    let Ok(reply) = link.answer() else { return };
                    let (queue, body) = open.remove(&reply.opaque).expect("an answer to one of ours");
                    let mut known = known.lock().expect("knowledge");
                    if reply.code == 0 {
                        let place = (reply.number("queueId") as i32, reply.number("queueOffset"));
                        assert_eq!(place.0, queue, "it went to another queue");
                        let before = known.acked.insert(place, body);
                        assert!(before.is_none(), "round {round}: the offset {place:?} was acked for a second message");
                    } else {
                        known.refused.push(format!("round {round}: {} {}", reply.code, reply.remark));
                        let _ = reached.send(());
                    }
                    if count.fetch_add(1, Ordering::Relaxed) + 1 == acks {
                        let _ = reached.send(());
                    }
                }
            });
        }
        drop(reached);
        let _ = wait.recv();
        server.kill();
    });
}

/// What was read so far, queue by queue.
#[derive(Default)]
struct Checked {
    queues: BTreeMap<i32, Vec<Vec<u8>>>,
}

impl Checked {
    /// Reads on from where the last round ended, and judges all that is new.
    fn follow(&mut self, link: &mut Link, known: &Known, round: usize) {
        for queue in 0..QUEUES {
            let seen = self.queues.entry(queue).or_default();
            let from = seen.len() as i64;
            let records: Vec<Record> = link.pull_all(TOPIC, queue, from);
            for record in records {
                let place = (queue, seen.len() as i64);
                assert_eq!((record.queue, record.offset), place, "round {round}: offsets have a gap");
                assert!(known.sent.contains(&record.body), "round {round}: the message at {place:?} was never sent");
                if let Some(body) = known.acked.get(&place) {
                    assert_eq!(*body, record.body, "round {round}: another message than the acked one is at {place:?}");
                }
                seen.push(record.body);
            }
            let max = link.max_offset(TOPIC, queue);
            assert_eq!(
                max,
                seen.len() as i64,
                "round {round}: queue {queue} says that it has more or fewer than it serves"
            );
            let acked =
                known.acked.range((queue, 0)..(queue + 1, 0)).next_back().map_or(0, |((_, offset), _)| offset + 1);
            assert!(acked <= max, "round {round}: queue {queue} ends at {max}, but {acked} were acked");
        }
        let bodies = self.queues.values().flatten();
        let distinct: BTreeSet<_> = bodies.clone().collect();
        assert_eq!(distinct.len(), bodies.count(), "round {round}: a message that was sent once is there twice");
    }
}
