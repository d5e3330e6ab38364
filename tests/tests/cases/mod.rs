//! Malformed frames, each made from a number and its own stream of random numbers.
//!
//! Kinds take turns, so that every kind comes up hundreds of times; the random numbers choose within the kind.

use skylark_tests::{Link, Random};

/// What the server has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Close the connection by itself.
    Closed,
    /// Answer with a code other than 0, or close.
    Refused,
    /// Answer with an HTTP error, or close.
    HttpError,
    /// Close once the sender has ended: what came is incomplete, or may even make sense.
    ClosedAfterEnd,
}

/// What is sent on one connection.
pub(crate) struct Case {
    pub(crate) what: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expect: Expect,
}

type Maker = fn(&mut Random, &str) -> (Vec<u8>, Expect);

const KINDS: [(&str, Maker); 20] = [
    ("a length below 4", length_too_small),
    ("a length over the limit", length_too_large),
    ("a header longer than its frame", header_too_long),
    ("an unknown header type", unknown_type),
    ("a JSON header that is none", json_garbage),
    ("a JSON header cut short", json_cut),
    ("a JSON header too deep or too large", json_too_much),
    ("a JSON header with wrong types", json_types),
    ("a binary header with wrong lengths", binary_lengths),
    ("an unknown request code", unknown_code),
    ("a send with wrong fields", bad_send),
    ("a batch with wrong lengths", bad_batch),
    ("a pull with wrong fields", bad_pull),
    ("a body that is no JSON", bad_body),
    ("a topic that may not be", bad_topic),
    ("an HTTP request that is refused", bad_http),
    ("a WebSocket with wrong frames", bad_websocket),
    ("a frame cut short", frame_cut),
    ("a frame with flipped bytes", flipped),
    ("bytes without sense", garbage),
];

/// Case number `index` for the server at `address`.
pub(crate) fn make(index: usize, random: &mut Random, address: &str) -> Case {
    let (what, maker) = KINDS[index % KINDS.len()];
    let (bytes, expect) = maker(random, address);
    Case { what, bytes, expect }
}

/// A frame around any header of any type.
fn frame(kind: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = Link::frame_with_header(header, body);
    bytes[4] = kind;
    bytes
}

fn send(topic: &str) -> Vec<u8> {
    Link::frame(310, 1, &Link::send_fields(topic, "0", ""), b"body")
}

fn length_too_small(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let mut bytes = vec![0, 0, 0, random.below(4) as u8];
    let rest = 4 + random.below(60);
    bytes.extend(random.bytes(rest));
    (bytes, Expect::Closed)
}

fn length_too_large(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    // First bytes that are no letter, so that it cannot be taken for HTTP.
    let length = match random.below(3) {
        0 => 0x0100_0001 + random.below(0x0e00_0000) as u32,
        1 => 0x8000_0000 | random.bits() as u32,
        _ => random.pick(&[u32::MAX, 0x8000_0000, 0x0100_0001, 0xffff_fff0]),
    };
    let mut bytes = length.to_be_bytes().to_vec();
    let rest = 4 + random.below(400);
    bytes.extend(random.bytes(rest));
    (bytes, Expect::Closed)
}

fn header_too_long(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let content = random.below(500);
    let mut bytes = (4 + content as u32).to_be_bytes().to_vec();
    let range = random.pick(&[10, 0x00f0_0000]);
    let claim = content + 1 + random.below(range);
    bytes.extend((claim as u32).to_be_bytes());
    bytes.extend(random.bytes(content));
    (bytes, Expect::Closed)
}

fn unknown_type(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let mut bytes = send("bad");
    bytes[4] = 2 + random.below(254) as u8;
    (bytes, Expect::Closed)
}

fn json_garbage(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let noise = random.bytes(40);
    let headers: [&[u8]; 14] = [
        b"",
        b" ",
        b"null",
        b"[]",
        b"42",
        b"\"text\"",
        b"{",
        b"}",
        b"{\"code\":310,}",
        b"{\"code\":310 \"opaque\":1}",
        b"{\"code\":310,\"remark\":\"\xff\xfe\"}",
        b"{\"code\":310,\"extFields\":{\"a\":\"\\uD800\\u00\"}}",
        b"{\"code\":310,\"extFields\":{\"a\":\"\\x\"}}",
        &noise,
    ];
    (frame(0, random.pick(&headers), b"body"), Expect::Refused)
}

fn json_cut(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let whole = send("bad");
    let header = &whole[8..whole.len() - 4];
    (frame(0, &header[..=random.below(header.len() - 1)], b"body"), Expect::Refused)
}

fn json_too_much(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let many = 33 + random.below(20_000);
    let header = match random.below(4) {
        0 => format!("{{\"code\":310,\"x\":{}{}}}", "[".repeat(many), "]".repeat(many)),
        1 => format!("{{\"code\":310,\"x\":{}1{}}}", "{\"y\":".repeat(many), "}".repeat(many)),
        2 => "[".repeat(many),
        _ => {
            format!("{{\"code\":310,\"opaque\":1,\"remark\":\"{}\"}}", "r".repeat((256 << 10) + random.below(200_000)))
        }
    };
    (frame(0, header.as_bytes(), b""), Expect::Refused)
}

fn json_types(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let values = ["1e999", "\"x\"", "99999999999999999999", "-", "null", "[1]", "{}", "true", "3.5", "\"\"", "0x10"];
    let value = random.pick(&values);
    let header = match random.below(3) {
        0 => format!("{{\"code\":{value},\"opaque\":1,\"flag\":0}}"),
        1 => format!("{{\"code\":310,\"opaque\":1,\"flag\":0,\"extFields\":{value}}}"),
        _ => format!("{{\"code\":310,\"opaque\":1,\"flag\":0,\"extFields\":{{\"b\":\"bad\",\"e\":{value}}}}}"),
    };
    (frame(0, header.as_bytes(), b"body"), Expect::Refused)
}

fn binary_lengths(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let mut header = vec![0x01, 0x36, 7, 0x01, 0x99, 0, 0, 0, 1, 0, 0, 0, 0];
    let wrong = random.pick(&[-1, i32::MIN, i32::MAX, 1_000_000, 0x0100_0000]);
    match random.below(6) {
        0 => header.truncate(random.below(13)),
        1 => header.extend(wrong.to_be_bytes()),
        2 => {
            header.extend([0; 4]);
            header.extend(wrong.to_be_bytes());
        }
        3 => {
            // A key longer than the fields.
            header.extend([0, 0, 0, 0, 0, 0, 0, 7]);
            header.extend(random.pick(&[[0xff, 0xff], [0x7f, 0xff], [0, 9]]));
            header.extend(b"b\0\0\0\0");
        }
        4 => {
            // A value longer than the fields.
            header.extend([0, 0, 0, 0, 0, 0, 0, 10, 0, 1, b'b']);
            header.extend(wrong.to_be_bytes());
            header.extend(b"bad");
        }
        _ => {
            // A name that is no UTF-8, in an otherwise good header.
            header.extend([0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 0xff, 0xfe, 0, 0, 0, 1, b'x']);
        }
    }
    (frame(1, &header, b"body"), Expect::Refused)
}

fn unknown_code(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let code = match random.below(3) {
        0 => -1 - random.below(1_000_000) as i32,
        1 => 60_000 + random.below(60_000) as i32,
        _ => random.pick(&[0, 1, i32::MIN, i32::MAX, 9999]),
    };
    (Link::frame(code, 1, &[("topic", "bad")], b"body"), Expect::Refused)
}

fn bad_send(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let long = "t".repeat(128 + random.below(2000));
    let properties = "p".repeat(32_768 + random.below(10_000));
    let topics = ["", "../../etc/passwd", "a b", "a\u{0}b", "a/b", "\u{1F980}", "SCHEDULE_TOPIC_XXXX", "*"];
    let mut fields = Link::send_fields("bad", "0", "").to_vec();
    let mut body = b"body".to_vec();
    match random.below(7) {
        0 => fields.retain(|(name, _)| *name != "b"),
        1 => fields[1].1 = random.pick(&topics),
        2 => fields[1].1 = &long,
        3 => fields[4].1 = random.pick(&["x", "99999999999", "2147483647", "8", "-5", "1.5"]),
        4 => fields[5 + random.below(3)].1 = random.pick(&["x", "99999999999999999999", "1.5", "0x1"]),
        5 => fields[8].1 = &properties,
        _ => {
            // Large ones are few: what is looked at is the limit, not the throughput.
            let length = if random.below(8) == 0 { (4 << 20) + 1 + random.below(1 << 20) } else { 0 };
            body = vec![b'x'; length];
        }
    }
    (Link::frame(310, 1, &fields, &body), Expect::Refused)
}

fn bad_batch(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let mut fields = Link::send_fields("bad", "0", "");
    fields[12].1 = "true";
    let wrong = random.pick(&[-1, i32::MIN, i32::MAX, 1000, 0x0010_0000]);
    let mut body = Vec::new();
    for _ in 0..random.below(3) {
        // Good entries first.
        body.extend([0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, b'o', b'k', 0, 0]);
    }
    match random.below(3) {
        0 => {
            body.extend([0; 16]);
            body.extend(wrong.to_be_bytes());
            body.extend(b"body\0\0");
        }
        1 => {
            body.extend([0, 0, 0, 26, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4]);
            body.extend(b"body\x7f\xff");
        }
        _ => body.extend(&[0; 21][..=random.below(20)]),
    }
    (Link::frame(320, 1, &fields, &body), Expect::Refused)
}

fn bad_pull(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let mut fields = vec![
        ("consumerGroup", "tests"),
        ("topic", "bad"),
        ("queueId", "0"),
        ("queueOffset", "0"),
        ("maxMsgNums", "32"),
        ("sysFlag", "4"),
        ("commitOffset", "0"),
        ("suspendTimeoutMillis", "0"),
        ("subscription", "*"),
        ("subVersion", "0"),
        ("expressionType", "TAG"),
    ];
    let expect = match random.below(6) {
        0 => {
            fields.remove(random.below(4));
            Expect::Refused
        }
        1 => {
            fields[1].1 = random.pick(&["", "../x", "no-such-topic", "a b"]);
            Expect::Refused
        }
        2 => {
            fields[2].1 = random.pick(&["-1", "4", "2147483647", "x", "99999999999999"]);
            Expect::Refused
        }
        3 => {
            fields[3].1 = random.pick(&["-1", "9223372036854775807", "-9223372036854775808", "x"]);
            Expect::Refused
        }
        4 => {
            fields[4].1 = random.pick(&["-1", "0", "2147483647", "x"]);
            Expect::ClosedAfterEnd
        }
        _ => {
            fields[8].1 = random.pick(&["||||", "", " || ", "a && b", "\u{1}"]);
            Expect::ClosedAfterEnd
        }
    };
    (Link::frame(11, 1, &fields, b""), expect)
}

fn bad_body(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let noise = random.bytes(200);
    let deep = "[".repeat(33 + random.below(5000));
    let bodies: [&[u8]; 8] = [
        b"{",
        b"null",
        b"{\"clientID\":5",
        b"{\"clientID\":[1,2],\"consumerDataSet\":7}",
        b"{\"consumerDataSet\":[{\"groupName\":\"../x\",\"subscriptionDataSet\":[{\"topic\":",
        b"\xff\xff\xff",
        deep.as_bytes(),
        &noise,
    ];
    let body = random.pick(&bodies);
    let fields = [
        ("brokerName", "b"),
        ("brokerAddr", "127.0.0.1:1"),
        ("clusterName", "c"),
        ("brokerId", "0"),
        ("bodyCrc32", "1"),
    ];
    let code = random.pick(&[34, 103]);
    (Link::frame(code, 1, &fields, body), Expect::Refused)
}

fn bad_topic(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let long = "t".repeat(128 + random.below(500));
    let topics = ["", "..", "a/b", "a b", "TBW102", "\u{0}", &long];
    let (mut topic, mut queues, mut perm) = ("bad", "4", "6");
    match random.below(3) {
        0 => topic = random.pick(&topics),
        1 => queues = random.pick(&["-1", "99999999", "2147483647", "x", ""]),
        _ => perm = random.pick(&["999", "-1", "x", "99999999999"]),
    }
    let fields = [
        ("topic", topic),
        ("defaultTopic", "TBW102"),
        ("readQueueNums", queues),
        ("writeQueueNums", queues),
        ("perm", perm),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ];
    (Link::frame(17, 1, &fields, b""), Expect::Refused)
}

fn bad_http(random: &mut Random, address: &str) -> (Vec<u8>, Expect) {
    let long = "h".repeat(100_000 + random.below(100_000));
    let (text, expect) = match random.below(8) {
        0 => (format!("GET / HTTP/1.1\r\nHost: {address}\r\nOrigin: http://evil.example\r\n\r\n"), Expect::HttpError),
        1 => (format!("GET / HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://{address}\r\n\r\n"), Expect::HttpError),
        2 => (format!("GET /ws HTTP/1.1\r\nHost: {address}\r\nOrigin: null\r\n{UPGRADE}\r\n"), Expect::HttpError),
        3 => (format!("GET /../../../etc/passwd HTTP/1.1\r\nHost: {address}\r\n\r\n"), Expect::HttpError),
        4 => (format!("GET / HTTP/1.1\r\nHost: {address}\r\nX: {long}\r\n\r\n"), Expect::HttpError),
        5 => (format!("POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: 99999999999\r\n\r\n"), Expect::HttpError),
        6 => (format!("GET /%00%ff%2e%2e/x HTTP/1.1\r\nHost: {address}\r\n\r\n"), Expect::HttpError),
        _ => {
            let whole = format!("GET / HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n");
            (whole[..5 + random.below(whole.len() - 5)].to_owned(), Expect::ClosedAfterEnd)
        }
    };
    (text.into_bytes(), expect)
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";

fn bad_websocket(random: &mut Random, address: &str) -> (Vec<u8>, Expect) {
    let mut bytes = format!("GET /ws HTTP/1.1\r\nHost: {address}\r\n{UPGRADE}\r\n").into_bytes();
    match random.below(5) {
        // Not masked, reserved bits, reserved opcode, a ping too long, a length that no frame may have.
        0 => bytes.extend([0x82, 4, 1, 2, 3, 4]),
        1 => bytes.extend([0xf2, 0x84, 0, 0, 0, 0, 1, 2, 3, 4]),
        2 => bytes.extend([0x8b, 0x84, 0, 0, 0, 0, 1, 2, 3, 4]),
        3 => {
            bytes.extend([0x89, 0xfe, 0x01, 0x00, 0, 0, 0, 0]);
            bytes.extend([0; 256]);
        }
        _ => bytes.extend([0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
    }
    (bytes, Expect::Closed)
}

fn frame_cut(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let mut whole = send("bad");
    whole.truncate(1 + random.below(whole.len() - 1));
    (whole, Expect::ClosedAfterEnd)
}

fn flipped(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let mut whole = send("bad");
    for _ in 0..=random.below(5) {
        let at = random.below(whole.len());
        whole[at] ^= 1 << random.below(8);
    }
    (whole, Expect::ClosedAfterEnd)
}

fn garbage(random: &mut Random, _: &str) -> (Vec<u8>, Expect) {
    let length = 1 + random.below(4000);
    let mut bytes = random.bytes(length);
    match random.below(3) {
        // A TLS greeting, and an answer to nothing.
        0 => bytes.splice(0..0, [0x16, 3, 1, 2, 0]).for_each(drop),
        1 => {
            bytes = Link::frame_with_header(
                b"{\"code\":0,\"opaque\":77,\"flag\":1,\"language\":\"JAVA\",\"version\":1}",
                &bytes,
            );
        }
        _ => {}
    }
    (bytes, Expect::ClosedAfterEnd)
}
