//! A consumer among faults, drawn at random: connections cut, brokers and NameServer gone or silent, members that come
//! and go, messages acked, given back and forgotten.
//!
//! Judged after every step: no committed offset has passed a message that the user never acked (DEL-4). Judged at the
//! end, when the faults are over: every message came, and the group's progress is at the end of every queue (DEL-1).

use alloc::vec;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put { broker: usize, queue: i32 },
    Ack(usize),
    Nack(usize),
    Forget(usize),
    Cut(usize),
    Dead(usize),
    Silent(usize),
    Heal,
    Join,
    Quit,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..2_usize, 0..2_i32).prop_map(|(broker, queue)| Step::Put { broker, queue }),
        6 => (0..50_usize).prop_map(Step::Ack),
        1 => (0..50_usize).prop_map(Step::Nack),
        1 => (0..50_usize).prop_map(Step::Forget),
        1 => (0..3_usize).prop_map(Step::Cut),
        1 => (0..3_usize).prop_map(Step::Dead),
        1 => (0..3_usize).prop_map(Step::Silent),
        2 => Just(Step::Heal),
        1 => Just(Step::Join),
        1 => Just(Step::Quit),
        4 => (0..25_000_u64).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 0..60)
}

struct Story {
    world: World,
    consumer: ConsumerId,
    outstanding: Vec<Arc<Message>>,
    /// Broker name, queue, offset.
    acked: BTreeSet<(String, i32, u64)>,
}

impl Story {
    fn address(&self, which: usize) -> String {
        match which {
            0 => self.world.address("a"),
            1 => self.world.address("b"),
            _ => NAMESRV.to_owned(),
        }
    }

    fn take(&mut self) {
        let new = self.world.delivered();
        self.outstanding.extend(new);
        self.world.events.clear();
    }

    fn ack(&mut self, message: &Message) {
        self.acked.insert((message.queue.broker.to_string(), message.queue.id, message.offset));
        self.world.ack(self.consumer, message);
    }

    fn pick(&mut self, at: usize) -> Option<Arc<Message>> {
        (!self.outstanding.is_empty()).then(|| self.outstanding.remove(at % self.outstanding.len()))
    }

    fn heal(&mut self) {
        self.world.cluster.dead.clear();
        self.world.cluster.silent.clear();
    }

    fn quit(&mut self) {
        if let Some(members) = self.world.cluster.members.get_mut("g") {
            members.remove("he");
        }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Put { broker, queue } => {
                self.world.put(if broker == 0 { "a" } else { "b" }, "T", queue, "", "x");
            }
            Step::Ack(at) => {
                if let Some(message) = self.pick(at) {
                    self.ack(&message);
                }
            }
            Step::Nack(at) => {
                if let Some(message) = self.pick(at).filter(|message| message.reconsume_times < 2) {
                    let now = self.world.time();
                    self.world.client.nack(now, self.consumer, &message.queue, message.offset);
                }
            }
            Step::Forget(at) => drop(self.pick(at)),
            Step::Cut(which) => self.world.cut(&self.address(which)),
            Step::Dead(which) => {
                let address = self.address(which);
                self.world.cluster.dead.insert(address.clone());
                self.world.cut(&address);
            }
            Step::Silent(which) => {
                let address = self.address(which);
                self.world.cluster.silent.insert(address);
            }
            Step::Heal => self.heal(),
            Step::Join => {
                self.world.cluster.members.entry("g".to_owned()).or_default().insert("he".to_owned());
            }
            Step::Quit => self.quit(),
            Step::Pass(ms) => self.world.pass(ms),
        }
        self.world.run();
        self.take();
    }

    fn no_commit_passed_an_unacked_message(&self) -> Result<(), TestCaseError> {
        for ((_, topic, address, queue), offset) in &self.world.cluster.offsets {
            if topic == "T" {
                let broker = &self.world.cluster.brokers.iter().find(|(_, at)| at == address).unwrap().0;
                for before in 0..*offset as u64 {
                    let acked = self.acked.contains(&(broker.clone(), *queue, before));
                    prop_assert!(acked, "{broker}/{queue}: {offset} is committed, {before} was never acked");
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_and_nothing_is_committed_too_early(steps in steps()) {
        let mut world = World::new(&["a", "b"]).topic("T", 2);
        let now = world.time();
        let options = SubscribeOptions { from: From::First, prefetch: 4, ..SubscribeOptions::default() };
        let consumer = world.client.subscribe(now, "g", "T", options).unwrap();
        world.run();
        let mut story = Story { world, consumer, outstanding: Vec::new(), acked: BTreeSet::new() };
        for step in &steps {
            story.run(step);
            story.no_commit_passed_an_unacked_message()?;
        }
        // Faults are over. What was forgotten is held by a consumer that never acks: only a restart brings it again.
        story.heal();
        story.quit();
        let now = story.world.time();
        story.world.client.unsubscribe(now, consumer);
        story.world.pass(10_000);
        story.take();
        story.outstanding.clear();
        let now = story.world.time();
        let options = SubscribeOptions { from: From::First, ..SubscribeOptions::default() };
        story.consumer = story.world.client.subscribe(now, "g", "T", options).unwrap();
        for _ in 0..10 {
            story.world.pass(10_000);
            story.take();
            while let Some(message) = story.pick(0) {
                story.ack(&message);
            }
            story.no_commit_passed_an_unacked_message()?;
        }
        for broker in ["a", "b"] {
            for queue in 0..2 {
                let key = (story.world.address(broker), "T".to_owned(), queue);
                let end = story.world.cluster.next.get(&key).copied().unwrap_or(0);
                let at = story.world.offset("g", "T", broker, queue).unwrap_or(0);
                prop_assert_eq!(at as u64, end, "{}/{}", broker, queue);
            }
        }
    }
}
