//! The heartbeat of a client (code 34), as Java and Go write it.
//!
//! `codeSet` is not read: Go hashes other bytes than Java, so the broker computes the codes from `tagsSet`.

use alloc::vec::Vec;

use super::{add, texts};
use crate::wire::WireError;
use crate::wire::json::{self, Reader};
use crate::wire::request::{ConsumerData, Heartbeat, Subscription};

/// The body.
pub fn encode(heartbeat: &Heartbeat) -> Vec<u8> {
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.str("clientID", &heartbeat.client_id);
        o.list("consumerDataSet", &heartbeat.consumers, |out, group| {
            json::object(out, |o| {
                o.str("consumeFromWhere", &group.from);
                o.str("consumeType", &group.consume_type);
                o.str("groupName", &group.group);
                o.str("messageModel", &group.message_model);
                o.list("subscriptionDataSet", &group.subscriptions, subscription);
                o.bool("unitMode", false);
            });
        });
        o.int("heartbeatFingerprint", heartbeat.fingerprint);
        o.list("producerDataSet", &heartbeat.producers, |out, group| json::object(out, |o| o.str("groupName", group)));
        o.bool("withoutSub", heartbeat.without_sub);
    });
    out
}

fn subscription(out: &mut Vec<u8>, sub: &Subscription) {
    json::object(out, |o| {
        o.bool("classFilterMode", false);
        o.list("codeSet", &sub.tags, |out, tag| json::int(out, i64::from(crate::wire::id::java_hash(tag))));
        o.str("expressionType", if sub.expression_type.is_empty() { "TAG" } else { &sub.expression_type });
        o.str("subString", &sub.expression);
        o.int("subVersion", sub.version);
        o.texts("tagsSet", &sub.tags);
        o.str("topic", &sub.topic);
    });
}

/// The largest heartbeat that is read, bytes: thousands of subscriptions. Small members take many times their
/// text in memory, so the text is capped well below a frame's size (SEC-8).
pub const MAX_HEARTBEAT: usize = 1 << 20;

/// Reads the body. Language and version stand in the frame's header.
pub fn decode(bytes: &[u8]) -> Result<Heartbeat, WireError> {
    if bytes.len() > MAX_HEARTBEAT {
        return Err(WireError::TooLong { what: "heartbeat", max: MAX_HEARTBEAT });
    }
    let mut heartbeat = Heartbeat::default();
    Reader::new(bytes).object(|r, key| {
        match &*key {
            "clientID" => heartbeat.client_id = r.string()?,
            "consumerDataSet" => r.list(|r| {
                let data = consumer(r)?;
                add(&mut heartbeat.consumers, data)
            })?,
            "producerDataSet" => r.list(|r| {
                r.object(|r, key| {
                    if key != "groupName" {
                        return r.skip();
                    }
                    let group = r.string()?;
                    add(&mut heartbeat.producers, group)
                })
            })?,
            "heartbeatFingerprint" => heartbeat.fingerprint = r.i32()?,
            "withoutSub" => heartbeat.without_sub = r.bool()?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(heartbeat)
}

fn consumer(r: &mut Reader<'_>) -> Result<ConsumerData, WireError> {
    let mut data = ConsumerData::default();
    r.object(|r, key| {
        match &*key {
            "groupName" => data.group = r.string()?,
            "consumeType" => data.consume_type = name(r, &["CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP"])?,
            "messageModel" => data.message_model = name(r, &["BROADCASTING", "CLUSTERING"])?,
            "consumeFromWhere" => data.from = r.string()?,
            "subscriptionDataSet" => r.list(|r| {
                let sub = read_subscription(r)?;
                add(&mut data.subscriptions, sub)
            })?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(data)
}

/// An enum's name, or its ordinal among `names`.
fn name(r: &mut Reader<'_>, names: &[&str]) -> Result<alloc::string::String, WireError> {
    let text = r.text()?;
    let by_number = text.parse::<usize>().ok().and_then(|n| names.get(n));
    Ok(by_number.map_or_else(|| text.clone().into_owned(), |n| (*n).into()))
}

fn read_subscription(r: &mut Reader<'_>) -> Result<Subscription, WireError> {
    let mut sub = Subscription::default();
    r.object(|r, key| {
        match &*key {
            "topic" => sub.topic = r.string()?,
            "subString" => sub.expression = r.string()?,
            "expressionType" => sub.expression_type = r.string()?,
            "tagsSet" => sub.tags = texts(r)?,
            "subVersion" => sub.version = r.i64()?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    Ok(sub)
}
