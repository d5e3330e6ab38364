//! The engine, connections and listeners together, over loopback, with a machine small enough to see through.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use skylark_core::ids::{AskId, Call, Caller, ConnId, LinkId, LogPos, StoreId, Ticket};
use skylark_core::output::{Note, Output};
use skylark_core::store::{Disk, Done, StoreError};
use skylark_core::time::{Instant, Now};
use skylark_core::wire::answer::Answer;
use skylark_core::wire::encode;
use skylark_core::wire::reply::Reply;
use skylark_core::wire::request::{QueueOf, Request};
use tungstenite::{Message, WebSocket};

use crate::clock::Clock;
use crate::engine::Engine;
use crate::http::Site;
use crate::listen::Port;
use crate::machine::{Machine, Medium, Stored, Taken};

/// Answers a max offset with the queue's id, a view with a lease, a topic list with a MiB that tells how many answers wait
/// before it; a min offset waits for the next deadline; a store
/// time is taken only after a disk operation that it asked for. A connection's end is a note.
#[derive(Default)]
struct Toy {
    out: VecDeque<Output<Vec<u8>>>,
    parked: Vec<Call>,
    due: Option<Instant>,
    room: bool,
    stopping: bool,
}

impl Toy {
    fn reply(&mut self, call: Call, reply: Reply<Vec<u8>>) {
        self.out.push_back(Output::Reply { call, reply });
    }
}

impl Machine for Toy {
    type Lease = Vec<u8>;
    fn handle_connected(&mut self, _: Now, _: ConnId, _: Caller) {}
    fn handle_request(&mut self, now: Now, call: Call, request: Request<'_>) -> Taken {
        match request {
            Request::MaxOffset(queue) => self.reply(call, Reply::Offset(queue.queue_id.into())),
            Request::ViewMessage { at } => {
                let leases = vec![vec![b'x'; at as usize], b"end".to_vec()];
                self.reply(call, Reply::Messages(leases));
            }
            Request::TopicList => {
                let mut body = format!("{} wait", self.out.len()).into_bytes();
                body.resize(1 << 20, b'.');
                self.reply(call, Reply::Body(body));
            }
            Request::MinOffset(_) => {
                self.parked.push(call);
                self.due = Some(now.mono.plus_ms(20));
            }
            Request::EarliestStoreTime(_) if self.room => self.reply(call, Reply::Timestamp(7)),
            Request::EarliestStoreTime(_) => {
                self.out.push_back(Output::Disk(Disk::Prepare { id: StoreId(1), upto: LogPos(1) }));
                return Taken::Later;
            }
            _ => self.out.push_back(Output::Close { conn: call.conn }),
        }
        Taken::Yes
    }
    fn handle_answer(&mut self, _: Now, _: ConnId, _: AskId, _: &Answer<'_>) {}
    fn handle_closed(&mut self, _: Now, _: ConnId) {
        self.out.push_back(Output::Note(Note::TopicCreated { topic: "closed".into() }));
    }
    fn handle_linked(&mut self, _: Now, _: LinkId, _: ConnId, _: Caller) {}
    fn handle_link_failed(&mut self, _: Now, _: LinkId, _: &str) {}
    fn handle_stored(&mut self, _: Now, _: StoreId, result: Stored) {
        self.room = result.is_ok();
    }
    fn handle_loaded(&mut self, _: Now, _: Ticket, _: Result<Vec<u8>, StoreError>) {}
    fn handle_timeout(&mut self, _: Now) {
        self.due = None;
        for call in std::mem::take(&mut self.parked) {
            self.reply(call, Reply::Offset(-1));
        }
    }
    fn handle_stop(&mut self, _: Now) {
        self.stopping = true;
    }
    fn is_stopped(&self) -> bool {
        self.stopping
    }
    fn poll_output(&mut self) -> Option<Output<Vec<u8>>> {
        self.out.pop_front()
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

struct NoDisk;

impl Medium for NoDisk {
    fn execute(&self, disk: Disk) -> Done {
        let Disk::Prepare { id, .. } = disk else { unreachable!("the toy only prepares") };
        Done::Stored { id, result: Ok(None) }
    }
}

struct Server {
    address: SocketAddr,
    engine: Arc<Engine<Toy>>,
    notes: mpsc::Receiver<Note>,
    runtime: tokio::runtime::Runtime,
}

fn serve() -> Server {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let (sender, notes) = mpsc::channel();
    let (address, engine) = runtime.block_on(async {
        let listener = move |note: &Note| drop(sender.send(note.clone()));
        let disk = Arc::new(NoDisk);
        let engine = Engine::start(Toy::default(), Some(disk), false, Clock::default(), Box::new(listener));
        let port = Port::bind(([127, 0, 0, 1], 0).into(), "--listen").await.expect("a free port");
        let address = port.address();
        let site = Arc::new(Site::new(true, "0123456789abcdef".into(), vec![address], &[]));
        tokio::spawn(port.serve(Arc::clone(&engine), site));
        (address, engine)
    });
    Server { address, engine, notes, runtime }
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream
}

fn frames(requests: &[Request<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (n, request) in requests.iter().enumerate() {
        encode::request(request, AskId(n as i32), false, &mut out);
    }
    out
}

/// The next frame without its length.
fn frame(stream: &mut impl Read) -> Vec<u8> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).expect("a frame");
    let mut frame = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut frame).expect("the frame's rest");
    frame
}

fn has(frame: &[u8], text: &str) -> bool {
    frame.windows(text.len()).any(|w| w == text.as_bytes())
}

fn queue(queue_id: i32) -> QueueOf<'static> {
    QueueOf { topic: "t", queue_id }
}

#[test]
fn requests_are_answered_in_order_however_their_bytes_come() {
    let server = serve();
    let requests: Vec<_> = (0..1000).map(|n| Request::MaxOffset(queue(n))).collect();
    let bytes = frames(&requests);
    for step in [7, 1000, bytes.len()] {
        let mut stream = connect(&server);
        let (mut writer, bytes) = (stream.try_clone().expect("a clone"), bytes.clone());
        let writing =
            std::thread::spawn(move || bytes.chunks(step).for_each(|piece| writer.write_all(piece).expect("writes")));
        for n in 0..1000 {
            assert!(has(&frame(&mut stream), &format!("\"offset\":\"{n}\"")), "step {step}, answer {n}");
        }
        writing.join().expect("all is written");
    }
}

#[test]
fn leases_follow_their_head() {
    let server = serve();
    let mut stream = connect(&server);
    stream.write_all(&frames(&[Request::ViewMessage { at: 300_000 }, Request::MaxOffset(queue(5))])).expect("writes");
    let first = frame(&mut stream);
    assert!(first.ends_with(b"xxend"));
    assert!(first.len() > 300_003);
    assert!(has(&frame(&mut stream), "\"offset\":\"5\""));
}

#[test]
fn long_answers_are_made_one_by_one_sec_10() {
    let server = serve();
    let mut stream = connect(&server);
    stream.write_all(&frames(&vec![Request::TopicList; 100])).expect("writes");
    stream.write_all(&frames(&[Request::MaxOffset(queue(4))])).expect("writes");
    for n in 0..100 {
        assert!(has(&frame(&mut stream)[..300], "0 wait."), "answer {n}");
    }
    assert!(has(&frame(&mut stream), "\"offset\":\"4\""));
}

#[test]
fn a_parked_request_is_answered_when_its_deadline_has_passed() {
    let server = serve();
    let mut stream = connect(&server);
    stream.write_all(&frames(&[Request::MinOffset(queue(1)), Request::MaxOffset(queue(2))])).expect("writes");
    assert!(has(&frame(&mut stream), "\"offset\":\"2\""));
    assert!(has(&frame(&mut stream), "\"offset\":\"-1\""));
}

#[test]
fn a_request_without_room_waits_and_keeps_its_place() {
    let server = serve();
    let mut stream = connect(&server);
    let requests = [Request::MaxOffset(queue(1)), Request::EarliestStoreTime(queue(1)), Request::MaxOffset(queue(2))];
    stream.write_all(&frames(&requests)).expect("writes");
    for expected in ["\"offset\":\"1\"", "\"timestamp\":\"7\"", "\"offset\":\"2\""] {
        assert!(has(&frame(&mut stream), expected), "{expected}");
    }
}

#[test]
fn bytes_that_make_no_sense_end_their_connection_and_no_other_sec_8() {
    let server = serve();
    let mut good = connect(&server);
    let hello = [0x16, 3, 1, 0, 200];
    let huge = [0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
    let short = [0, 0, 0, 2, 0, 0];
    for bad in [&hello[..], &huge, &short, b"\xFFgarbage"] {
        let mut stream = connect(&server);
        stream.write_all(bad).expect("writes");
        let mut rest = Vec::new();
        // A reset is as good an end as a plain one.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{bad:?}");
        good.write_all(&frames(&[Request::MaxOffset(queue(9))])).expect("writes");
        assert!(has(&frame(&mut good), "\"offset\":\"9\""));
    }
}

#[test]
fn the_machine_closes_after_what_was_sent_and_hears_of_the_end() {
    let server = serve();
    let mut stream = connect(&server);
    stream.write_all(&frames(&[Request::MaxOffset(queue(3)), Request::ClusterInfo])).expect("writes");
    assert!(has(&frame(&mut stream), "\"offset\":\"3\""));
    assert_eq!(stream.read(&mut [0]).expect("an end"), 0);
    let note = server.notes.recv_timeout(Duration::from_secs(20)).expect("a note");
    assert_eq!(note, Note::TopicCreated { topic: "closed".into() });
}

#[test]
fn a_web_socket_carries_pieces_of_the_same_stream() {
    let server = serve();
    let url = format!("ws://{}/ws", server.address);
    let (mut socket, response) = tungstenite::client(url, connect(&server)).expect("an upgrade");
    assert_eq!(response.status(), 101);
    let bytes =
        frames(&[Request::MaxOffset(queue(1)), Request::MaxOffset(queue(2)), Request::ViewMessage { at: 70_000 }]);
    let (first, second) = bytes.split_at(bytes.len() / 2 + 3);
    socket.send(Message::Binary(first.to_vec().into())).expect("sends");
    socket.send(Message::Ping(vec![1].into())).expect("sends");
    socket.send(Message::Binary(second.to_vec().into())).expect("sends");
    let mut stream = Vec::new();
    while !stream.ends_with(b"xxend") {
        stream.extend(received(&mut socket));
    }
    let mut rest = &stream[..];
    assert!(has(&frame(&mut rest), "\"offset\":\"1\""));
    assert!(has(&frame(&mut rest), "\"offset\":\"2\""));
    assert!(frame(&mut rest).len() > 70_000 && rest.is_empty());
    socket.send(Message::Text("text".into())).expect("sends");
    assert!(matches!(socket.read(), Ok(Message::Close(Some(close))) if u16::from(close.code) == 1003));
}

fn received(socket: &mut WebSocket<TcpStream>) -> Vec<u8> {
    loop {
        match socket.read().expect("a message") {
            Message::Binary(bytes) => return bytes.to_vec(),
            Message::Pong(_) => {}
            other => panic!("not expected: {other:?}"),
        }
    }
}

#[test]
fn http_is_answered_on_the_same_port_and_kept_alive() {
    let server = serve();
    let mut stream = connect(&server);
    for _ in 0..2 {
        write!(stream, "GET /livez HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).expect("writes");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    write!(
        stream,
        "GET /ws?token=0123456789abcdef HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n"
    )
    .expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and the end");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[test]
fn a_port_in_use_is_refused_with_what_to_do() {
    let server = serve();
    let error = server.runtime.block_on(Port::bind(server.address, "--broker")).expect_err("it is in use");
    assert!(error.0.contains("in use") && error.0.contains("--broker"), "{error}");
}

#[test]
fn a_stop_waits_for_the_machine() {
    let server = serve();
    assert!(server.runtime.block_on(server.engine.stop(Duration::from_secs(20))));
}

#[test]
fn a_stranger_must_finish_its_frame_in_time_sec_7() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("runtime");
    runtime.block_on(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let engine = Engine::start(Toy::default(), None, false, Clock::default(), Box::new(|_| ()));
        let port = Port::bind(([127, 0, 0, 1], 0).into(), "--listen").await.expect("a free port");
        let address = port.address();
        tokio::spawn(port.serve(engine, Arc::new(Site::new(true, "0123456789abcdef".into(), vec![address], &[]))));
        let started = tokio::time::Instant::now();
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
        stream.write_all(&[0, 0, 1, 0, 0]).await.expect("writes");
        assert_eq!(stream.read(&mut [0]).await.expect("an end"), 0);
        // The clock is the runtime's own: it jumps to the next deadline when nothing else is to be done.
        assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
    });
}
