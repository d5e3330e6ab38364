//! Frames against the golden vectors, in both directions, and in both serializations.

use std::net::SocketAddr;

use serde_json::Value;
use skylark_core::ids::{AskId, Call, ConnId, LogPos};
use skylark_core::time::Unix;
use skylark_core::wire::answer::Answer;
use skylark_core::wire::codes::Code;
use skylark_core::wire::frame::{Frame, Frames, MAX_FRAME};
use skylark_core::wire::reply::{Positions, Pulled, Refusal, Reply, Sent};
use skylark_core::wire::request::{Boundary, PullMessage, QueueOf, Request, SendMessage, TopicConfig};
use skylark_core::wire::{WireError, encode};

mod golden;
use golden::{bytes, vectors};

/// Splits bytes that hold exactly one frame.
fn with_frame<T>(mut buf: Vec<u8>, check: impl FnOnce(Frame<'_>) -> T) -> T {
    let mut frames = Frames::new();
    let len = buf.len();
    assert_eq!(frames.split(&mut buf, MAX_FRAME), Ok(len));
    assert_eq!(frames.len(), 1);
    check(frames.get(0, &buf).expect("one frame"))
}

fn fields_equal(frame: &Frame<'_>, expected: &Value) {
    let text = |v: &[u8]| String::from_utf8(v.to_vec()).expect("UTF-8");
    let mut found: Vec<(String, String)> = Vec::new();
    for (key, _) in frame.fields() {
        let key = text(key);
        let value = text(frame.field(&key).expect("listed"));
        if !found.contains(&(key.clone(), value.clone())) {
            found.push((key, value));
        }
    }
    found.sort();
    let mut want: Vec<(String, String)> = expected
        .as_object()
        .map(|o| o.iter().map(|(k, v)| (k.clone(), v.as_str().expect("text").to_owned())).collect())
        .unwrap_or_default();
    want.sort();
    assert_eq!(found, want);
}

#[test]
fn golden_frames_decode_to_their_fields() {
    let mut count = 0;
    for v in vectors("frame") {
        let want = &v["decoded"];
        with_frame(bytes(&v["hex"]), |frame| {
            let id = v["id"].as_str().expect("id");
            let code = want.get("code").or(want.get("codeRead")).expect("code");
            assert_eq!(i64::from(frame.code()), code.as_i64().expect("number"), "{id}");
            assert_eq!(i64::from(frame.opaque()), want["opaque"].as_i64().expect("number"), "{id}");
            if let Some(flag) = want["flag"].as_i64() {
                assert_eq!(i64::from(frame.flag()), flag, "{id}");
            }
            if let Some(language) = want["language"].as_str() {
                assert_eq!(frame.language().name(), language, "{id}");
                assert_eq!(i64::from(frame.version()), want["version"].as_i64().expect("number"), "{id}");
                assert_eq!(frame.remark(), want["remark"].as_str().unwrap_or(""), "{id}");
            }
            if let Some(kind) = want["serializeType"].as_i64() {
                assert_eq!(frame.is_binary(), kind == 1, "{id}");
            }
            if let Some(body) = want.get("bodyHex") {
                assert_eq!(frame.body(), bytes(body), "{id}");
            }
            if let Some(fields) = want.get("extFields") {
                fields_equal(&frame, fields);
            }
        });
        count += 1;
    }
    assert_eq!(count, 10);
}

fn call(binary: bool) -> Call {
    Call { conn: ConnId(1), opaque: -7, binary, oneway: false }
}

fn host() -> SocketAddr {
    "10.0.0.1:10911".parse().expect("address")
}

/// A reply as its asker reads it, after the driver appended the leases.
fn through(binary: bool, reply: &Reply<Vec<u8>>, check: impl FnOnce(Answer<'_>)) {
    let mut out = b"before".to_vec();
    encode::reply(&call(binary), reply, &mut out);
    for lease in encode::leases(reply) {
        out.extend_from_slice(lease);
    }
    with_frame(out.split_off(6), |frame| {
        assert!(frame.is_response());
        assert_eq!(frame.ask(), AskId(-7));
        assert_eq!(frame.is_binary(), binary);
        check(Answer::of(frame));
    });
}

#[test]
fn replies_read_back_in_both_serializations() {
    for binary in [false, true] {
        through(binary, &Reply::Done, |a| assert!(a.is_success() && a.body.is_empty()));
        let sent = Sent {
            code: Code::FLUSH_DISK_TIMEOUT,
            host: host(),
            at: Positions::Many(vec![LogPos(4096), LogPos(5000)]),
            queue_id: 3,
            queue_offset: 42,
            unique_key: "0A000009045A00000000000F42400001".into(),
        };
        through(binary, &Reply::Sent(sent), |a| {
            assert_eq!(a.code, Code::FLUSH_DISK_TIMEOUT);
            let sent = a.sent().expect("receipt");
            assert_eq!(sent.msg_id, "0A00000100002A9F0000000000001000,0A00000100002A9F0000000000001388");
            assert_eq!((sent.queue_id, sent.queue_offset), (3, 42));
            assert_eq!(sent.transaction_id, "0A000009045A00000000000F42400001");
            assert_eq!((a.field("MSG_REGION"), a.field("TRACE_ON")), (Some("DefaultRegion"), Some("true")));
        });
        let leases = vec![b"one".to_vec(), b"two!".to_vec()];
        let pulled =
            Pulled { code: Code::SUCCESS, remark: "FOUND", next: 7, min: 0, max: i64::MAX, suggest: 0, leases };
        through(binary, &Reply::Pulled(pulled), |a| {
            let pulled = a.pulled().expect("receipt");
            assert_eq!((pulled.next, pulled.min, pulled.max, pulled.suggest), (7, 0, i64::MAX, 0));
            assert_eq!((pulled.records, a.remark), (&b"onetwo!"[..], "FOUND"));
        });
        let refusal = Refusal { code: Code::TOPIC_NOT_EXIST, remark: "no \"topic\"\n\u{1}\\ 主题 😀".into() };
        through(binary, &Reply::Refused(refusal.clone()), |a| assert_eq!(a.remark, refusal.remark));
        through(binary, &Reply::Offset(i64::MIN), |a| assert_eq!(a.offset(), Ok(i64::MIN)));
        through(binary, &Reply::Timestamp(-1), |a| assert_eq!(a.timestamp(), Ok(-1)));
        through(binary, &Reply::Messages(vec![b"m".to_vec()]), |a| assert_eq!(a.body, b"m"));
        through(binary, &Reply::Body(b"{}".to_vec()), |a| assert_eq!(a.body, b"{}"));
        let registered =
            Reply::Registered { master: Some("10.0.0.1:10911".into()), ha: None, body: b"{\"table\":{}}".to_vec() };
        through(binary, &registered, |a| {
            assert_eq!((a.field("masterAddr"), a.field("haServerAddr")), (Some("10.0.0.1:10911"), None));
        });
    }
}

/// Writes a request in both serializations and reads it back.
fn round(request: &Request<'_>) {
    for (binary, oneway) in [(false, true), (true, false)] {
        let mut out = Vec::new();
        if binary {
            encode::binary_request(request, AskId(5), oneway, &mut out);
        } else {
            encode::request(request, AskId(5), oneway, &mut out);
        }
        with_frame(out, |frame| {
            assert_eq!((frame.is_oneway(), frame.is_response(), frame.ask()), (oneway, false, AskId(5)));
            assert_eq!(frame.code(), request.code());
            assert_eq!(Request::decode(&frame).as_ref(), Ok(request));
        });
    }
}

#[test]
fn every_request_reads_back_as_written() {
    let queue = QueueOf { topic: "主题\"T", queue_id: -1 };
    let mut send = SendMessage {
        group: "PG",
        topic: "T",
        default_topic: "TBW102",
        default_topic_queues: 4,
        queue_id: 1,
        sys_flag: 0x301,
        born: Unix(1_700_000_000_000),
        flag: i32::MIN,
        properties: "UNIQ_KEY\u{1}0A\u{2}TAGS\u{1}标签\u{2}",
        reconsume_times: 2,
        max_reconsume_times: Some(16),
        batch: false,
        body: b"\x00body\xFF",
    };
    round(&Request::Send(send));
    (send.batch, send.max_reconsume_times, send.properties) = (true, None, "");
    round(&Request::Send(send));
    round(&Request::Pull(PullMessage {
        group: "G",
        topic: "T",
        queue_id: 0,
        offset: 9,
        max: 32,
        max_bytes: Some(1 << 20),
        sys_flag: 6,
        commit_offset: -1,
        suspend_ms: 15_000,
        subscription: Some("TagA || TagB"),
        sub_version: 1_700_000_000_000_000_001,
        expression_type: Some("TAG"),
    }));
    round(&Request::QueryOffset { group: "G", queue, zero_if_none: false });
    round(&Request::UpdateOffset { group: "G", queue, offset: i64::MAX });
    round(&Request::SearchOffset { queue, at: Unix(-5), boundary: Boundary::Upper });
    round(&Request::MaxOffset(queue));
    round(&Request::MinOffset(queue));
    round(&Request::EarliestStoreTime(queue));
    round(&Request::ViewMessage { at: 4096 });
    round(&Request::UnregisterClient { client_id: "c@1", producer_group: None, consumer_group: Some("G") });
    round(&Request::ConsumerList { group: "G" });
    round(&Request::NotifyConsumerIds { group: "G" });
    round(&Request::UpdateTopic {
        config: TopicConfig {
            name: "T".into(),
            read_queues: 8,
            write_queues: 4,
            perm: 6,
            sys_flag: 1,
            order: true,
            filter_type: "MULTI_TAG".into(),
            attributes: vec![("cleanup.policy".into(), String::new()), ("message.type".into(), "FIFO".into())],
        },
    });
    round(&Request::TopicConfigs);
    round(&Request::BrokerInfo);
    round(&Request::TopicStats { topic: "T" });
    round(&Request::ConsumeStats { group: "G", topic: None });
    round(&Request::ConsumeStats { group: "G", topic: Some("T") });
    round(&Request::UnregisterBroker { cluster: "c", name: "b", address: "10.0.0.1:10911", id: 0 });
    round(&Request::Route { topic: "T", standard_json: true });
    round(&Request::ClusterInfo);
    round(&Request::TopicList);
    round(&Request::Unknown { code: 351 });
}

#[test]
fn a_code_beyond_sixteen_bits_goes_out_with_a_json_header() {
    let mut out = Vec::new();
    encode::binary_request(&Request::Unknown { code: 200_050 }, AskId(1), false, &mut out);
    with_frame(out, |frame| assert_eq!((frame.code(), frame.is_binary()), (200_050, false)));
}

#[test]
fn a_oneway_call_gets_no_bytes() {
    let mut out = Vec::new();
    encode::reply(&Call { oneway: true, ..call(false) }, &Reply::<Vec<u8>>::Done, &mut out);
    assert!(out.is_empty());
}

/// A frame around a JSON header.
fn json_frame(header: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&(4 + header.len() as u32 + body.len() as u32).to_be_bytes());
    out.extend_from_slice(&(header.len() as u32).to_be_bytes());
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(body);
    out
}

#[test]
fn json_headers_are_read_as_peers_write_them() {
    let header = r#" { "code" : "30", "unknown":{"a":[1,{"b":null}],"c":"\"}"}, "language":9, "opaque":-3,
        "extFields":{"queueId":3,"topic":"a\u4e2d\ud83d\ude00\\\"\n\/","lo":false,"gone":null,"queueId":"4"},
        "serializeTypeCurrentRPC":"JSON","remark":null,"flag":2,"version":317 } "#;
    with_frame(json_frame(header, b"body"), |frame| {
        assert_eq!((frame.code(), frame.opaque(), frame.flag(), frame.version()), (30, -3, 2, 317));
        assert_eq!((frame.language().name(), frame.remark(), frame.body()), ("GO", "", &b"body"[..]));
        assert_eq!((frame.field("gone"), frame.field("lo")), (None, Some(&b"false"[..])));
        let queue = QueueOf { topic: "a中😀\\\"\n/", queue_id: 4 };
        assert_eq!(Request::decode(&frame), Ok(Request::MaxOffset(queue)), "the last of two fields counts");
    });
    with_frame(json_frame("{}", b""), |frame| {
        assert_eq!((frame.code(), frame.language().name(), frame.version()), (0, "JAVA", 0));
    });
    with_frame(json_frame(r#"{"code":106,"extFields":null,"language":"KLINGON"}"#, b""), |frame| {
        assert_eq!((Request::decode(&frame), frame.language().name()), (Ok(Request::ClusterInfo), "OTHER"));
    });
}

#[test]
fn several_frames_of_one_read_are_found_and_the_rest_waits() {
    let mut buf = json_frame(r#"{"code":106,"opaque":1,"extFields":{"a":"\u0001"}}"#, b"");
    let first = buf.len();
    encode::binary_request(&Request::TopicList, AskId(2), false, &mut buf);
    let both = buf.len();
    encode::request(&Request::BrokerInfo, AskId(3), false, &mut buf);
    let whole = buf.clone();
    let mut frames = Frames::new();
    for end in 0..=whole.len() {
        let mut buf = whole[..end].to_vec();
        let (used, count) = match end {
            e if e < first => (0, 0),
            e if e < both => (first, 1),
            e if e < whole.len() => (both, 2),
            e => (e, 3),
        };
        assert_eq!(frames.split(&mut buf, MAX_FRAME), Ok(used));
        assert_eq!(frames.len(), count);
        let opaques: Vec<i32> = frames.iter(&buf).map(|f| f.opaque()).collect();
        assert_eq!(opaques, [1, 2, 3][..count]);
    }
}

#[test]
fn lengths_are_checked_before_anything_arrives() {
    // SEC-8: eight bytes are enough to refuse what is too long or makes no sense.
    let split = |bytes: &[u8]| Frames::new().split(&mut bytes.to_vec(), MAX_FRAME);
    assert_eq!(split(&[0, 255, 255, 252]), Ok(0), "16 MiB with its length is the largest");
    assert_eq!(split(&[0, 255, 255, 253]), Err(WireError::TooLong { what: "frame", max: MAX_FRAME }));
    assert_eq!(split(&[255; 4]), Err(WireError::TooLong { what: "frame", max: MAX_FRAME }));
    assert!(matches!(split(&[0, 0, 0, 3]), Err(WireError::Malformed { .. })), "shorter than its header length");
    assert!(matches!(split(&[0, 0, 1, 0, 2, 0, 0, 9]), Err(WireError::Malformed { .. })), "unknown serialization");
    assert!(matches!(split(&[0, 0, 0, 9, 0, 0, 0, 6]), Err(WireError::Malformed { .. })), "header beyond the frame");
    assert!(matches!(split(&[0, 255, 0, 0, 0, 4, 0, 1]), Err(WireError::TooLong { what: "header", .. })));
    assert!(matches!(split(b"\x16\x03\x01\x02\x00\x01"), Err(WireError::TooLong { .. })), "TLS is not a frame");
}

#[test]
fn headers_that_make_no_sense_close_the_connection() {
    for header in [
        "",
        "[]",
        "{",
        "{\"code\":}",
        "{\"code\":1",
        "{\"code\":\"x\"}",
        "{\"code\":99999999999}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\q\"}",
        "{\"a\":\"",
        "{\"extFields\":{\"a\":\"b\"",
        "{\"extFields\":{\"a\"}}",
        "{\"a\" 1}",
    ] {
        let error = Frames::new().split(&mut json_frame(header, b"x"), MAX_FRAME);
        assert!(matches!(error, Err(WireError::Malformed { .. })), "{header} {error:?}");
    }
    let deep = format!("{{\"a\":{}", "[".repeat(100));
    let error = Frames::new().split(&mut json_frame(&deep, b""), MAX_FRAME);
    assert!(matches!(error, Err(WireError::TooLong { .. })));
    let many = (0..2000).map(|i| format!("\"{i}\":\"\"")).collect::<Vec<_>>().join(",");
    let error = Frames::new().split(&mut json_frame(&format!("{{\"extFields\":{{{many}}}}}"), b""), MAX_FRAME);
    assert!(matches!(error, Err(WireError::TooLong { .. })), "counts are capped");
}

#[test]
fn a_request_that_lacks_a_field_is_refused_by_its_name() {
    let refused = |header: &str| {
        with_frame(json_frame(header, b""), |frame| Request::decode(&frame).expect_err("a refusal").remark)
    };
    assert!(refused(r#"{"code":30,"extFields":{"topic":"T"}}"#).contains("'queueId'"));
    assert!(refused(r#"{"code":30,"extFields":{"topic":"T","queueId":"x"}}"#).contains("'queueId'"));
    assert!(refused(r#"{"code":30,"extFields":{"topic":"T","queueId":"2147483648"}}"#).contains("'queueId'"));
    assert!(refused(r#"{"code":310,"extFields":{"a":"PG"}}"#).contains("'b'"));
    assert!(refused(r#"{"code":10}"#).contains("'producerGroup'"));
    assert!(refused(r#"{"code":34}"#).contains("heartbeat"));
    assert!(refused(r#"{"code":103,"extFields":{"bodyCrc32":"5"}}"#).contains("crc32 not match"));
    let attributes = r#"{"code":17,"extFields":{"topic":"T","readQueueNums":"1","writeQueueNums":"1","perm":"6","topicFilterType":"SINGLE_TAG","attributes":"message.type=FIFO"}}"#;
    assert!(refused(attributes).contains("message.type=FIFO"));
    let mut bytes = json_frame(r#"{"code":38,"extFields":{"consumerGroup":"??"}}"#, b"");
    let at = bytes.windows(2).position(|w| w == b"??").expect("marker");
    bytes[at] = 0xFF;
    assert!(with_frame(bytes, |f| Request::decode(&f).expect_err("a refusal").remark).contains("UTF-8"));
}

#[test]
fn a_binary_send_means_what_its_golden_fields_say() {
    let v = golden::vector("binary-request-send-v2");
    let want = &v["decoded"]["meaning"];
    with_frame(bytes(&v["hex"]), |frame| {
        let Ok(Request::Send(send)) = Request::decode(&frame) else { panic!("a send") };
        for (name, found) in [
            ("producerGroup", send.group),
            ("topic", send.topic),
            ("defaultTopic", send.default_topic),
            ("properties", send.properties),
        ] {
            assert_eq!(found, want[name].as_str().expect("text"));
        }
        for (name, found) in [
            ("defaultTopicQueueNums", send.default_topic_queues),
            ("queueId", send.queue_id),
            ("sysFlag", send.sys_flag),
            ("flag", send.flag),
            ("reconsumeTimes", send.reconsume_times),
        ] {
            assert_eq!(i64::from(found), want[name].as_i64().expect("number"));
        }
        assert_eq!(send.born.0, want["bornTimestamp"].as_i64().expect("number"));
        assert_eq!((send.max_reconsume_times, send.batch, send.body), (None, false, &b"hello"[..]));
    });
}

#[test]
fn a_heartbeat_knows_the_language_and_version_of_its_frame() {
    let body = br#"{"clientID":"c@1"}"#;
    with_frame(json_frame(r#"{"code":34,"language":"GO","version":317}"#, body), |frame| {
        let Ok(Request::Heartbeat(heartbeat)) = Request::decode(&frame) else { panic!("a heartbeat") };
        assert_eq!((&*heartbeat.client_id, &*heartbeat.language, heartbeat.version), ("c@1", "GO", 317));
    });
}
