//! Admin calls between JavaScript's words and the core's: requests in, answers out as plain values.
//!
//! The shapes are those of `wasm/npm/src/types.ts`; what little differs is mended in `admin.ts`.

use serde::Serialize;
use skylark_core::client::{AdminAnswer, AdminRequest, MessageQueue};
use skylark_core::wire::body::{BrokerData, ClusterInfo, QueueData, TopicRoute};
use skylark_core::wire::request::TopicConfig;
use wasm_bindgen::prelude::*;

use crate::convert::to_js;

#[wasm_bindgen]
extern "C" {
    /// `AdminRequest` of `client.d.ts`; which fields there are depends on `op`.
    #[wasm_bindgen(js_name = AdminRequest)]
    pub type Asked;
    #[wasm_bindgen(method, getter)]
    fn op(this: &Asked) -> String;
    #[wasm_bindgen(method, getter)]
    fn topic(this: &Asked) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    fn broker(this: &Asked) -> Option<String>;
    #[wasm_bindgen(method, getter)]
    fn group(this: &Asked) -> Option<String>;
    #[wasm_bindgen(method, getter, js_name = readQueues)]
    fn read_queues(this: &Asked) -> i32;
    #[wasm_bindgen(method, getter, js_name = writeQueues)]
    fn write_queues(this: &Asked) -> i32;
    #[wasm_bindgen(method, getter)]
    fn perm(this: &Asked) -> i32;
}

#[derive(Serialize)]
struct Broker<'a> {
    name: &'a str,
    cluster: &'a str,
    addresses: Vec<Member<'a>>,
}

#[derive(Serialize)]
struct Member<'a> {
    id: f64,
    address: &'a str,
}

#[derive(Serialize)]
struct Route<'a> {
    queues: Vec<Queues<'a>>,
    brokers: Vec<Broker<'a>>,
}

#[derive(Serialize)]
struct Queues<'a> {
    broker: &'a str,
    read: i32,
    write: i32,
    perm: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    topic: &'a str,
    read_queues: i32,
    write_queues: i32,
    perm: i32,
    order: bool,
}

#[derive(Serialize)]
struct Queue<'a> {
    topic: &'a str,
    broker: &'a str,
    id: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats<'a> {
    queue: Queue<'a>,
    min: u64,
    max: u64,
    /// ms; 0 when nothing was stored.
    last_update: f64,
}

#[derive(Serialize)]
struct Progress<'a> {
    queue: Queue<'a>,
    broker: u64,
    consumer: u64,
}

/// The request that the package asks. Its types see to it that what an `op` needs is there; an empty name is refused
/// by the core.
pub(crate) fn request(asked: &Asked) -> AdminRequest {
    let topic = || asked.topic().unwrap_or_default();
    let broker = || asked.broker().unwrap_or_default();
    match asked.op().as_str() {
        "clusters" => AdminRequest::Clusters,
        "topics" => AdminRequest::Topics,
        "route" => AdminRequest::Route { topic: topic() },
        "topicStats" => AdminRequest::TopicStats { topic: topic() },
        "topicConfigs" => AdminRequest::TopicConfigs { broker: broker() },
        "brokerInfo" => AdminRequest::BrokerInfo { broker: broker() },
        "consumeStats" => AdminRequest::ConsumeStats { group: asked.group().unwrap_or_default(), topic: asked.topic() },
        _ => {
            let config = TopicConfig {
                name: topic(),
                read_queues: asked.read_queues(),
                write_queues: asked.write_queues(),
                perm: asked.perm(),
                sys_flag: 0,
                order: false,
                filter_type: "SINGLE_TAG".into(),
                attributes: Vec::new(),
            };
            AdminRequest::CreateTopic { config, broker: asked.broker() }
        }
    }
}

/// What the package is answered.
pub(crate) fn answer(answer: &AdminAnswer) -> JsValue {
    match answer {
        AdminAnswer::Clusters(ClusterInfo { brokers, .. }) => to_js(&brokers.iter().map(broker).collect::<Vec<_>>()),
        AdminAnswer::Topics(topics) => to_js(topics),
        AdminAnswer::Route(TopicRoute { queues, brokers, .. }) => to_js(&Route {
            queues: queues.iter().map(queues_of).collect(),
            brokers: brokers.iter().map(broker).collect(),
        }),
        AdminAnswer::TopicConfigs(configs) => to_js(&configs.iter().map(config).collect::<Vec<_>>()),
        AdminAnswer::TopicStats(ranges) => {
            let shown = ranges.iter().map(|range| Stats {
                queue: queue(&range.queue),
                min: range.min,
                max: range.max,
                last_update: range.last_update.map_or(0.0, |at| at.0 as f64),
            });
            to_js(&shown.collect::<Vec<_>>())
        }
        AdminAnswer::Created => JsValue::UNDEFINED,
        AdminAnswer::ConsumeStats(places) => {
            let shown = places.iter().map(|place| Progress {
                queue: queue(&place.queue),
                broker: place.broker,
                consumer: place.consumer,
            });
            to_js(&shown.collect::<Vec<_>>())
        }
        AdminAnswer::BrokerInfo(texts) => {
            let object = js_sys::Object::new();
            for (name, text) in texts {
                // An object of our own takes any property.
                let _ = js_sys::Reflect::set(&object, &name.into(), &text.into());
            }
            object.into()
        }
    }
}

fn broker(data: &BrokerData) -> Broker<'_> {
    let addresses = data.addresses.iter().map(|(id, address)| Member { id: *id as f64, address }).collect();
    Broker { name: &data.name, cluster: &data.cluster, addresses }
}

fn queues_of(data: &QueueData) -> Queues<'_> {
    Queues { broker: &data.broker, read: data.read_queues, write: data.write_queues, perm: data.perm }
}

fn config(config: &TopicConfig) -> Config<'_> {
    let TopicConfig { name: topic, read_queues, write_queues, perm, order, .. } = config;
    Config { topic, read_queues: *read_queues, write_queues: *write_queues, perm: *perm, order: *order }
}

fn queue(queue: &MessageQueue) -> Queue<'_> {
    Queue { topic: &queue.topic, broker: &queue.broker, id: queue.id }
}
