//! 10,000 malformed frames from one seed (SEC-7, SEC-8, SEC-10, SEC-11, SEC-16): no panic, each connection closed or refused, memory
//! bounded, and a client on another connection notices nothing.
//!
//! The frames are made in `cases/mod.rs`; here is who sends them, what may come back, and what is watched meanwhile.

mod cases;

use cases::{Case, Expect};
use skylark_tests::{Folder, Link, Options, Random, Server};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const SEED: u64 = 0x5eed_0002;
const CASES: usize = 10_000;
const THREADS: usize = 4;
const HELD: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);
const MEMORY: u64 = 64 << 20;

#[test]
fn malformed_frames_harm_nobody() {
    let folder = Folder::new();
    let mut server = Server::start(&folder, &Options::default());
    server.create_topic("bad", 4);
    server.create_topic("calm", 1);
    let (next, done, peak) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));

    // Frames that are begun and never ended; the second kind announces all that a frame may have.
    let unfinished: Vec<_> = (0..HELD).map(|_| hold(&server.broker, &[0, 0, 0, 100, 0, 0, 0, 90, b'{'])).collect();
    let announced: Vec<_> =
        (0..HELD).map(|_| hold(&server.broker, &[0, 0xff, 0xff, 0xf0, 0, 0, 0, 90, b'{'])).collect();
    let held_since = Instant::now();

    std::thread::scope(|scope| {
        let calm = scope.spawn(|| bystander(&server, &done, &peak));
        let workers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= CASES {
                            return;
                        }
                        let mut random = Random::new(SEED.wrapping_add(index as u64));
                        let address = if random.below(3) == 0 { &server.namesrv } else { &server.broker };
                        let case = cases::make(index, &mut random, address);
                        if let Err(wrong) = try_case(address, &case) {
                            let start = &case.bytes[..case.bytes.len().min(200)];
                            panic!("case {index} ({}): {wrong}; it starts with {}", case.what, start.escape_ascii());
                        }
                    }
                })
            })
            .collect();
        let results: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        let sent = calm.join().expect("the client on the other connection saw an error");
        for result in results {
            if let Err(panic) = result {
                std::panic::resume_unwind(panic);
            }
        }
        let kept = server.link().pull_all("calm", 0, 0);
        assert_eq!(kept.len(), sent, "messages of the client on the other connection");
        println!("{sent} calm messages, at most {} KiB of anonymous memory", peak.load(Ordering::Relaxed) / 1024);
    });

    let peak = peak.into_inner() as u64;
    assert!(peak < MEMORY, "anonymous memory grew to {} MiB", peak >> 20);
    for stream in unfinished {
        // A frame must finish within 10 s (SEC-7).
        let left = (held_since + Duration::from_secs(20)).saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1)))).expect("a timeout");
        read_to_end(&stream).unwrap_or_else(|wrong| panic!("a frame that never ends: {wrong}"));
    }
    drop(announced);
    server.assert_healthy();
    assert!(server.stop().success());
}

fn hold(address: &str, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.write_all(bytes).expect("the server reads");
    stream
}

/// Sends and pulls until `done`, and watches the server's memory; returns how many messages it sent.
fn bystander(server: &Server, done: &AtomicBool, peak: &AtomicUsize) -> usize {
    let mut link = server.link();
    let mut sent = 0;
    while !done.load(Ordering::Relaxed) {
        let place = link.send("calm", 0, "", format!("calm {sent}").as_bytes()).expect("the connection holds");
        assert_eq!(place.expect("the send is accepted"), (0, sent as i64));
        let pulled = link.pull("calm", 0, sent as i64, 32, "*").expect("the connection holds");
        assert_eq!(pulled.records.len(), 1, "the message that was just acked");
        sent += 1;
        if sent % 16 == 0 {
            peak.fetch_max(server.memory("RssAnon") as usize, Ordering::Relaxed);
        }
    }
    sent
}

/// Sends one case on a connection of its own and judges what comes back.
fn try_case(address: &str, case: &Case) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).map_err(|error| format!("cannot connect: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    // The server may close before all is written: that is an answer too.
    match stream.write_all(&case.bytes) {
        Err(error) if timed_out(&error) => return Err("the server neither reads nor closes".to_owned()),
        _ => {}
    }
    match case.expect {
        Expect::Closed => read_to_end(&stream).map(drop),
        Expect::ClosedAfterEnd => {
            drop(stream.shutdown(Shutdown::Write));
            read_to_end(&stream).map(drop)
        }
        Expect::Refused => match read_frame(&mut stream)? {
            Some(0) => Err("it was accepted".to_owned()),
            _ => Ok(()),
        },
        Expect::HttpError => {
            let mut line = [0; 12];
            match stream.read_exact(&mut line) {
                Ok(()) if line.starts_with(b"HTTP/1.1 ") && line[9] >= b'4' => Ok(()),
                Ok(()) => Err(format!("it was answered with {}", line.escape_ascii())),
                Err(error) if timed_out(&error) => Err("no answer, and the connection stays open".to_owned()),
                Err(_) => Ok(()),
            }
        }
    }
}

fn timed_out(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn read_to_end(mut stream: &TcpStream) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if timed_out(&error) => Err(format!(
            "the connection stays open; {} bytes came: {}",
            bytes.len(),
            bytes[..bytes.len().min(300)].escape_ascii()
        )),
        _ => Ok(bytes),
    }
}

/// The code of the next frame, or `None` when the connection was closed.
fn read_frame(stream: &mut TcpStream) -> Result<Option<i32>, String> {
    let mut head = [0; 8];
    let read = |stream: &mut TcpStream, bytes: &mut [u8]| match stream.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if timed_out(&error) => Err("no answer, and the connection stays open".to_owned()),
        Err(_) => Ok(false),
    };
    if !read(stream, &mut head)? {
        return Ok(None);
    }
    let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
    let mut header = vec![0; length];
    if !read(stream, &mut header)? {
        return Ok(None);
    }
    if head[4] == 1 {
        return Ok(Some(i32::from(i16::from_be_bytes([header[0], header[1]]))));
    }
    let value: serde_json::Value =
        serde_json::from_slice(&header).map_err(|error| format!("the answer is no JSON: {error}"))?;
    Ok(value["code"].as_i64().map(|code| code as i32))
}

/// The server's own words about it must not grow with it either: a stranger must not be able to fill the disk (SEC-10).
#[test]
fn malformed_frames_do_not_flood_the_log() {
    let folder = Folder::new();
    let server = Server::start(&folder, &Options::default());
    for _ in 0..2000 {
        let stream = hold(&server.broker, &[0xff; 16]);
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        read_to_end(&stream).expect("it is closed");
    }
    let mut link = Link::connect(&server.broker).expect("the server accepts");
    link.create_topic("after", 1);
    let words = server.words().len();
    assert!(words < 64 << 10, "{words} bytes were logged about 2,000 bad connections");
}
