//! One port speaks remoting, HTTP and WebSocket, and tells by who asks what is allowed (SEC-6, SEC-11): a program on loopback is the
//! operator, a page needs the server's own origin and the token, a foreign page gets nothing.

use skylark_tests::{Folder, Link, Options, Server};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    stream
}

/// The head of the answer, up to the empty line.
fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {}", bytes.escape_ascii()));
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).expect("a head is text")
}

/// Sends a request with these headers and returns the connection and the status that came back.
fn request(address: &str, path: &str, headers: &[&str]) -> (TcpStream, u16, String) {
    let mut stream = connect(address);
    let mut text = format!("GET {path} HTTP/1.1\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).expect("the server reads");
    let head = head(&mut stream);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (stream, status, head)
}

const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==",
];

fn upgrade(address: &str, path: &str, more: &[&str]) -> (TcpStream, u16) {
    let host = format!("Host: {address}");
    let (stream, status, _) = request(address, path, &[&[host.as_str()], &UPGRADE[..], more].concat());
    (stream, status)
}

/// One masked WebSocket frame.
fn frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![opcode | if last { 0x80 } else { 0 }];
    match payload.len() {
        small @ 0..126 => bytes.push(0x80 | small as u8),
        large => {
            bytes.push(0xfe);
            bytes.extend((large as u16).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// Opcode and payload of the server's next frame.
fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("a frame");
    assert_eq!(head[1] & 0x80, 0, "a server does not mask");
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).expect("a length");
            u16::from_be_bytes(length) as usize
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length).expect("a length");
            u64::from_be_bytes(length) as usize
        }
        small => small as usize,
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).expect("the payload");
    (head[0] & 0xf, payload)
}

/// Reads WebSocket messages until they hold `count` remoting frames, and returns those frames' opaques.
fn answers(stream: &mut TcpStream, count: usize) -> Vec<i64> {
    let mut bytes = Vec::new();
    let mut opaques = Vec::new();
    while opaques.len() < count {
        let (opcode, payload) = read_frame(stream);
        assert!(matches!(opcode, 0 | 2), "a binary message, not opcode {opcode}");
        bytes.extend(payload);
        while let Some(length) = bytes.first_chunk().map(|length| 4 + u32::from_be_bytes(*length) as usize)
            && bytes.len() >= length
        {
            let header = u32::from_be_bytes([0, bytes[5], bytes[6], bytes[7]]) as usize;
            let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).expect("a JSON header");
            opaques.push(header["opaque"].as_i64().expect("an opaque"));
            bytes.drain(..length);
        }
    }
    opaques
}

#[test]
fn websocket_carries_the_byte_stream_in_any_pieces() {
    let folder = Folder::new();
    let server = Server::start(&folder, &Options::default());
    server.create_topic("pieces", 1);
    let (mut stream, status) = upgrade(&server.broker, "/ws", &[]);
    assert_eq!(status, 101, "a program on loopback needs no token");
    let send = |opaque| Link::frame(310, opaque, &Link::send_fields("pieces", "0", ""), b"in pieces");

    // Three remoting frames in one message; one in three messages; one in a message of several frames, with a ping between.
    let three = [send(1), send(2), send(3)].concat();
    stream.write_all(&frame(2, true, &three)).expect("the server reads");
    assert_eq!(answers(&mut stream, 3), [1, 2, 3]);
    let fourth = send(4);
    for piece in fourth.chunks(fourth.len() / 3 + 1) {
        stream.write_all(&frame(2, true, piece)).expect("the server reads");
    }
    assert_eq!(answers(&mut stream, 1), [4]);
    let fifth = send(5);
    let (one, two) = fifth.split_at(3);
    stream.write_all(&frame(2, false, one)).expect("the server reads");
    stream.write_all(&frame(9, true, b"are you there")).expect("the server reads");
    assert_eq!(read_frame(&mut stream), (10, b"are you there".to_vec()), "a pong with the ping's bytes");
    stream.write_all(&frame(0, true, two)).expect("the server reads");
    assert_eq!(answers(&mut stream, 1), [5]);

    // A goodbye is answered with one.
    stream.write_all(&frame(8, true, &1000_u16.to_be_bytes())).expect("the server reads");
    assert_eq!(read_frame(&mut stream).0, 8);
    assert_eq!(server.link().pull_all("pieces", 0, 0).len(), 5);
}

#[test]
fn a_page_needs_its_own_origin_and_the_token() {
    let folder = Folder::new();
    let server = Server::start(&folder, &Options::default());
    let (namesrv, broker) = (&server.namesrv, &server.broker);
    let token = server.playground.split_once("#token=").expect("a token in the address").1;
    let own = format!("Origin: http://{namesrv}");
    let with_token = format!("/ws?token={token}");
    for address in [namesrv, broker] {
        // The page comes from the NameServer and talks to the broker too.
        assert_eq!(upgrade(address, &with_token, &[&own]).1, 101);
        let mut wrong = token.to_owned();
        wrong.replace_range(..1, if token.starts_with('0') { "1" } else { "0" });
        for path in ["/ws", "/ws?token=", &format!("/ws?token={wrong}"), &format!("/ws?token={token}0")] {
            let status = upgrade(address, path, &[&own]).1;
            assert!(matches!(status, 401 | 403), "{status} for a page with the address {path}");
        }
        for foreign in ["http://evil.example", "null", "http://127.0.0.1:1", &format!("https://{namesrv}")] {
            let status = upgrade(address, &with_token, &[&format!("Origin: {foreign}")]).1;
            assert_eq!(status, 403, "a page of {foreign}");
        }
        // Another name for this address (DNS rebinding), and a request that says that a page sent it.
        let (_, status, _) =
            request(address, &with_token, &[&["Host: evil.example", own.as_str()], &UPGRADE[..]].concat());
        assert_eq!(status, 403, "a page that came under another name");
        let status = upgrade(address, "/ws", &["Sec-Fetch-Site: cross-site"]).1;
        assert!(matches!(status, 401 | 403), "{status} for a request of a foreign page without an Origin");
    }
}

#[test]
fn the_page_is_served_under_a_strict_policy() {
    let folder = Folder::new();
    let server = Server::start(&folder, &Options::default());
    let host = format!("Host: {}", server.namesrv);
    let (mut stream, status, head) = request(&server.namesrv, "/", &[&host, "Connection: close"]);
    let head = head.to_ascii_lowercase();
    assert_eq!(status, 200, "{head}");
    if head.contains("content-type: text/plain") {
        // Built without Node: there is no page to protect, only a sentence that says how to get it.
        let mut words = String::new();
        stream.read_to_string(&mut words).expect("the sentence");
        assert!(words.contains("cargo xtask"), "{words}");
        return;
    }
    let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy:")).expect("a policy");
    // SEC-15: no inline script, no eval but wasm's, no foreign origin, trusted types.
    for part in ["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "require-trusted-types-for 'script'"] {
        assert!(policy.contains(part), "{part} is missing in {policy}");
    }
    assert!(!policy.contains("'unsafe-inline'") && !policy.contains("'unsafe-eval'"), "{policy}");
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    assert!(!head.contains("access-control-allow-origin"), "{head}");
    let (_, status, _) = request(&server.namesrv, "/no-such-file", &[&host]);
    assert_eq!(status, 404);
}
