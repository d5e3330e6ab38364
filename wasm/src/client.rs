//! The client for JavaScript: commands in, what becomes of them out, by number.
//!
//! The contract is `wasm/npm/src/wasm/client.d.ts`. Where to start: [`Driver::send`] for the way in, [`tell`] for
//! the way out. What the core decides (queues, retries, rebalance, commits) is not seen here.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures::channel::oneshot;
use js_sys::{Array, Promise, Uint8Array};
use skylark_core::client::{
    Client, ClientConfig, ClientError, ConsumerId, ErrorKind, Event, From as Start, Message, MessageQueue, NoLease,
    OutgoingMessage, SendId, SendOptions, SendResult, SubscribeOptions,
};
use skylark_core::ids::{AskId, Call, Caller, ConnId, LinkId};
use skylark_core::output::Output;
use skylark_core::session::{Incoming, Session};
use skylark_core::store::Disk;
use skylark_core::time::{Instant, Now, Unix};
use skylark_core::wire::answer::Answer;
use skylark_core::wire::request::Request;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use crate::admin;
use crate::convert::{Failure, thrown, to_js};
use crate::driver::{self, Machine};

#[wasm_bindgen]
extern "C" {
    /// What the package gives: see `Host` in the contract.
    #[wasm_bindgen(typescript_type = "object")]
    pub type Host;
    #[wasm_bindgen(method, catch)]
    fn dial(this: &Host, address: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(method)]
    fn sent(
        this: &Host,
        call: f64,
        status: &str,
        message_id: &str,
        offset_message_id: &str,
        topic: &str,
        broker: &str,
        queue: i32,
        offset: Option<u64>,
    );
    #[wasm_bindgen(method, js_name = sentAll)]
    fn sent_all(this: &Host, call: f64);
    #[wasm_bindgen(method, js_name = sendFailed)]
    fn send_failed(this: &Host, call: f64, failure: JsValue);
    #[wasm_bindgen(method)]
    fn answered(this: &Host, call: f64, value: JsValue);
    #[wasm_bindgen(method, js_name = askFailed)]
    fn ask_failed(this: &Host, call: f64, failure: JsValue);
    #[wasm_bindgen(method)]
    fn batch(this: &Host, consumer: u32, topic: &str, broker: &str, queue: i32);
    #[wasm_bindgen(method)]
    fn message(
        this: &Host,
        topic: &str,
        offset: u64,
        message_id: &str,
        offset_message_id: &str,
        properties: &str,
        body: Uint8Array,
        trouble: Option<String>,
        born: f64,
        stored: f64,
        born_host: &str,
        store_host: &str,
        reconsume_times: i32,
    );
    #[wasm_bindgen(method)]
    fn assigned(this: &Host, consumer: u32, topics: Array, brokers: Array, queues: Array);
    #[wasm_bindgen(method)]
    fn trouble(this: &Host, consumer: u32, failure: JsValue);
    #[wasm_bindgen(method)]
    fn unsubscribed(this: &Host, consumer: u32);
}

/// The package, and the promise of a client that closes.
struct Outside {
    host: Host,
    closing: RefCell<Option<oneshot::Sender<()>>>,
}

// Options are read field by field: serde's way back from JavaScript costs a download 8 KiB for errors that the
// package's own types rule out.
#[wasm_bindgen]
extern "C" {
    /// See `DriverOptions` in the contract.
    pub type Options;
    #[wasm_bindgen(method, getter)]
    fn namesrvs(this: &Options) -> Vec<String>;
    #[wasm_bindgen(method, getter, js_name = clientId)]
    fn client_id(this: &Options) -> String;
    #[wasm_bindgen(method, getter)]
    fn timeout(this: &Options) -> f64;
    #[wasm_bindgen(method, getter)]
    fn seed(this: &Options) -> u64;

    /// See `Head` in the contract.
    #[wasm_bindgen(js_name = Head)]
    pub type HeadOf;
    #[wasm_bindgen(method, getter)]
    fn topic(this: &HeadOf) -> String;
    #[wasm_bindgen(method, getter)]
    fn tag(this: &HeadOf) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    fn keys(this: &HeadOf) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    fn properties(this: &HeadOf) -> Option<String>;
}

/// One client of the core with its connections.
#[wasm_bindgen]
pub struct Driver {
    driver: driver::Driver<Client, Outside>,
    producers: Vec<Producer>,
}

struct Producer {
    group: String,
    timeout: Option<u64>,
    retries: Option<u32>,
}

struct Head {
    topic: String,
    tag: Option<String>,
    keys: Option<String>,
    properties: Option<String>,
}

#[wasm_bindgen]
impl Driver {
    /// A client that has not connected to anything yet.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &Options, host: Host) -> Result<Self, JsValue> {
        let (timeout, seed) = (options.timeout() as u64, options.seed());
        let config = ClientConfig {
            connect_timeout: timeout,
            request_timeout: timeout,
            send_timeout: timeout,
            pid: seed as u16,
            ..ClientConfig::new(options.namesrvs(), options.client_id())
        };
        let client = Client::new(config, seed, driver::now()).map_err(|error| failure(&error))?;
        let outside = Outside { host, closing: RefCell::new(None) };
        Ok(Self { driver: driver::Driver::new(client, outside), producers: Vec::new() })
    }

    /// Settings for sends, times in ms. Answers their number.
    pub fn producer(&mut self, group: String, timeout: Option<f64>, retries: Option<u32>) -> Result<usize, JsValue> {
        self.driver.command(|client, now| client.register_producer(now, &group)).map_err(|error| failure(&error))?;
        self.producers.push(Producer { group, timeout: timeout.map(|ms| ms as u64), retries });
        Ok(self.producers.len() - 1)
    }

    /// Sends a message. Answers the number of the call.
    #[expect(clippy::too_many_arguments, reason = "an object of options would cost more than the call")]
    pub fn send(
        &self,
        producer: usize,
        topic: String,
        body: Vec<u8>,
        tag: Option<String>,
        keys: Option<String>,
        properties: Option<String>,
        broker: Option<String>,
        queue: i32,
        oneway: bool,
    ) -> Result<f64, JsValue> {
        let message = Head { topic, tag, keys, properties }.with(body);
        let (group, options) = self.options(producer, &message.topic, broker, queue, oneway)?;
        self.driver
            .command(|client, now| client.send(now, group, message, &options))
            .map(number)
            .map_err(|error| failure(&error))
    }

    /// Sends messages together. Answers the number of the call.
    #[wasm_bindgen(js_name = sendBatch)]
    pub fn send_batch(
        &self,
        producer: usize,
        heads: Vec<HeadOf>,
        bodies: Vec<Uint8Array>,
        broker: Option<String>,
        queue: i32,
    ) -> Result<f64, JsValue> {
        let head =
            |of: &HeadOf| Head { topic: of.topic(), tag: of.tag(), keys: of.keys(), properties: of.properties() };
        let messages: Vec<_> = heads.iter().zip(bodies).map(|(of, body)| head(of).with(body.to_vec())).collect();
        let topic = messages.first().map_or("", |first| &first.topic);
        let (group, options) = self.options(producer, topic, broker, queue, false)?;
        self.driver
            .command(|client, now| client.send_batch(now, group, &messages, &options))
            .map(number)
            .map_err(|error| failure(&error))
    }

    /// Nobody waits for a send any more.
    pub fn cancel(&self, call: f64) {
        self.driver.command(|client, now| client.cancel(now, SendId(call as u64)));
    }

    /// Starts a consumer. Answers its number.
    pub fn subscribe(
        &self,
        group: &str,
        topic: &str,
        tags: String,
        from: JsValue,
        prefetch: Option<usize>,
        broadcast: bool,
    ) -> Result<u32, JsValue> {
        let from = match (from.as_f64(), from.as_string().as_deref()) {
            (Some(ms), _) if ms.is_finite() => Start::Time(Unix(ms as i64)),
            (_, Some("first")) => Start::First,
            (_, Some("last")) => Start::Last,
            _ => return Err(Failure::usage("a consumer starts from \"first\", \"last\" or a valid Date")),
        };
        let defaults = SubscribeOptions::default();
        let prefetch = prefetch.unwrap_or(defaults.prefetch);
        let batch = defaults.batch.min(prefetch);
        let options = SubscribeOptions { tags, from, prefetch, batch, broadcast, ..defaults };
        self.driver
            .command(|client, now| client.subscribe(now, group, topic, options))
            .map(|consumer| consumer.0)
            .map_err(|error| failure(&error))
    }

    /// Acknowledges a message, by where it was read.
    pub fn ack(&self, consumer: u32, topic: &str, broker: &str, queue: i32, offset: u64) {
        let queue = MessageQueue { topic: topic.into(), broker: broker.into(), id: queue };
        self.driver.command(|client, now| client.ack(now, ConsumerId(consumer), &queue, offset));
    }

    /// Commits and leaves the group.
    pub fn unsubscribe(&self, consumer: u32) {
        self.driver.command(|client, now| client.unsubscribe(now, ConsumerId(consumer)));
    }

    /// Asks the cluster. Answers the number of the call.
    pub fn admin(&self, request: &admin::Asked) -> Result<f64, JsValue> {
        let request = admin::request(request);
        self.driver
            .command(|client, now| client.admin(now, request))
            .map(|id| id.0 as f64)
            .map_err(|error| failure(&error))
    }

    /// Ends everything, gracefully. Resolves when nothing follows any more; to be called once.
    pub fn close(&self) -> Promise {
        let (done, closed) = oneshot::channel();
        *self.driver.host().closing.borrow_mut() = Some(done);
        self.driver.command(Client::close);
        future_to_promise(async move {
            // A driver that was dropped is closed too.
            let _ = closed.await;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Drops connections at once.
    pub fn shut(&self) {
        self.driver.shut();
    }

    fn options(
        &self,
        producer: usize,
        topic: &str,
        broker: Option<String>,
        queue: i32,
        oneway: bool,
    ) -> Result<(&str, SendOptions), JsValue> {
        let producer = self.producers.get(producer).ok_or_else(|| Failure::usage("there is no such producer"))?;
        let queue = broker.map(|broker| MessageQueue { topic: topic.into(), broker: broker.into(), id: queue });
        let options = SendOptions { queue, oneway, timeout: producer.timeout, retries: producer.retries };
        Ok((&producer.group, options))
    }
}

impl Head {
    fn with(self, body: Vec<u8>) -> OutgoingMessage {
        OutgoingMessage {
            topic: self.topic,
            body,
            tag: self.tag,
            keys: self.keys.iter().flat_map(|keys| keys.split_ascii_whitespace()).map(Into::into).collect(),
            properties: self.properties.as_deref().map(unpack).unwrap_or_default(),
            flag: 0,
        }
    }
}

/// Properties as they cross: name U+0001 value U+0002, repeated. The package lets neither of the two into a name or value.
fn unpack(packed: &str) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    for (name, value) in packed.split_terminator('\u{2}').filter_map(|pair| pair.split_once('\u{1}')) {
        properties.insert(name.to_owned(), value.to_owned());
    }
    properties
}

fn pack(properties: &BTreeMap<String, String>) -> String {
    let mut packed = String::with_capacity(properties.iter().map(|(name, value)| name.len() + value.len() + 2).sum());
    for (name, value) in properties {
        packed.extend([name, "\u{1}", value, "\u{2}"]);
    }
    packed
}

impl driver::Host<Event> for Outside {
    fn dial(&self, address: &str) -> Result<JsValue, String> {
        self.host.dial(address).map_err(|error| thrown(&error))
    }

    fn deliver(&self, event: Event) {
        let Self { host, closing } = self;
        match event {
            Event::Sent { id, result: Ok(results) } => {
                for result in results {
                    host.tell_sent(id, &result);
                }
                host.sent_all(number(id));
            }
            Event::Sent { id, result: Err(error) } => host.send_failed(number(id), failure(&error)),
            Event::Messages { consumer, queue, batch } => {
                host.batch(consumer.0, &queue.topic, &queue.broker, queue.id);
                for message in batch {
                    host.tell_message(&message);
                }
            }
            Event::Assigned { consumer, queues } => {
                let topics = queues.iter().map(|queue| JsValue::from(&*queue.topic)).collect();
                let brokers = queues.iter().map(|queue| JsValue::from(&*queue.broker)).collect();
                host.assigned(
                    consumer.0,
                    topics,
                    brokers,
                    queues.iter().map(|queue| JsValue::from(queue.id)).collect(),
                );
            }
            Event::Trouble { consumer, error } => host.trouble(consumer.0, failure(&error)),
            Event::Unsubscribed { consumer } => host.unsubscribed(consumer.0),
            Event::Admin { id, result: Ok(answer) } => host.answered(id.0 as f64, admin::answer(&answer)),
            Event::Admin { id, result: Err(error) } => host.ask_failed(id.0 as f64, failure(&error)),
            Event::Closed => {
                if let Some(done) = closing.take() {
                    let _ = done.send(());
                }
            }
            _ => {}
        }
    }
}

impl Host {
    fn tell_sent(&self, id: SendId, result: &SendResult) {
        let SendResult { status, message_id, offset_message_id, queue, offset } = result;
        self.sent(
            number(id),
            status.name(),
            message_id,
            offset_message_id,
            &queue.topic,
            &queue.broker,
            queue.id,
            *offset,
        );
    }

    fn tell_message(&self, message: &Message) {
        let (body, trouble) = match &message.body {
            Ok(body) => (body, None),
            Err(error) => (&error.raw, Some(error.to_string())),
        };
        self.message(
            &message.topic,
            message.offset,
            &message.message_id,
            &message.offset_message_id,
            &pack(&message.properties),
            Uint8Array::from(&body[..]),
            trouble,
            message.born.0 as f64,
            message.stored.0 as f64,
            &message.born_host.to_string(),
            &message.store_host.to_string(),
            message.reconsume_times,
        );
    }
}

impl Machine for Client {
    type Lease = NoLease;
    type Event = Event;

    #[cfg(feature = "broker")]
    fn handle_connected(&mut self, _: Now, _: ConnId, _: Caller) {}
    fn handle_linked(&mut self, now: Now, link: LinkId, conn: ConnId, caller: Caller) {
        self.handle_linked(now, link, conn, caller);
    }
    fn handle_link_failed(&mut self, now: Now, link: LinkId, why: &str) {
        self.handle_link_failed(now, link, why);
    }
    fn incoming<'a>(session: &'a Session, at: usize, input: &'a [u8]) -> Option<Incoming<'a>> {
        session.get_for_client(at, input)
    }
    fn handle_request(&mut self, now: Now, call: Call, request: Request<'_>) -> bool {
        self.handle_request(now, call, &request);
        true
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
    /// A client has no medium yet.
    fn execute(&mut self, _: Now, _: Disk) {}
    fn poll_output(&mut self) -> Option<Output<NoLease>> {
        self.poll_output()
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timeout()
    }
    fn poll_event(&mut self) -> Option<Event> {
        self.poll_event()
    }
}

fn failure(error: &ClientError) -> JsValue {
    let kind = match error.kind {
        ErrorKind::NoNameServer | ErrorKind::Connect => "connection",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Refused(_) | ErrorKind::NoRoute | ErrorKind::NoBroker => "refused",
        ErrorKind::Usage | ErrorKind::TooLarge | ErrorKind::Closed => "usage",
        _ => "other",
    };
    let (code, code_name, retryable) = (error.code(), error.name(), error.retryable());
    to_js(&Failure { kind, code, code_name, message: &error.message, retryable })
}

/// Calls are counted up from 0, far below 2^53.
fn number(id: SendId) -> f64 {
    id.0 as f64
}
