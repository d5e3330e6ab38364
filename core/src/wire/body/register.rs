//! The body of a broker's registration (code 103): JSON, or one zlib stream of counted pieces.
//!
//! What it is shows in its first byte, since 5.x brokers say `compressed=false` in the header either way.
//! Inflating stops at a cap (SEC-9).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::topics::write_table;
use super::{TopicConfigTable, add};
use crate::sorted;
use crate::wire::WireError;
use crate::wire::json::{self, Reader};
use crate::wire::request::{DataVersion, RegisterBroker, TopicConfig};

/// A registration inflates to at most this many bytes.
pub const MAX_INFLATED: usize = 16 << 20;

/// The body, as JSON.
pub fn encode(broker: &RegisterBroker) -> Vec<u8> {
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.list("filterServerList", [(); 0], |_, ()| {});
        o.object("topicConfigSerializeWrapper", |o| write_table(&broker.version, &broker.topics, o));
    });
    out
}

/// Reads the body in any of its forms. `mappings`: the peer is new enough to end a compressed body in a list
/// of static-topic mappings; it is passed over.
pub fn decode(bytes: &[u8], mappings: bool) -> Result<TopicConfigTable, WireError> {
    if bytes.is_empty() {
        return Ok(TopicConfigTable::default());
    }
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        let inflated = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(bytes, MAX_INFLATED)
            .map_err(|_| WireError::Malformed { what: "registration (neither JSON nor zlib within its cap)", at: 0 })?;
        return pieces(&inflated, mappings);
    }
    let mut table = TopicConfigTable::default();
    Reader::new(bytes).object(|r, key| match &*key {
        "topicConfigSerializeWrapper" => r.object(|r, key| table.member(r, &key)),
        // A peer below 37 sends the table itself.
        _ => table.member(r, &key),
    })?;
    Ok(table)
}

struct Pieces<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Pieces<'a> {
    fn count(&mut self) -> Result<usize, WireError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(four) = rest.first_chunk::<4>() else { return Err(self.malformed()) };
        self.at += 4;
        Ok(u32::from_be_bytes(*four) as usize)
    }

    fn piece(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.count()?;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(piece) = rest.get(..len) else { return Err(self.malformed()) };
        self.at += len;
        Ok(piece)
    }

    fn malformed(&self) -> WireError {
        WireError::Malformed { what: "inflated registration", at: self.at }
    }
}

fn pieces(bytes: &[u8], mappings: bool) -> Result<TopicConfigTable, WireError> {
    let mut pieces = Pieces { bytes, at: 0 };
    let version = DataVersion::read(&mut Reader::new(pieces.piece()?))?;
    let mut topics = Vec::new();
    for _ in 0..pieces.count()? {
        let piece = pieces.piece()?;
        let topic = core::str::from_utf8(piece).ok().and_then(topic).ok_or_else(|| pieces.malformed())?;
        add(&mut topics, topic)?;
    }
    pieces.piece()?; // filter servers
    if mappings && pieces.at < bytes.len() {
        for _ in 0..pieces.count()? {
            pieces.piece()?;
        }
    }
    Ok(TopicConfigTable { version, topics })
}

/// `name read write perm filterType attributes`, split by blanks; 4.9 brokers leave the attributes out.
fn topic(text: &str) -> Option<TopicConfig> {
    let mut tokens = text.splitn(6, ' ');
    let mut next = || tokens.next();
    let name = next()?.to_owned();
    let read_queues = next()?.parse().ok()?;
    let write_queues = next()?.parse().ok()?;
    let perm = next()?.parse().ok()?;
    let filter_type = next()?.to_owned();
    let mut attributes: Vec<(String, String)> = Vec::new();
    if let Some(json) = next() {
        let read = Reader::new(json.as_bytes()).object(|r, key| {
            let value = r.string()?;
            add(&mut attributes, (key.into_owned(), value))
        });
        read.ok()?;
    }
    sorted::sort(&mut attributes);
    Some(TopicConfig { name, read_queues, write_queues, perm, sys_flag: 0, order: false, filter_type, attributes })
}
