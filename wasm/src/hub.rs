//! A tab cluster: a NameServer and a broker on memory, in one worker, reached by MessagePorts.
//!
//! A tab cannot listen, so each link is a MessagePort that someone sends here with the address that it is for; the
//! broker reaches its NameServer in the same way, by the ordinary protocol. The addresses are of a network that
//! nobody can dial, so they cannot be mistaken for a server's. Messages are lost when the worker ends.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Deserialize;
use skylark_core::broker::{Broker, BrokerConfig, Tables, Taken};
use skylark_core::ids::{AskId, Call, Caller, ConnId, LinkId};
use skylark_core::namesrv::{NameServer, NamesrvConfig};
use skylark_core::output::Output;
use skylark_core::session::{Incoming, Session};
use skylark_core::store::memory::{Lease, MemoryStore};
use skylark_core::store::opening::Opened;
use skylark_core::store::{Disk, Done};
use skylark_core::time::{Instant, Now};
use skylark_core::wire::answer::Answer;
use skylark_core::wire::request::Request;
use wasm_bindgen::prelude::*;
use web_sys::{MessageChannel, MessagePort};

use crate::convert::{from_js, thrown};
use crate::driver::{self, Driver, Machine};

/// Where the NameServer is; `connect.ts` names it too.
const NAMESRV: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 9876);
/// Where the broker is.
const BROKER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 10911);
/// Where everyone else seems to come from.
const VISITOR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
/// The log may grow so far, bytes: a module has 4 GiB at most, a phone less.
const CAPACITY: u64 = 512 << 20;
/// One log segment, bytes. Nothing is allocated ahead on memory.
const SEGMENT: u64 = 1 << 30;

/// A NameServer and a broker on memory.
#[wasm_bindgen]
pub struct Hub {
    namesrv: Driver<NameServer, Nowhere>,
    broker: Driver<Broker<MemoryStore>, InHouse>,
    visitors: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    cluster: String,
    auto_create_topic: bool,
    seed: u64,
}

#[wasm_bindgen]
impl Hub {
    /// Starts both; the broker registers by itself.
    #[wasm_bindgen(constructor)]
    pub fn new(options: JsValue) -> Result<Self, JsValue> {
        let Options { cluster, auto_create_topic, seed } = from_js(options)?;
        let now = driver::now();
        let namesrv = Driver::new(NameServer::new(NamesrvConfig::default(), now), Nowhere);
        let config = BrokerConfig {
            cluster,
            host: BROKER,
            namesrvs: vec![NAMESRV.to_string()],
            auto_create_topic,
            hot_bytes: CAPACITY,
            ..BrokerConfig::default()
        };
        let opened = Opened::empty(SEGMENT, false);
        let broker = Broker::new(config, MemoryStore::new(CAPACITY), opened, Tables::default(), seed, now);
        let broker = Driver::new(broker, InHouse { namesrv: namesrv.clone() });
        namesrv.turn();
        broker.turn();
        Ok(Self { namesrv, broker, visitors: 0 })
    }

    /// Takes a link to an address, or refuses it on the link itself.
    pub fn accept(&mut self, address: &str, port: MessagePort) {
        self.visitors = self.visitors.wrapping_add(1);
        let peer = SocketAddr::new(VISITOR, self.visitors);
        match address.parse() {
            Ok(local @ NAMESRV) => self.namesrv.accept(port, Caller { peer, local }),
            Ok(local @ BROKER) => self.broker.accept(port, Caller { peer, local }),
            _ => {
                // A port that is closed swallows messages; it does not throw.
                let _ = port.post_message(&"a tab cluster reaches nothing outside of itself".into());
                port.close();
            }
        }
    }

    /// Closes all links at once.
    pub fn shut(&self) {
        self.broker.shut();
        self.namesrv.shut();
    }
}

/// What a NameServer needs from outside: it dials nobody.
struct Nowhere;

/// What the broker needs: it dials its NameServer, through a channel of its own.
struct InHouse {
    namesrv: Driver<NameServer, Nowhere>,
}

/// A machine that only answers tells nobody anything.
pub(crate) enum Never {}

impl driver::Host<Never> for Nowhere {
    fn dial(&self, _: &str) -> Result<JsValue, String> {
        Err("a NameServer dials nobody".into())
    }

    fn deliver(&self, event: Never) {
        match event {}
    }
}

impl driver::Host<Never> for InHouse {
    fn dial(&self, _: &str) -> Result<JsValue, String> {
        let channel = MessageChannel::new().map_err(|error| thrown(&error))?;
        self.namesrv.accept(channel.port2(), Caller { peer: BROKER, local: NAMESRV });
        Ok(channel.port1().into())
    }

    fn deliver(&self, event: Never) {
        match event {}
    }
}

impl Machine for NameServer {
    type Lease = [u8; 0];
    type Event = Never;

    fn handle_connected(&mut self, now: Now, conn: ConnId, caller: Caller) {
        self.handle_connected(now, conn, caller);
    }
    fn handle_linked(&mut self, _: Now, _: LinkId, _: ConnId, _: Caller) {}
    fn handle_link_failed(&mut self, _: Now, _: LinkId, _: &str) {}
    fn incoming<'a>(session: &'a Session, at: usize, input: &'a [u8]) -> Option<Incoming<'a>> {
        session.get(at, input)
    }
    fn handle_request(&mut self, now: Now, call: Call, request: Request<'_>) -> bool {
        self.handle_request(now, call, &request);
        true
    }
    fn handle_answer(&mut self, _: Now, _: ConnId, _: AskId, _: &Answer<'_>) {}
    fn handle_closed(&mut self, now: Now, conn: ConnId) {
        self.handle_closed(now, conn);
    }
    fn handle_timeout(&mut self, now: Now) {
        self.handle_timeout(now);
    }
    fn execute(&mut self, _: Now, _: Disk) {}
    fn poll_output(&mut self) -> Option<Output<Self::Lease>> {
        self.poll_output()
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }
    fn poll_event(&mut self) -> Option<Never> {
        None
    }
}

impl Machine for Broker<MemoryStore> {
    type Lease = Lease;
    type Event = Never;

    fn handle_connected(&mut self, now: Now, conn: ConnId, caller: Caller) {
        self.handle_connected(now, conn, caller);
    }
    fn handle_linked(&mut self, now: Now, link: LinkId, conn: ConnId, caller: Caller) {
        self.handle_linked(now, link, conn, caller);
    }
    fn handle_link_failed(&mut self, now: Now, link: LinkId, why: &str) {
        self.handle_link_failed(now, link, why);
    }
    fn incoming<'a>(session: &'a Session, at: usize, input: &'a [u8]) -> Option<Incoming<'a>> {
        session.get(at, input)
    }
    fn handle_request(&mut self, now: Now, call: Call, request: Request<'_>) -> bool {
        self.handle_request(now, call, request) == Taken::Yes
    }
    fn handle_answer(&mut self, now: Now, conn: ConnId, ask: AskId, answer: &Answer<'_>) {
        self.handle_answer(now, conn, ask, answer);
    }
    fn handle_closed(&mut self, now: Now, conn: ConnId) {
        self.handle_closed(now, conn);
    }
    fn handle_timeout(&mut self, now: Now) {
        self.handle_timeout(now);
    }
    fn execute(&mut self, now: Now, disk: Disk) {
        match self.store_mut().execute(disk) {
            Done::Stored { id, result } => self.handle_stored(now, id, result),
            Done::Loaded { ticket, result } => self.handle_loaded(now, ticket, result),
        }
    }
    fn poll_output(&mut self) -> Option<Output<Lease>> {
        self.poll_output()
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }
    fn poll_event(&mut self) -> Option<Never> {
        None
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::oneshot;
    use js_sys::{ArrayBuffer, Object, Reflect, Uint8Array};
    use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
    use web_sys::MessageEvent;

    use super::*;

    wasm_bindgen_test_configure!(run_in_dedicated_worker);

    fn hub() -> Hub {
        let options = Object::new();
        for (name, value) in [("cluster", "c".into()), ("autoCreateTopic", true.into()), ("seed", JsValue::from(7_u64))]
        {
            Reflect::set(&options, &name.into(), &value).expect("an object takes properties");
        }
        Hub::new(options.into()).expect("options are whole")
    }

    /// Opens a link, sends bytes, and answers what comes until there are `count` messages.
    async fn talk(hub: &mut Hub, address: &str, bytes: &[u8], count: usize) -> Vec<JsValue> {
        let channel = MessageChannel::new().expect("a worker has channels");
        let port = channel.port1();
        let (done, all) = oneshot::channel();
        let (mut done, mut came) = (Some(done), Vec::new());
        let handler = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            came.push(event.data());
            if came.len() == count
                && let Some(done) = done.take()
            {
                done.send(came.clone()).expect("the test waits");
            }
        });
        port.set_onmessage(Some(handler.as_ref().unchecked_ref()));
        hub.accept(address, channel.port2());
        port.post_message(&Uint8Array::from(bytes).buffer()).expect("the port is open");
        let all = all.await.expect("the handler lives");
        port.set_onmessage(None);
        port.close();
        all
    }

    fn text(value: &JsValue) -> String {
        value.as_string().expect("a link that ends says why")
    }

    /// Asks for the cluster's brokers, and looks at the answer's number.
    async fn ask(hub: &mut Hub, address: SocketAddr) {
        let header =
            br#"{"code":106,"language":"JAVA","version":401,"opaque":9,"flag":0,"serializeTypeCurrentRPC":"JSON"}"#;
        let mut frame = Vec::from((header.len() as u32 + 4).to_be_bytes());
        frame.extend((header.len() as u32).to_be_bytes());
        frame.extend(header);
        let came = talk(hub, &address.to_string(), &frame, 2).await;
        assert!(came[0].is_null(), "first the link opens");
        let bytes = Uint8Array::new(came[1].unchecked_ref::<ArrayBuffer>()).to_vec();
        let answer = String::from_utf8_lossy(&bytes);
        assert!(answer.contains("\"opaque\":9"), "{answer}");
    }

    #[wasm_bindgen_test]
    async fn both_answer_on_the_link_that_asks() {
        let mut hub = hub();
        ask(&mut hub, NAMESRV).await;
        ask(&mut hub, BROKER).await;
    }

    #[wasm_bindgen_test]
    async fn bytes_that_make_no_sense_end_their_link_and_no_other() {
        let mut hub = hub();
        let came = talk(&mut hub, &BROKER.to_string(), &[0xFF; 64], 2).await;
        assert_eq!(text(&came[1]), "closed", "SEC-8");
        ask(&mut hub, BROKER).await;
    }

    #[wasm_bindgen_test]
    async fn nothing_outside_of_the_cluster_is_reached() {
        for address in ["10.0.0.1:22", "127.0.0.1:9876", "", "no address"] {
            let came = talk(&mut hub(), address, &[], 1).await;
            assert!(text(&came[0]).contains("nothing outside"), "{address}");
        }
    }
}
