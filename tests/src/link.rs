//! One connection that speaks remoting, blocking, with JSON headers: what a test needs to say exactly and no more.
//!
//! Retries, routes and rebalance are deliberately absent: a test that sends must know what was answered, refused or unknown.

use crate::log::{Record, parse_records};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Request codes.
#[expect(missing_docs, reason = "RocketMQ's own names")]
pub mod code {
    pub const PULL_MESSAGE: i32 = 11;
    pub const QUERY_CONSUMER_OFFSET: i32 = 14;
    pub const UPDATE_CONSUMER_OFFSET: i32 = 15;
    pub const UPDATE_AND_CREATE_TOPIC: i32 = 17;
    pub const GET_MAX_OFFSET: i32 = 30;
    pub const GET_MIN_OFFSET: i32 = 31;
    pub const GET_ROUTEINFO_BY_TOPIC: i32 = 105;
    pub const SEND_MESSAGE_V2: i32 = 310;
}

/// Codes of a pull's reply.
#[expect(missing_docs, reason = "RocketMQ's own names")]
pub mod pull_code {
    pub const FOUND: i32 = 0;
    pub const NO_NEW_MESSAGE: i32 = 19;
    pub const NO_MATCHED_MESSAGE: i32 = 20;
    pub const OFFSET_MOVED: i32 = 21;
}

const RESPONSE: i32 = 1;

/// A frame as it was received.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Request or response code.
    pub code: i32,
    /// Bit 0: response; bit 1: one-way.
    pub flag: i32,
    /// Which request it answers.
    pub opaque: i32,
    /// The peer's words, mostly empty.
    pub remark: String,
    /// Header fields.
    pub fields: BTreeMap<String, String>,
    /// Body.
    pub body: Vec<u8>,
}

impl Frame {
    /// A header field that is a number.
    pub fn number(&self, name: &str) -> i64 {
        let text = self.fields.get(name).unwrap_or_else(|| panic!("the reply has no {name}: {self:?}"));
        text.parse().unwrap_or_else(|_| panic!("{name} is no number: {self:?}"))
    }
}

/// An answer other than 0.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The response code.
    pub code: i32,
    /// The peer's words.
    pub remark: String,
}

/// A pull's answer.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// One of [`pull_code`].
    pub code: i32,
    /// Where to go on.
    pub next: i64,
    /// First offset of the queue.
    pub min: i64,
    /// One past the last offset of the queue.
    pub max: i64,
    /// What was found.
    pub records: Vec<Record>,
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    received: Vec<u8>,
    opaque: i32,
}

impl Link {
    /// Connects to `HOST:PORT`; nothing is waited for longer than 20 s.
    pub fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { stream, received: Vec::new(), opaque: 0 })
    }

    /// The bytes of one frame with a JSON header.
    pub fn frame(code: i32, opaque: i32, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let fields: serde_json::Map<String, Value> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let header = json!({"code": code, "language": "OTHER", "version": 409, "opaque": opaque, "flag": 0, "extFields": fields});
        Self::frame_with_header(header.to_string().as_bytes(), body)
    }

    /// The bytes of one frame around a ready JSON header, well-formed or not.
    pub fn frame_with_header(header: &[u8], body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + header.len() + body.len());
        bytes.extend((4 + header.len() as u32 + body.len() as u32).to_be_bytes());
        bytes.extend((header.len() as u32).to_be_bytes());
        bytes.extend(header);
        bytes.extend(body);
        bytes
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes a request and returns its opaque.
    pub fn ask(&mut self, code: i32, fields: &[(&str, &str)], body: &[u8]) -> io::Result<i32> {
        self.opaque += 1;
        let bytes = Self::frame(code, self.opaque, fields, body);
        self.write(&bytes)?;
        Ok(self.opaque)
    }

    /// Reads the next response; requests that the server sends are passed over.
    pub fn answer(&mut self) -> io::Result<Frame> {
        loop {
            let frame = self.read_frame()?;
            if frame.flag & RESPONSE != 0 {
                return Ok(frame);
            }
        }
    }

    /// Asks and waits for that answer. The connection must have no other request open.
    pub fn call(&mut self, code: i32, fields: &[(&str, &str)], body: &[u8]) -> io::Result<Frame> {
        let opaque = self.ask(code, fields, body)?;
        let frame = self.answer()?;
        assert_eq!(frame.opaque, opaque, "the answer belongs to another request: {frame:?}");
        Ok(frame)
    }

    fn read_frame(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(length) = self.received.first_chunk().map(|length| 4 + u32::from_be_bytes(*length) as usize)
                && self.received.len() >= length
            {
                let frame = decode(&self.received[4..length])?;
                self.received.drain(..length);
                return Ok(frame);
            }
            let mut buffer = [0; 1 << 14];
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
                length => self.received.extend_from_slice(&buffer[..length]),
            }
        }
    }

    /// Creates a topic with as many read as write queues.
    pub fn create_topic(&mut self, topic: &str, queues: u32) {
        self.ask_create_topic(topic, queues).expect("the server reads");
        let reply = self.answer().expect("an answer to the creation of a topic");
        assert_eq!(reply.code, 0, "the topic {topic} was not created: {}", reply.remark);
    }

    /// Writes the request to create a topic without waiting; returns its opaque.
    pub fn ask_create_topic(&mut self, topic: &str, queues: u32) -> io::Result<i32> {
        let queues = queues.to_string();
        let fields = [
            ("topic", topic),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", queues.as_str()),
            ("writeQueueNums", queues.as_str()),
            ("perm", "6"),
            ("topicFilterType", "SINGLE_TAG"),
            ("topicSysFlag", "0"),
            ("order", "false"),
        ];
        self.ask(code::UPDATE_AND_CREATE_TOPIC, &fields, b"")
    }

    /// The header fields of a send; the queue is -1 for the broker's choice.
    pub fn send_fields<'a>(topic: &'a str, queue: &'a str, properties: &'a str) -> [(&'a str, &'a str); 13] {
        [
            ("a", "tests"),
            ("b", topic),
            ("c", "TBW102"),
            ("d", "4"),
            ("e", queue),
            ("f", "0"),
            ("g", "1700000000000"),
            ("h", "0"),
            ("i", properties),
            ("j", "0"),
            ("k", "false"),
            ("l", "0"),
            ("m", "false"),
        ]
    }

    /// Writes a send without waiting; returns its opaque.
    pub fn ask_send(&mut self, topic: &str, queue: i32, tag: &str, body: &[u8]) -> io::Result<i32> {
        let properties = if tag.is_empty() { String::new() } else { format!("TAGS\u{1}{tag}\u{2}") };
        self.ask(code::SEND_MESSAGE_V2, &Self::send_fields(topic, &queue.to_string(), &properties), body)
    }

    /// Sends and waits; returns queue and offset.
    pub fn send(&mut self, topic: &str, queue: i32, tag: &str, body: &[u8]) -> io::Result<Result<(i32, i64), Refusal>> {
        self.ask_send(topic, queue, tag, body)?;
        let reply = self.answer()?;
        Ok(if reply.code == 0 {
            Ok((reply.number("queueId") as i32, reply.number("queueOffset")))
        } else {
            Err(Refusal { code: reply.code, remark: reply.remark })
        })
    }

    /// Pulls once without waiting for messages; `tags` is `*` or `A || B`.
    pub fn pull(&mut self, topic: &str, queue: i32, offset: i64, max: usize, tags: &str) -> io::Result<Pulled> {
        let (queue, offset, max) = (queue.to_string(), offset.to_string(), max.to_string());
        let fields = [
            ("consumerGroup", "tests"),
            ("topic", topic),
            ("queueId", &queue),
            ("queueOffset", &offset),
            ("maxMsgNums", &max),
            ("sysFlag", "4"),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", "0"),
            ("subscription", tags),
            ("subVersion", "0"),
            ("expressionType", "TAG"),
        ];
        let reply = self.call(code::PULL_MESSAGE, &fields, b"")?;
        assert!(matches!(reply.code, 0 | 19..=21), "the pull was refused with {}: {}", reply.code, reply.remark);
        Ok(Pulled {
            code: reply.code,
            next: reply.number("nextBeginOffset"),
            min: reply.number("minOffset"),
            max: reply.number("maxOffset"),
            records: parse_records(&reply.body),
        })
    }

    /// Everything from `offset` on, until the queue says that there is no more.
    pub fn pull_all(&mut self, topic: &str, queue: i32, mut offset: i64) -> Vec<Record> {
        let mut records = Vec::new();
        loop {
            let pulled = self.pull(topic, queue, offset, 32, "*").expect("an answer to a pull");
            match pulled.code {
                pull_code::FOUND => {
                    assert!(pulled.next > offset, "the pull found messages and did not move on from {offset}");
                    records.extend(pulled.records);
                    offset = pulled.next;
                }
                pull_code::NO_NEW_MESSAGE => return records,
                other => panic!("pulling {topic}/{queue} from {offset}: code {other}, {}..{}", pulled.min, pulled.max),
            }
        }
    }

    /// One past the last offset of a queue.
    pub fn max_offset(&mut self, topic: &str, queue: i32) -> i64 {
        let queue = queue.to_string();
        let reply = self
            .call(code::GET_MAX_OFFSET, &[("topic", topic), ("queueId", &queue)], b"")
            .expect("an answer to max offset");
        assert_eq!(reply.code, 0, "the max offset of {topic}/{queue} was refused: {}", reply.remark);
        reply.number("offset")
    }

    /// Whether the NameServer knows a route for the topic.
    pub fn has_route(&mut self, topic: &str) -> bool {
        self.call(code::GET_ROUTEINFO_BY_TOPIC, &[("topic", topic)], b"").expect("an answer to a route request").code
            == 0
    }
}

fn decode(frame: &[u8]) -> io::Result<Frame> {
    let wrong = |what: &str| io::Error::new(ErrorKind::InvalidData, format!("the server sent a frame whose {what}"));
    let kind = frame.first().ok_or_else(|| wrong("length is 0"))?;
    let length = frame.get(1..4).map(|length| u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize);
    let header = length.and_then(|length| frame.get(4..4 + length)).ok_or_else(|| wrong("header does not fit in"))?;
    if *kind != 0 {
        return Err(wrong("header is not JSON, though the request's was"));
    }
    let value: Value = serde_json::from_slice(header).map_err(|error| wrong(&format!("header is no JSON: {error}")))?;
    let number = |name: &str| {
        value[name].as_i64().map(|number| number as i32).ok_or_else(|| wrong(&format!("{name} is missing")))
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = value["extFields"].as_object().into_iter().flatten();
    Ok(Frame {
        code: number("code")?,
        flag: number("flag")?,
        opaque: number("opaque")?,
        remark: value["remark"].as_str().unwrap_or_default().to_owned(),
        fields: fields.map(|(name, value)| (name.clone(), text(value))).collect(),
        body: frame[4 + header.len()..].to_vec(),
    })
}
