//! Every decoder, fed with any bytes: used by the property tests and by the fuzz targets.
#![allow(dead_code, reason = "each user takes its part")]

use skylark_core::ids::LogPos;
use skylark_core::record::{Record, batch, properties, scan};
use skylark_core::wire::answer::Answer;
use skylark_core::wire::body::{
    ClusterInfo, ConsumeStats, ConsumerIds, GroupTable, KeyValues, OffsetTable, TopicConfigTable, TopicList,
    TopicRoute, TopicStats, heartbeat, register,
};
use skylark_core::wire::frame::{Frames, MAX_FRAME};
use skylark_core::wire::request::Request;

/// What was decoded is what counts; the value itself is not looked at.
fn keep<T>(value: T) {
    drop(std::hint::black_box(value));
}

/// Splits, reads every field, decodes as request and as answer.
pub(crate) fn read_frames(mut bytes: Vec<u8>) {
    let mut frames = Frames::new();
    if let Ok(used) = frames.split(&mut bytes, MAX_FRAME) {
        assert!(used <= bytes.len());
    }
    for frame in frames.iter(&bytes) {
        for (key, value) in frame.fields() {
            assert!(key.len() + value.len() <= bytes.len());
        }
        keep(Request::decode(&frame));
        let answer = Answer::of(frame);
        keep((answer.sent(), answer.pulled(), answer.offset(), answer.timestamp()));
    }
}

pub(crate) fn read_bodies(bytes: &[u8]) {
    keep(TopicRoute::decode(bytes));
    keep(ClusterInfo::decode(bytes));
    keep(TopicList::decode(bytes));
    keep(ConsumerIds::decode(bytes));
    keep(KeyValues::decode(bytes));
    keep(TopicConfigTable::decode(bytes));
    keep(TopicStats::decode(bytes));
    keep(ConsumeStats::decode(bytes));
    keep(OffsetTable::decode(bytes));
    keep(GroupTable::decode(bytes));
    keep(heartbeat::decode(bytes));
    keep(register::decode(bytes, true));
}

pub(crate) fn read_records(bytes: &[u8]) {
    keep(scan(bytes, LogPos(0)));
    if let Ok((record, rest)) = Record::check(bytes) {
        assert_eq!(record.size() + rest.len(), bytes.len());
        keep((record.verify(), record.tag_code(), record.properties().count()));
    }
    let size: usize = batch::entries(bytes).filter_map(Result::ok).map(|e| e.body.len() + e.properties.len()).sum();
    assert!(size <= bytes.len());
}

/// A frame with lengths that hold, around a header of any bytes.
pub(crate) fn framed(kind: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = (4 + header.len() as u32 + body.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(&(u32::from(kind) << 24 | header.len() as u32).to_be_bytes());
    out.extend_from_slice(header);
    out.extend_from_slice(body);
    out
}

/// Whatever a property text holds survives being written again, and being stripped of one name.
pub(crate) fn read_properties(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let again = properties::text(properties::iter(text));
    assert!(properties::iter(&again).eq(properties::iter(text)));
    keep(properties::Known::of(text));
    let dropped = properties::without(text, &["a"]);
    assert!(properties::iter(&dropped).eq(properties::iter(text).filter(|(n, _)| *n != "a")));
}
