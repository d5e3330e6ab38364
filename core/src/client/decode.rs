//! From records as brokers send them to [`Message`]s: checks, decompression, inner batches.
//!
//! A record that does not parse is an error, never skipped. A body that cannot be decompressed is a message whose
//! body says why, since the rest of it is of use. Decompression stops at a bound (SEC-9).

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::message::{
    BodyError, BodyTrouble, MAX_RECONSUME_TIMES, Message, MessageQueue, ORIGIN_MESSAGE_ID, RECONSUME_TIME,
    RETRY_PREFIX, RETRY_TOPIC, UNIQ_KEY,
};
use crate::record::{self, Damage, Record, batch, properties, sys_flag};

/// The messages of the next record, its size, and what follows it. Usually one; as many as an inner batch holds.
pub(super) fn next<'a>(
    records: &'a [u8],
    queue: &MessageQueue,
    max_body: usize,
) -> Result<(Vec<Message>, usize, &'a [u8]), Damage> {
    let (record, rest) = Record::check(records)?;
    record.verify()?;
    let first = u64::try_from(record.queue_offset).map_err(|_| Damage::Shape)?;
    let inner = sys_flag::NEED_UNWRAP | sys_flag::INNER_BATCH;
    if record.sys_flag & inner != inner {
        let body = open(record.sys_flag, record.body, max_body);
        let message = message(&record, queue, first, body, record.properties, record.flag);
        return Ok((Vec::from([message]), record.size(), rest));
    }
    let mut messages = Vec::new();
    for (offset, entry) in (first..).zip(batch::entries(record.body)) {
        let entry = entry?;
        messages.push(message(&record, queue, offset, Ok(entry.body.to_vec()), entry.properties, entry.flag));
    }
    Ok((messages, record.size(), rest))
}

fn message(
    record: &Record<'_>,
    queue: &MessageQueue,
    offset: u64,
    body: Result<Vec<u8>, BodyError>,
    texts: &str,
    flag: i32,
) -> Message {
    let mut properties = BTreeMap::new();
    for (name, value) in properties::iter(texts) {
        properties.insert(name.to_string(), value.to_string());
    }
    let first_topic = properties.get(RETRY_TOPIC).filter(|_| record.topic.starts_with(RETRY_PREFIX));
    let topic = match first_topic {
        Some(topic) => Arc::from(topic.as_str()),
        None => queue.topic.clone(),
    };
    let offset_message_id = record::offset_id(&record.store_host, record.at);
    Message {
        topic,
        queue: queue.clone(),
        offset,
        position: record.at,
        message_id: properties.get(UNIQ_KEY).cloned().unwrap_or_else(|| offset_message_id.clone()),
        offset_message_id,
        body,
        properties,
        flag,
        born: record.born,
        stored: record.store,
        born_host: record.born_host,
        store_host: record.store_host,
        reconsume_times: record.reconsume_times,
    }
}

/// A body as its producer made it.
fn open(flags: i32, body: &[u8], max: usize) -> Result<Vec<u8>, BodyError> {
    if flags & sys_flag::COMPRESSED == 0 {
        return Ok(body.to_vec());
    }
    let trouble = |why| Err(BodyError { why, raw: body.to_vec() });
    match flags & sys_flag::COMPRESSION {
        0 | 0x300 => match miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(body, max) {
            Ok(opened) => Ok(opened),
            Err(error) if error.status == miniz_oxide::inflate::TINFLStatus::HasMoreOutput => {
                trouble(BodyTrouble::TooLarge { max })
            }
            Err(_) => trouble(BodyTrouble::Corrupt),
        },
        0x100 => trouble(BodyTrouble::Lz4),
        0x200 => trouble(BodyTrouble::Zstd),
        _ => trouble(BodyTrouble::UnknownCompression),
    }
}

/// A property that brokers and clients write for themselves, so a copy of a message does not carry it.
pub(super) fn is_bookkeeping(name: &str) -> bool {
    matches!(
        name,
        UNIQ_KEY
            | RETRY_TOPIC
            | ORIGIN_MESSAGE_ID
            | RECONSUME_TIME
            | MAX_RECONSUME_TIMES
            | "DELAY"
            | "REAL_TOPIC"
            | "REAL_QID"
            | "MSG_REGION"
            | "TRACE_ON"
            | "CLUSTER"
            | "MIN_OFFSET"
            | "MAX_OFFSET"
            | "POP_CK"
            | "__CRC32#"
    )
}
