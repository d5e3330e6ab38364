//! Records, batches, properties and ids against the golden vectors, in both directions (STO-2, SEC-14).

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use skylark_core::ids::LogPos;
use skylark_core::record::unique_key::UniqueKeys;
use skylark_core::record::{
    Damage, Draft, MAX_PROPERTIES, Record, Scan, batch, crc, java_hash, offset_id, parse_offset_id, properties, scan,
};
use skylark_core::store::queues::{UNIT, Unit};
use skylark_core::time::{Instant, Now, Unix};
use skylark_core::wire::codes::Code;

mod golden;
use golden::{bytes, vector, vectors};

fn int(v: &Value) -> i64 {
    v.as_i64().unwrap_or_else(|| panic!("{v} is a number"))
}

/// Writes the record again from what was read, and compares every byte.
fn rewrite(record: &Record<'_>) {
    let with_crc = record.properties().any(|(name, _)| name == properties::CRC32);
    let text = properties::without(record.properties, &[properties::CRC32]);
    let draft = Draft {
        topic: record.topic,
        queue_id: record.queue_id,
        queue_offset: record.queue_offset as u64,
        flag: record.flag,
        sys_flag: record.sys_flag,
        born: record.born,
        born_host: record.born_host,
        store: record.store,
        store_host: record.store_host,
        reconsume_times: record.reconsume_times,
        prepared: record.prepared,
        body: record.body,
        properties: &text,
        extra: &[],
        crc: with_crc,
    };
    let mut out = b"before".to_vec();
    draft.write(record.at, &mut out);
    assert_eq!(&out[6..], record.bytes);
    assert_eq!(draft.size(), Ok(record.size()));
}

#[test]
fn golden_wire_messages_read_and_write() {
    let all = vectors("message");
    assert_eq!(all.len(), 4);
    for v in all {
        let (id, data, want) = (&v["id"], bytes(&v["hex"]), &v["decoded"]);
        let (record, rest) = Record::check(&data).expect("a record");
        assert!(rest.is_empty());
        assert_eq!(record.verify(), Ok(()), "{id}");
        for (name, found) in [
            ("totalSize", record.size() as i64),
            ("bodyCrc", record.body_crc.into()),
            ("queueId", record.queue_id.into()),
            ("flag", record.flag.into()),
            ("queueOffset", record.queue_offset),
            ("physicalOffset", record.at.0 as i64),
            ("sysFlag", record.sys_flag.into()),
            ("bornTimestamp", record.born.0),
            ("storeTimestamp", record.store.0),
            ("reconsumeTimes", record.reconsume_times.into()),
            ("preparedTransactionOffset", record.prepared),
        ] {
            if let Some(want) = want.get(name) {
                assert_eq!(found, int(want), "{id} {name}");
            }
        }
        for (name, found) in [("bornHost", record.born_host), ("storeHost", record.store_host)] {
            if let Some(want) = want[name].as_str() {
                assert_eq!(found, want.parse::<SocketAddr>().expect("address"), "{id}");
            }
        }
        if let Some(topic) = want["topic"].as_str() {
            assert_eq!(record.topic, topic, "{id}");
        }
        if let Some(id) = want["offsetMsgId"].as_str() {
            assert_eq!(offset_id(&record.store_host, record.at), id);
        }
        if let Some(text) = want["bodyDecompressed"].as_str() {
            assert_eq!(skylark_core::record::inflate(record.body, 64).as_deref(), Some(text.as_bytes()));
            assert_eq!(skylark_core::record::inflate(record.body, 22), None, "SEC-9: the cap holds");
        }
        rewrite(&record);
    }
}

#[test]
fn golden_store_records_read_and_write() {
    for id in ["rec-v1-ipv4", "rec-v1-ipv6", "rec-v2-long-topic", "rec-v1-crc-prop", "rec-v1-inner-batch"] {
        let v = vector(id);
        let (data, want) = (bytes(&v["hex"]), &v["fields"]);
        let (record, _) = Record::check(&data).expect(id);
        assert_eq!(scan(&data, record.at), Scan::Record(record), "{id}");
        assert_eq!(record.size() as i64, int(&want["totalSize"]), "{id}");
        assert_eq!(record.at.0 as i64, int(&want["physicalOffset"]), "{id}");
        assert_eq!(record.queue_offset, int(&want["queueOffset"]), "{id}");
        rewrite(&record);
    }
    let first = bytes(&vector("rec-v1-ipv4")["hex"]);
    let (record, _) = Record::check(&first).expect("a record");
    let unit = Unit { at: record.at, size: record.size() as u32, tags: record.tag_code() };
    assert_eq!(unit.encode().to_vec(), bytes(&vector("cq-unit-tag")["hex"]));
}

#[test]
fn golden_queue_units_read_and_write() {
    for id in ["cq-unit-tag", "cq-unit-negative-tag", "cq-unit-delay", "cq-unit-preblank"] {
        let v = vector(id);
        let data: [u8; UNIT] = bytes(&v["hex"]).try_into().expect("20 bytes");
        let unit = Unit::decode(&data).expect(id);
        assert_eq!(unit.encode(), data);
        if let Some(tag) = v["fields"]["tag"].as_str() {
            assert_eq!(unit.tags, i64::from(java_hash(tag)), "{id}");
        }
        if let Some(tags) = v["fields"].get("tagsCode") {
            assert_eq!(unit.tags, int(tags), "{id}");
        }
    }
}

#[test]
fn a_golden_batch_becomes_golden_records() {
    let client = bytes(&vector("batch-client-body")["hex"]);
    let log = bytes(&vector("batch-commitlog")["hex"]);
    let (first, _) = Record::check(&log).expect("a record");
    let mut out = Vec::new();
    for (i, entry) in batch::entries(&client).enumerate() {
        let entry = entry.expect("an entry");
        let draft = Draft {
            topic: first.topic,
            queue_id: first.queue_id,
            queue_offset: first.queue_offset as u64 + i as u64,
            flag: entry.flag,
            sys_flag: first.sys_flag,
            born: first.born,
            born_host: first.born_host,
            store: first.store,
            store_host: first.store_host,
            reconsume_times: 0,
            prepared: 0,
            body: entry.body,
            properties: entry.properties,
            extra: &[],
            crc: false,
        };
        draft.write(first.at.plus(out.len() as u64), &mut out);
    }
    assert_eq!(out, log);
}

#[test]
fn golden_batch_bodies_read_and_write() {
    let v = &vectors("batch-body")[0];
    let data = bytes(&v["hex"]);
    let entries: Vec<_> = batch::entries(&data).map(|e| e.expect("an entry")).collect();
    let mut out = Vec::new();
    for (entry, want) in entries.iter().zip(v["decoded"].as_array().expect("list")) {
        assert_eq!(i64::from(entry.flag), int(&want["flag"]));
        assert_eq!(entry.body, bytes(&want["bodyHex"]));
        for (name, value) in want["properties"].as_object().expect("object") {
            assert_eq!(properties::get(entry.properties, name), value.as_str());
        }
        batch::write(entry, &mut out);
    }
    assert_eq!(entries.len(), 2);
    // The client leaves the last separator out; what stands before the properties is the same.
    assert_eq!(batch::entries(&out).map(|e| e.expect("an entry")).collect::<Vec<_>>(), entries);
    assert!(batch::entries(&data[..data.len() - 1]).any(|e| e.is_err()), "a cut batch is refused");
}

#[test]
fn golden_properties_read_and_write() {
    let all = vectors("properties");
    assert_eq!(all.len(), 2);
    for v in all {
        let text = String::from_utf8(bytes(&v["hex"])).expect("UTF-8");
        let mut found: Vec<_> = properties::iter(&text).collect();
        found.sort_unstable();
        let mut want: Vec<_> =
            v["decoded"].as_object().expect("object").iter().map(|(k, v)| (&**k, v.as_str().expect("text"))).collect();
        want.sort_unstable();
        assert_eq!(found, want);
        let again = properties::text(properties::iter(&text));
        assert!(properties::iter(&again).eq(properties::iter(&text)));
    }
}

#[test]
fn what_the_broker_acts_on_is_found_in_one_pass() {
    let text = "TAGS\u{1}a\u{2}TAGS\u{1}b\u{2}WAIT\u{1}false\u{2}DELAY\u{1}3\u{2}TRAN_MSG\u{1}true\u{2}\
                PGROUP\u{1}PG\u{2}KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}0A\u{2}TIMER_DELAY_MS\u{1}5";
    let known = properties::Known::of(text);
    assert_eq!((known.tags, known.keys, known.unique_key), (Some("b"), Some("k1 k2"), Some("0A")));
    assert_eq!((known.wait, known.delay, known.half, known.timer), (false, 3, true, true));
    assert_eq!((known.producer_group, known.reserved), (Some("PG"), false));
    let known = properties::Known::of("");
    assert_eq!((known.wait, known.delay, known.half, known.timer), (true, 0, false, false));
    let foreign = "a\u{1}b\u{2}__CRC32#\u{1}0123456789\u{2}POP_CK\u{1}x\u{2}c\u{1}d";
    assert!(properties::Known::of(foreign).reserved);
    assert_eq!(properties::without(foreign, &properties::RESERVED), "a\u{1}b\u{2}c\u{1}d\u{2}");
}

#[test]
fn golden_ids_read_and_write() {
    for v in vectors("id").iter().filter(|v| v["decoded"].get("offset").is_some()) {
        let id = v["value"].as_str().expect("text");
        let want = &v["decoded"];
        let (host, at) = parse_offset_id(id).expect("an id");
        assert_eq!(host.ip().to_string(), want["ip"].as_str().expect("text"));
        assert_eq!((i64::from(host.port()), at.0 as i64), (int(&want["port"]), int(&want["offset"])));
        assert_eq!(offset_id(&host, at), id);
    }
    for text in
        ["", "0A00000100002A9F000000000000100", "0A00000100002A9F00000000000010zz", "0A000001FFFF2A9F0000000000001000"]
    {
        assert_eq!(parse_offset_id(text), None, "{text}");
    }
    let unique = vectors("id").into_iter().find(|v| v["id"] == "uniq-key").expect("vector");
    // 1,000,000 ms after a month began, and a counter that continues at 1.
    let november = 1_698_796_800_000;
    let now = Now { mono: Instant(0), wall: Unix(november + 1_000_000) };
    let mut keys = UniqueKeys::new("10.0.0.9".parse().expect("address"), 1114, 0, 0);
    assert_eq!(keys.next(now), unique["value"].as_str().expect("text"));
}

#[test]
fn unique_keys_differ_and_their_month_turns() {
    let ip: IpAddr = "fd00::1".parse().expect("address");
    let mut keys = UniqueKeys::new(ip, 7, 0xABCD, u16::MAX);
    let at = |ms| Now { mono: Instant(0), wall: Unix(ms) };
    let february = 1_706_745_600_000; // 2024-02-01, a leap year
    let last = keys.next(at(february + 29 * 86_400_000 - 1));
    let first = keys.next(at(february + 29 * 86_400_000));
    assert_eq!(last.len(), 56);
    assert_eq!(last[44..], format!("{:08X}0000", 29 * 86_400_000u32 - 1));
    assert_eq!(first[44..], *"000000000001");
    // Every month of four centuries begins at 0.
    let mut ms = 951_868_800_000; // 2000-03-01
    for _ in 0..400 * 12 {
        assert_eq!(keys.next(at(ms))[44..52], *"00000000");
        let before: u32 = u32::from_str_radix(&keys.next(at(ms - 1))[44..52], 16).expect("hex");
        assert!((28..=31).contains(&((before + 1) / 86_400_000)) && (before + 1).is_multiple_of(86_400_000));
        ms += 28 * 86_400_000;
        while keys.next(at(ms))[44..52] != *"00000000" {
            ms += 86_400_000;
        }
    }
}

#[test]
fn golden_hashes_agree() {
    for (text, code) in vectors("hash")[0]["decoded"].as_object().expect("object") {
        assert_eq!(i64::from(java_hash(text)), int(code), "{text}");
    }
    for (text, sum) in vectors("hash")[1]["decoded"].as_object().expect("object") {
        assert_eq!(i64::from(crc(text.as_bytes())), int(sum), "{text}");
    }
    for case in vector("java-string-hash")["fields"]["cases"].as_array().expect("list") {
        assert_eq!(i64::from(java_hash(case["string"].as_str().expect("text"))), int(&case["javaHashCode"]));
    }
}

fn draft<'a>(body: &'a [u8], text: &'a str, extra: &'a [(&'a str, &'a str)]) -> Draft<'a> {
    Draft {
        topic: "TopicTest",
        queue_id: 1,
        queue_offset: 5,
        flag: 0,
        sys_flag: 0,
        born: Unix(1),
        born_host: "[fd00::9]:51000".parse().expect("address"),
        store: Unix(2),
        store_host: "10.0.0.1:10911".parse().expect("address"),
        reconsume_times: 0,
        prepared: 0,
        body,
        properties: text,
        extra,
        crc: true,
    }
}

#[test]
fn what_the_broker_adds_follows_the_properties_that_were_sent() {
    for text in ["", "TAGS\u{1}a\u{2}", "TAGS\u{1}a"] {
        for extra in [&[][..], &[("CLUSTER", "c"), ("TRACE_ON", "true")]] {
            for crc in [false, true] {
                let draft = Draft { crc, ..draft(b"body", text, extra) };
                let mut out = Vec::new();
                draft.write(LogPos(91), &mut out);
                assert_eq!(draft.size(), Ok(out.len()));
                let Scan::Record(record) = scan(&out, LogPos(91)) else { panic!("a record") };
                let found: Vec<_> = record.properties().filter(|(name, _)| *name != properties::CRC32).collect();
                let want: Vec<_> = properties::iter(text).chain(extra.iter().copied()).collect();
                assert_eq!(found, want);
                assert_eq!(record.properties().any(|(name, _)| name == properties::CRC32), crc);
                assert_eq!(record.sys_flag, 0x10, "the born host is IPv6, the store host is not");
            }
        }
    }
}

#[test]
fn limits_are_refused_with_the_code_that_clients_know() {
    let long = "x".repeat(MAX_PROPERTIES - 20 - 1);
    let fits = draft(b"", &long, &[]);
    assert!(fits.size().is_ok());
    let long = format!("{long}x");
    let refusal = draft(b"", &long, &[]).size().expect_err("20 bytes are reserved for the checksum");
    assert_eq!(refusal.code, Code::MESSAGE_ILLEGAL);
    let body = vec![0; (4 << 20) + 1];
    assert_eq!(draft(&body, "", &[]).size().expect_err("too large").code, Code::MESSAGE_ILLEGAL);
    assert!(Draft { topic: "", ..fits }.size().is_err());
    let topic = "t".repeat(256);
    assert!(Draft { topic: &topic, ..fits }.size().is_err());
}

#[test]
fn a_scan_tells_records_fillers_nothing_and_damage_apart() {
    let filler = bytes(&vector("rec-blank")["hex"]);
    let mut segment_end = filler.clone();
    segment_end.resize(100, 0xAA);
    assert_eq!(scan(&segment_end, LogPos(0)), Scan::Filler(100));
    assert_eq!(scan(&segment_end[..99], LogPos(0)), Scan::Damaged(Damage::Shape), "a filler beyond its segment");
    for len in [0, 3, 8, 4096] {
        assert_eq!(scan(&vec![0; len], LogPos(0)), Scan::Nothing);
    }
    let mut out = Vec::new();
    draft(b"hello", "TAGS\u{1}a\u{2}", &[]).write(LogPos(4096), &mut out);
    assert!(matches!(scan(&out, LogPos(4096)), Scan::Record(_)));
    assert_eq!(scan(&out, LogPos(4097)), Scan::Damaged(Damage::Position), "left from before a truncation");
    for len in 4..out.len() {
        assert!(matches!(scan(&out[..len], LogPos(4096)), Scan::Damaged(_)), "torn after {len} bytes");
    }
    // STO-2: one flipped bit anywhere is found.
    for bit in 0..out.len() * 8 {
        let mut torn = out.clone();
        torn[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(scan(&torn, LogPos(4096)), Scan::Damaged(_)), "bit {bit}");
    }
}
