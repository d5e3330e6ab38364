//! Bodies and tables: the forms that Java and Go write, and what Skylark writes, read back.

use serde_json::Value;
use skylark_core::wire::body::tables::GroupOffsets;
use skylark_core::wire::body::{
    BrokerData, ClusterInfo, ConsumeStats, ConsumerIds, GroupConfig, GroupTable, KeyValues, MessageQueue, OffsetTable,
    Progress, QueueData, QueueStats, TopicConfigTable, TopicList, TopicRoute, TopicStats, heartbeat, register,
};
use skylark_core::wire::request::{ConsumerData, DataVersion, Heartbeat, RegisterBroker, Subscription, TopicConfig};
use skylark_core::wire::{WireError, json};

mod golden;
use golden::{bytes, vector};

fn text(v: &Value) -> &str {
    v.as_str().expect("text")
}

#[test]
fn the_golden_route_reads_and_writes_in_both_forms() {
    let v = vector("route-body-two-forms");
    let (old, standard) = (text(&v["text_unquoted"]), text(&v["text_standard"]));
    let route = TopicRoute::decode(old.as_bytes()).expect("a route");
    assert_eq!(TopicRoute::decode(standard.as_bytes()).as_ref(), Ok(&route));
    assert_eq!(route.brokers[0].addresses, [(0, "10.0.0.1:10911".into()), (1, "10.0.0.2:10911".into())]);
    assert_eq!(route.brokers[0].master(), Some("10.0.0.1:10911"));
    assert_eq!(route.queues[0].write_queues, 4);
    assert_eq!(String::from_utf8(route.encode(false)).expect("UTF-8"), old);
    assert_eq!(String::from_utf8(route.encode(true)).expect("UTF-8"), standard);
}

#[test]
fn a_route_without_addresses_still_has_the_member_that_go_needs() {
    let route = TopicRoute {
        brokers: vec![BrokerData { name: "b".into(), ..BrokerData::default() }],
        queues: vec![QueueData { broker: "b".into(), read_queues: 1, write_queues: 1, perm: 6, sys_flag: 0 }],
        order_conf: Some("b:1".into()),
    };
    let body = String::from_utf8(route.encode(true)).expect("UTF-8");
    assert!(body.contains("\"brokerAddrs\":{},"));
    assert!(!body.contains(' '));
    assert_eq!(TopicRoute::decode(body.as_bytes()), Ok(route));
}

#[test]
fn the_golden_heartbeat_of_go_reads() {
    let v = vector("heartbeat-go-body");
    let heartbeat = heartbeat::decode(text(&v["text"]).as_bytes()).expect("a heartbeat");
    let want = &v["decoded"];
    assert_eq!(heartbeat.client_id, text(&want["clientID"]));
    let (group, want) = (&heartbeat.consumers[0], &want["consumers"][0]);
    assert_eq!(group.group, text(&want["groupName"]));
    assert_eq!(group.consume_type, text(&want["consumeType"]));
    assert_eq!(group.message_model, text(&want["messageModel"]));
    assert_eq!(group.from, text(&want["consumeFromWhere"]));
    for (sub, want) in group.subscriptions.iter().zip(want["subscriptions"].as_array().expect("list")) {
        assert_eq!(sub.topic, text(&want["topic"]));
        assert_eq!(sub.expression, text(&want["subString"]));
        assert_eq!(sub.version, want["subVersion"].as_i64().expect("number"), "nanoseconds do not fit a double");
        let tags: Vec<&str> = want["tags"].as_array().expect("list").iter().map(text).collect();
        assert_eq!(sub.tags, tags);
    }
    assert_eq!(group.subscriptions.len(), 2);
    assert_eq!((heartbeat.fingerprint, heartbeat.without_sub), (0, false));
}

#[test]
fn a_heartbeat_reads_back_as_written_and_as_java_writes_it() {
    let java = r#"{"clientID":"10.0.0.9@1234#5","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"G","messageModel":"CLUSTERING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[2598919],"expressionType":"TAG","subString":"TagA","subVersion":1700000000000,"tagsSet":["TagA"],"topic":"T"}],"unitMode":false}],"heartbeatFingerprint":-5,"producerDataSet":[{"groupName":"PG"}],"withoutSub":true}"#;
    let heartbeat = Heartbeat {
        client_id: "10.0.0.9@1234#5".into(),
        producers: vec!["PG".into()],
        consumers: vec![ConsumerData {
            group: "G".into(),
            consume_type: "CONSUME_PASSIVELY".into(),
            message_model: "CLUSTERING".into(),
            from: "CONSUME_FROM_LAST_OFFSET".into(),
            subscriptions: vec![Subscription {
                topic: "T".into(),
                expression: "TagA".into(),
                expression_type: "TAG".into(),
                tags: vec!["TagA".into()],
                version: 1_700_000_000_000,
            }],
        }],
        fingerprint: -5,
        without_sub: true,
        language: String::new(),
        version: 0,
    };
    assert_eq!(String::from_utf8(heartbeat::encode(&heartbeat)).expect("UTF-8"), java);
    assert_eq!(heartbeat::decode(java.as_bytes()), Ok(heartbeat));
}

fn topic(name: &str, attributes: &[(&str, &str)]) -> TopicConfig {
    TopicConfig {
        name: name.into(),
        read_queues: 4,
        write_queues: 8,
        perm: 6,
        sys_flag: 0,
        order: false,
        filter_type: "SINGLE_TAG".into(),
        attributes: attributes.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
    }
}

const VERSION: DataVersion = DataVersion { state_version: 0, timestamp: 1_700_000_000_000, counter: 3 };

#[test]
fn the_golden_compressed_registration_reads() {
    let v = vector("register-broker-body-compressed");
    let table = register::decode(&bytes(&v["zlibHex"]), true).expect("a registration");
    assert_eq!(table.version, VERSION);
    let want = TopicConfig { write_queues: 4, ..topic("TopicTest", &[]) };
    assert_eq!(table.topics, [want]);
    // SEC-9: cut or foreign bytes are refused, not followed.
    let cut = bytes(&v["zlibHex"]);
    assert!(register::decode(&cut[..cut.len() - 8], true).is_err());
    assert!(register::decode(b"\x78\x9c\xff", true).is_err());
}

#[test]
fn registrations_read_in_every_json_form() {
    let broker = RegisterBroker {
        cluster: "c".into(),
        name: "b".into(),
        address: "10.0.0.1:10911".into(),
        id: 0,
        ha_address: String::new(),
        heartbeat_timeout_ms: None,
        acting_master: None,
        version: VERSION,
        topics: vec![topic("%RETRY%G", &[("message.type", "FIFO")]), topic("T", &[])],
    };
    let ours = register::encode(&broker);
    let table = TopicConfigTable { version: VERSION, topics: broker.topics };
    assert_eq!(register::decode(&ours, true).as_ref(), Ok(&table));
    assert_eq!(register::decode(&table.encode(), true).as_ref(), Ok(&table), "peers below 37 send the table itself");
    assert_eq!(register::decode(b"", true), Ok(TopicConfigTable::default()));
    // fastjson writes a thing that occurs twice as a path to its first place, and 4.9 knows no attributes.
    let java = r#"{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":3,"timestamp":1700000000000},"mappingDataVersion":{"$ref":"$.topicConfigSerializeWrapper.dataVersion"},"topicConfigTable":{"%RETRY%G":{"attributes":{"message.type":"FIFO"},"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG","topicName":"%RETRY%G","topicSysFlag":0,"writeQueueNums":8},"T":{"attributes":{"$ref":"$.topicConfigSerializeWrapper.topicConfigTable.\\%RETRY\\%G.attributes"},"order":false,"perm":6,"readQueueNums":"4","topicFilterType":0,"topicName":"T","topicSysFlag":0,"writeQueueNums":8},"U":{"order":false,"perm":6,"readQueueNums":4,"topicName":"U","writeQueueNums":8}},"topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{"x":{"currIdMap":{0:1}}}}}"#;
    let table = register::decode(java.as_bytes(), true).expect("a registration");
    assert_eq!(table.version, VERSION);
    let fifo = [("message.type", "FIFO")];
    assert_eq!(table.topics, [topic("%RETRY%G", &fifo), topic("T", &fifo), topic("U", &[])]);
}

fn queue(id: i32) -> MessageQueue {
    MessageQueue { topic: "主题\"T".into(), broker: "b-a".into(), queue_id: id }
}

#[test]
fn offset_tables_have_whole_queues_as_keys() {
    let stats = TopicStats {
        queues: vec![(queue(0), QueueStats { min: 1, max: 9, last_update: 0 }), (queue(1), QueueStats::default())],
        put_tps: 0.5,
    };
    let body = String::from_utf8(stats.encode()).expect("UTF-8");
    assert!(body.starts_with(r#"{"offsetTable":{{"brokerName":"b-a","queueId":0,"topic":"主题\"T"}:{"lastUpdateTimestamp":0,"maxOffset":9,"minOffset":1},"#));
    assert!(body.ends_with(r#","topicPutTps":0.5}"#));
    assert_eq!(TopicStats::decode(body.as_bytes()), Ok(stats));
    let progress = Progress { broker: 10, consumer: 7, pull: 8, last_timestamp: 1_700_000_000_000 };
    let stats = ConsumeStats { queues: vec![(queue(3), progress)], consume_tps: 0.0 };
    assert!(String::from_utf8(stats.encode()).expect("UTF-8").starts_with(r#"{"consumeTps":0.0,"#));
    assert_eq!(ConsumeStats::decode(&stats.encode()), Ok(stats));
    // The other forms of such keys: quoted, and as pairs.
    let v = vector("reset-offset-body-object-keys");
    for form in ["text_fastjson", "text_string_keys", "text_pairs"] {
        let body = text(&v[form]).replace(":5}", ":{\"maxOffset\":5}}").replace(",5]", ",{\"maxOffset\":5}]");
        let stats = TopicStats::decode(body.as_bytes()).expect(form);
        let want = MessageQueue { topic: "T".into(), broker: "b-a".into(), queue_id: 0 };
        assert_eq!(stats.queues, [(want, QueueStats { min: 0, max: 5, last_update: 0 })], "{form}");
    }
}

#[test]
fn small_bodies_read_back_as_written() {
    let list = TopicList { topics: vec!["T".into(), "%RETRY%G".into()] };
    assert_eq!(list.encode(), br#"{"topicList":["T","%RETRY%G"]}"#);
    assert_eq!(TopicList::decode(&list.encode()), Ok(list));
    let ids = ConsumerIds { ids: vec!["c1".into()] };
    assert_eq!(ids.encode(), br#"{"consumerIdList":["c1"]}"#);
    assert_eq!(ConsumerIds::decode(&ids.encode()), Ok(ids));
    let table =
        KeyValues { entries: vec![("brokerVersionDesc".into(), "V5_3_3".into()), ("k".into(), "\n\u{7f}".into())] };
    assert_eq!(KeyValues::decode(&table.encode()), Ok(table));
    let info = ClusterInfo {
        brokers: vec![BrokerData {
            cluster: "c".into(),
            name: "b-a".into(),
            addresses: vec![(0, "10.0.0.1:10911".into())],
            acting_master: false,
        }],
        clusters: vec![("c".into(), vec!["b-a".into()])],
    };
    let body = r#"{"brokerAddrTable":{"b-a":{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"b-a","cluster":"c","enableActingMaster":false}},"clusterAddrTable":{"c":["b-a"]}}"#;
    assert_eq!(String::from_utf8(info.encode()).expect("UTF-8"), body);
    assert_eq!(ClusterInfo::decode(body.as_bytes()), Ok(info));
}

#[test]
fn the_broker_files_are_laid_out_as_java_writes_them() {
    let topics = TopicConfigTable { version: VERSION, topics: vec![topic("TopicA", &[("message.type", "NORMAL")])] };
    let file = String::from_utf8(topics.to_file()).expect("UTF-8");
    assert!(file.starts_with("{\n\t\"dataVersion\":{\n\t\t\"counter\":3,\n\t\t\"stateVersion\":0,"));
    assert!(file.ends_with("\n\t}\n}"));
    assert_eq!(TopicConfigTable::decode(file.as_bytes()), Ok(topics));
    let offsets = OffsetTable {
        version: VERSION,
        entries: vec![
            GroupOffsets { topic: "TopicA".into(), group: "G\"A".into(), queues: vec![(0, 15), (1, 20)] },
            GroupOffsets { topic: "T".into(), group: "G".into(), queues: vec![] },
        ],
    };
    let file = String::from_utf8(offsets.to_file()).expect("UTF-8");
    assert!(file.contains("\t\t\"TopicA@G\\\"A\":{\n\t\t\t0:15,\n\t\t\t1:20\n\t\t},\n\t\t\"T@G\":{}\n"));
    assert_eq!(OffsetTable::decode(file.as_bytes()), Ok(offsets));
    let java = r#"{"dataVersion":{"counter":1,"stateVersion":0,"timestamp":5},"groupTopicMap":{"GroupA":["TopicA"]},
        "offsetTable":{"TopicA@GroupA":{0:15,"1":20}}}"#;
    let read = OffsetTable::decode(java.as_bytes()).expect("a table");
    assert_eq!(read.entries[0].queues, [(0, 15), (1, 20)]);
    let mut group = GroupConfig::new("GroupA");
    (group.retry_max, group.orderly) = (3, true);
    let groups = GroupTable {
        version: VERSION,
        groups: vec![group],
        forbidden: vec![("GroupA".into(), "T".into(), 1), ("GroupA".into(), "U".into(), 2)],
    };
    let file = groups.to_file();
    assert_eq!(GroupTable::decode(&file), Ok(groups));
    let sparse = GroupTable::decode(
        br#"{"subscriptionGroupTable":{"G":{"groupName":"G","groupRetryPolicy":{ "type" : "EXPONENTIAL" }}}}"#,
    );
    let sparse = sparse.expect("a table").groups.remove(0);
    assert_eq!(sparse.retry_policy, r#"{"type":"EXPONENTIAL"}"#);
    assert_eq!(GroupConfig { retry_policy: GroupConfig::new("G").retry_policy, ..sparse }, GroupConfig::new("G"));
}

#[test]
fn nesting_is_capped() {
    // SEC-8: the stack is not the sender's to use.
    let deep = "[".repeat(100_000);
    assert!(matches!(TopicList::decode(deep.as_bytes()), Err(WireError::Malformed { .. })));
    for open in ["[", "{\"a\":", "{["] {
        let deep = format!("{{\"x\":{}", open.repeat(100_000));
        let error = TopicList::decode(deep.as_bytes()).expect_err("too deep");
        assert!(matches!(error, WireError::TooLong { .. } | WireError::Malformed { .. }), "{open} {error}");
    }
    let long = vec![b' '; heartbeat::MAX_HEARTBEAT + 1];
    assert!(matches!(heartbeat::decode(&long), Err(WireError::TooLong { .. })));
    let mut out = Vec::new();
    json::float(&mut out, f64::NAN);
    assert_eq!(out, b"0.0");
}
