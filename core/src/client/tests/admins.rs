//! Questions about the cluster.

use super::*;

fn ask(world: &mut World, request: AdminRequest) -> Result<AdminAnswer, ClientError> {
    let now = world.time();
    let id = world.client.admin(now, request).unwrap();
    world.run();
    match world.events.pop_back() {
        Some(Event::Admin { id: of, result }) if of == id => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_question_has_its_answer() {
    let mut world = World::new(&["a", "b"]).topic("T", 2);
    world.put("b", "T", 1, "", "x");
    match ask(&mut world, AdminRequest::Clusters).unwrap() {
        AdminAnswer::Clusters(info) => assert_eq!(info.brokers.len(), 2),
        other => panic!("{other:?}"),
    }
    assert_eq!(ask(&mut world, AdminRequest::Topics), Ok(AdminAnswer::Topics(["T".to_owned()].into())));
    match ask(&mut world, AdminRequest::Route { topic: "T".to_owned() }).unwrap() {
        AdminAnswer::Route(route) => assert_eq!(route.queues.len(), 2),
        other => panic!("{other:?}"),
    }
    match ask(&mut world, AdminRequest::TopicStats { topic: "T".to_owned() }).unwrap() {
        AdminAnswer::TopicStats(queues) => {
            let seen: Vec<(String, u64)> = queues.iter().map(|range| (range.queue.to_string(), range.max)).collect();
            let expected = [("T/a/0", 0), ("T/a/1", 0), ("T/b/0", 0), ("T/b/1", 1)];
            assert_eq!(seen, expected.map(|(queue, max)| (queue.to_owned(), max)));
        }
        other => panic!("{other:?}"),
    }
    let address = world.address("a");
    for broker in ["a", &address] {
        let answer = ask(&mut world, AdminRequest::BrokerInfo { broker: broker.to_owned() });
        assert_eq!(answer, Ok(AdminAnswer::BrokerInfo([("putTps".to_owned(), "1".to_owned())].into())));
    }
    let answer = ask(&mut world, AdminRequest::ConsumeStats { group: "g".to_owned(), topic: None });
    assert_eq!(answer, Ok(AdminAnswer::ConsumeStats(Vec::new())));
    let answer = ask(&mut world, AdminRequest::TopicConfigs { broker: "b".to_owned() });
    assert_eq!(answer, Ok(AdminAnswer::TopicConfigs(Vec::new())));
}

#[test]
fn a_topic_is_created_on_every_master_or_on_one() {
    let mut world = World::new(&["a", "b"]);
    let request = AdminRequest::CreateTopic { config: config("T", 4), broker: None };
    assert_eq!(ask(&mut world, request), Ok(AdminAnswer::Created));
    assert_eq!(world.count("code 17"), 2);
    let request = AdminRequest::CreateTopic { config: config("U", 4), broker: Some("b".to_owned()) };
    assert_eq!(ask(&mut world, request), Ok(AdminAnswer::Created));
    let address = world.address("b");
    assert_eq!(world.heard(&address), ["code 17", "code 17"]);
    let now = world.time();
    let bad = AdminRequest::CreateTopic { config: config("U", 0), broker: None };
    assert_eq!(world.client.admin(now, bad).unwrap_err().kind, ErrorKind::Usage);
}

#[test]
fn what_goes_wrong_is_named() {
    let mut world = World::new(&["a", "b"]).topic("T", 1);
    let error = ask(&mut world, AdminRequest::BrokerInfo { broker: "z".to_owned() }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoBroker);
    assert!(error.to_string().contains("'z'"), "{error}");
    let error = ask(&mut world, AdminRequest::Route { topic: "Nope".to_owned() }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused(Code::TOPIC_NOT_EXIST));
    let address = world.address("b");
    world.cluster.dead.insert(address);
    let error = ask(&mut world, AdminRequest::TopicStats { topic: "T".to_owned() }).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Connect, "half an answer would be a wrong one");
    world.cluster.dead.insert(NAMESRV.to_owned());
    world.cut(NAMESRV);
    let error = ask(&mut world, AdminRequest::Topics).unwrap_err();
    assert_eq!(error.kind, ErrorKind::NoNameServer);
}
