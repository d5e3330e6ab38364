//! The load generator: a window of requests on one connection, or one request on each of many.
//!
//! Frames are made once; while the clock runs only lengths and codes of the answers are looked at. One thread makes all the
//! load, so that it takes no more than one core from the server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use skylark_core::ids::AskId;
use skylark_core::time::Unix;
use skylark_core::wire::encode;
use skylark_core::wire::request::{PullMessage, Request, SendMessage};

/// Bytes of a message's body.
pub(crate) const BODY: usize = 1024;
/// Messages asked for by one pull.
pub(crate) const BATCH: i32 = 32;
/// The topic that all is sent to.
pub(crate) const TOPIC: &str = "BenchTopic";
/// Load before the clock runs.
const WARM: Duration = Duration::from_millis(300);

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// Messages.
    pub(crate) messages: u64,
    /// Wall time.
    pub(crate) seconds: f64,
    /// CPU time of the server, seconds.
    pub(crate) cpu: f64,
}

impl Done {
    /// Messages a second.
    pub(crate) fn rate(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// Microseconds of the server's CPU for a message.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu * 1e6 / self.messages as f64
    }
}

/// CPU seconds that a process has used.
pub(crate) fn cpu_of(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the server runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a process name").1.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks");
    // Fields 14 and 15 of the line; a tick is 10 ms on every Linux that Rust runs on.
    (ticks(11) + ticks(12)) / 100.0
}

/// One send of 1 KiB, as a Java client writes it.
pub(crate) fn send_frame(queue_id: i32) -> Vec<u8> {
    let body = vec![b'x'; BODY];
    let send = SendMessage {
        group: "bench",
        topic: TOPIC,
        default_topic: "TBW102",
        default_topic_queues: 4,
        queue_id,
        sys_flag: 0,
        born: Unix(1_700_000_000_000),
        flag: 0,
        properties: "UNIQ_KEY\u{1}7F00000100002A139A7C0000000000FF\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}",
        reconsume_times: 0,
        max_reconsume_times: None,
        batch: false,
        body: &body,
    };
    let mut out = Vec::new();
    encode::request(&Request::Send(send), AskId(queue_id), false, &mut out);
    out
}

fn pull_frame(queue_id: i32, offset: i64) -> Vec<u8> {
    let pull = PullMessage {
        group: "bench",
        topic: TOPIC,
        queue_id,
        offset,
        max: BATCH,
        max_bytes: None,
        sys_flag: 4,
        commit_offset: 0,
        suspend_ms: 0,
        subscription: Some("*"),
        sub_version: 0,
        expression_type: Some("TAG"),
    };
    let mut out = Vec::new();
    encode::request(&Request::Pull(pull), AskId(queue_id), false, &mut out);
    out
}

pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
    stream.set_nodelay(true).expect("a socket takes nodelay");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket takes a timeout");
    stream
}

/// Answers as they come.
struct Answers {
    buffer: Vec<u8>,
    filled: usize,
}

impl Answers {
    fn new() -> Self {
        Self { buffer: vec![0; 512 << 10], filled: 0 }
    }

    /// Reads once; gives each whole frame to `each` and the number of them back.
    fn read(&mut self, stream: &mut impl Read, mut each: impl FnMut(&[u8])) -> std::io::Result<usize> {
        let n = stream.read(&mut self.buffer[self.filled..])?;
        assert!(n > 0, "the server closed the connection");
        self.filled += n;
        let (mut at, mut count) = (0, 0);
        while let Some(len) = self.buffer[at..self.filled].first_chunk::<4>() {
            let end = at + 4 + u32::from_be_bytes(*len) as usize;
            if end > self.filled {
                break;
            }
            each(&self.buffer[at..end]);
            at = end;
            count += 1;
        }
        self.buffer.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(count)
    }
}

/// Every answer must say success, or the figure would be of refusals.
fn check(frame: &[u8]) {
    let good = frame[8..].starts_with(b"{\"code\":0,");
    assert!(good, "not stored: {}", String::from_utf8_lossy(&frame[8..frame.len().min(400)]));
}

/// Keeps `window` sends in flight on one connection.
pub(crate) fn send(address: &str, pid: u32, window: usize, seconds: f64) -> Done {
    let mut stream = connect(address);
    let frames: Vec<u8> = (0..window as i32).flat_map(|n| send_frame(n % 4)).collect();
    let one = frames.len() / window;
    stream.write_all(&frames).expect("the server takes bytes");
    let mut answers = Answers::new();
    let mut open = window;
    let done = measure(pid, seconds, || {
        let count = answers.read(&mut stream, check).expect("answers");
        stream.write_all(&frames[..count * one]).expect("the server takes bytes");
        count as u64
    });
    while open > 0 {
        open -= answers.read(&mut stream, check).expect("answers");
    }
    done
}

fn measure(pid: u32, seconds: f64, mut step: impl FnMut() -> u64) -> Done {
    let warm = Instant::now() + WARM;
    while Instant::now() < warm {
        step();
    }
    let (start, cpu) = (Instant::now(), cpu_of(pid));
    let mut messages = 0;
    while start.elapsed().as_secs_f64() < seconds {
        messages += step();
    }
    Done { messages, seconds: start.elapsed().as_secs_f64(), cpu: cpu_of(pid) - cpu }
}

/// One send in flight on each of `count` connections.
pub(crate) fn send_many(address: &str, pid: u32, count: usize, seconds: f64) -> Done {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (messages, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut tasks = Vec::new();
        for n in 0..count {
            let (messages, stop, address) = (Arc::clone(&messages), Arc::clone(&stop), address.to_owned());
            tasks.push(tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let mut stream = tokio::net::TcpStream::connect(&address).await.expect("connects");
                stream.set_nodelay(true).expect("a socket takes nodelay");
                let frame = send_frame((n % 4) as i32);
                let mut answer = vec![0; 4096];
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(&frame).await.expect("the server takes bytes");
                    let mut filled = 0;
                    loop {
                        filled += stream.read(&mut answer[filled..]).await.expect("an answer");
                        let len = answer.first_chunk::<4>().filter(|_| filled >= 4);
                        if len.is_some_and(|len| filled >= 4 + u32::from_be_bytes(*len) as usize) {
                            break;
                        }
                    }
                    check(&answer[..filled]);
                    messages.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        tokio::time::sleep(WARM).await;
        let (start, cpu, before) = (Instant::now(), cpu_of(pid), messages.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        let counted = messages.load(Ordering::Relaxed) - before;
        let done = Done { messages: counted, seconds: start.elapsed().as_secs_f64(), cpu: cpu_of(pid) - cpu };
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("a connection's load");
        }
        done
    })
}

/// Fills queue 0 with `count` messages.
pub(crate) fn fill(address: &str, count: usize) {
    let mut stream = connect(address);
    let frames: Vec<u8> = (0..64).flat_map(|_| send_frame(0)).collect();
    let mut answers = Answers::new();
    for _ in 0..count.div_ceil(64) {
        stream.write_all(&frames).expect("the server takes bytes");
        let mut open = 64;
        while open > 0 {
            open -= answers.read(&mut stream, check).expect("answers");
        }
    }
}

/// Pulls queue 0 from its beginning to `end`, over and over, one pull at a time.
pub(crate) fn pull(address: &str, pid: u32, end: i64, seconds: f64) -> Done {
    let mut stream = connect(address);
    let mut answers = Answers::new();
    let mut offset = 0;
    measure(pid, seconds, || {
        if offset >= end {
            offset = 0;
        }
        stream.write_all(&pull_frame(0, offset)).expect("the server takes bytes");
        let mut next = None;
        while next.is_none() {
            answers
                .read(&mut stream, |frame| {
                    check(frame);
                    next = Some(next_offset(frame));
                })
                .expect("answers");
        }
        let before = std::mem::replace(&mut offset, next.unwrap_or_default());
        assert!(offset > before, "a pull at {before} gave nothing");
        (offset - before) as u64
    })
}

/// Where the next pull goes on: an answer may hold fewer messages than were asked for.
fn next_offset(frame: &[u8]) -> i64 {
    const NAME: &[u8] = b"\"nextBeginOffset\":\"";
    let head = &frame[8..frame.len().min(400)];
    let at = head.windows(NAME.len()).position(|w| w == NAME).expect("a next offset") + NAME.len();
    let digits = head[at..].iter().take_while(|b| b.is_ascii_digit());
    digits.fold(0, |n, b| n * 10 + i64::from(b - b'0'))
}
