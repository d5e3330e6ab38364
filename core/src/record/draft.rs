//! A record being written, in one pass, straight into the log's batch.
//!
//! [`Draft::size`] tells the exact size beforehand (a position can be reserved) and refuses what breaks a limit;
//! [`Draft::write`] then writes exactly that many bytes.

use alloc::format;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use super::layout::{CRC_PROPERTY, MAGIC_V1, MAGIC_V2};
use super::properties::SEPARATOR;
use super::{MAX_BODY, MAX_PROPERTIES, MAX_TOPIC, crc, sys_flag};
use crate::ids::{LogPos, QueueOffset};
use crate::time::Unix;
use crate::wire::codes::Code;
use crate::wire::reply::Refusal;

/// A message that is to become a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draft<'a> {
    /// The topic, at most [`MAX_TOPIC`] bytes.
    pub topic: &'a str,
    /// The queue.
    pub queue_id: i32,
    /// The message's number in its queue.
    pub queue_offset: QueueOffset,
    /// An integer of the user's.
    pub flag: i32,
    /// Bits of [`sys_flag`]; those that tell the hosts' address families are set by [`Draft::write`].
    pub sys_flag: i32,
    /// When the producer made the message.
    pub born: Unix,
    /// The producer's address as the broker saw it.
    pub born_host: SocketAddr,
    /// When the broker stored it.
    pub store: Unix,
    /// The broker's address.
    pub store_host: SocketAddr,
    /// How often the message was consumed in vain.
    pub reconsume_times: i32,
    /// Position of the half message that this record commits; else 0.
    pub prepared: i64,
    /// The body, as the producer sent it.
    pub body: &'a [u8],
    /// The property text, without a `__CRC32#` property ([`super::properties::without`] drops it).
    pub properties: &'a str,
    /// Properties that follow the text. Names and values hold no 0x01 and 0x02.
    pub extra: &'a [(&'a str, &'a str)],
    /// Whether the record ends in a CRC over all its bytes.
    pub crc: bool,
}

impl Draft<'_> {
    fn is_v2(&self) -> bool {
        self.topic.len() > 127
    }

    fn properties_len(&self) -> usize {
        let extra: usize = self.extra.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        let crc = if self.crc { CRC_PROPERTY } else { 0 };
        let open = !self.properties.is_empty() && !self.properties.ends_with(SEPARATOR) && extra + crc > 0;
        self.properties.len() + usize::from(open) + extra + crc
    }

    /// The record's size in bytes.
    pub fn size(&self) -> Result<usize, Refusal> {
        let refuse = |remark| Err(Refusal::new(Code::MESSAGE_ILLEGAL, remark));
        if self.body.len() > MAX_BODY {
            return refuse(format!(
                "the message body has {} bytes, the limit is {MAX_BODY}; send it in smaller messages",
                self.body.len()
            ));
        }
        if self.topic.is_empty() || self.topic.len() > MAX_TOPIC {
            return refuse(format!(
                "the topic name has {} bytes, it must have 1 to {MAX_TOPIC}; use a shorter name",
                self.topic.len()
            ));
        }
        let properties = self.properties_len();
        if properties > MAX_PROPERTIES {
            return refuse(format!(
                "the message properties take {properties} bytes with what the broker adds, the limit is {MAX_PROPERTIES}; send fewer or shorter properties"
            ));
        }
        let hosts = host_len(&self.born_host) + host_len(&self.store_host);
        let topic = if self.is_v2() { 2 } else { 1 } + self.topic.len();
        Ok(68 + hosts + 4 + self.body.len() + topic + 2 + properties)
    }

    /// Appends the record for position `at` to `out`. The draft's [`size`](Self::size) has been taken.
    pub fn write(&self, at: LogPos, out: &mut Vec<u8>) {
        let start = out.len();
        let mut flags = self.sys_flag & !(sys_flag::BORN_V6 | sys_flag::STORE_V6);
        flags |= if self.born_host.is_ipv6() { sys_flag::BORN_V6 } else { 0 };
        flags |= if self.store_host.is_ipv6() { sys_flag::STORE_V6 } else { 0 };
        let mut head = [0u8; 48];
        head[4..8].copy_from_slice(&(if self.is_v2() { MAGIC_V2 } else { MAGIC_V1 }).to_be_bytes());
        head[8..12].copy_from_slice(&crc(self.body).to_be_bytes());
        head[12..16].copy_from_slice(&self.queue_id.to_be_bytes());
        head[16..20].copy_from_slice(&self.flag.to_be_bytes());
        head[20..28].copy_from_slice(&self.queue_offset.to_be_bytes());
        head[28..36].copy_from_slice(&at.0.to_be_bytes());
        head[36..40].copy_from_slice(&flags.to_be_bytes());
        head[40..48].copy_from_slice(&self.born.0.to_be_bytes());
        out.extend_from_slice(&head);
        write_host(out, &self.born_host);
        out.extend_from_slice(&self.store.0.to_be_bytes());
        write_host(out, &self.store_host);
        out.extend_from_slice(&self.reconsume_times.to_be_bytes());
        out.extend_from_slice(&self.prepared.to_be_bytes());
        out.extend_from_slice(&(self.body.len() as u32).to_be_bytes());
        out.extend_from_slice(self.body);
        if self.is_v2() {
            out.extend_from_slice(&(self.topic.len() as u16).to_be_bytes());
        } else {
            out.push(self.topic.len() as u8);
        }
        out.extend_from_slice(self.topic.as_bytes());
        let properties = self.properties_len();
        out.extend_from_slice(&(properties as u16).to_be_bytes());
        out.extend_from_slice(self.properties.as_bytes());
        if properties > self.properties.len() && !self.properties.is_empty() && !self.properties.ends_with(SEPARATOR) {
            out.push(SEPARATOR as u8);
        }
        for (name, value) in self.extra {
            super::properties::write(out, name, value);
        }
        let size = out.len() - start + if self.crc { CRC_PROPERTY } else { 0 };
        if let Some(slot) = out.get_mut(start..start + 4) {
            slot.copy_from_slice(&(size as u32).to_be_bytes());
        }
        if self.crc {
            let sum = crc(out.get(start..).unwrap_or_default());
            out.extend_from_slice(&super::layout::crc_property(sum));
        }
    }
}

fn host_len(host: &SocketAddr) -> usize {
    if host.is_ipv4() { 8 } else { 20 }
}

fn write_host(out: &mut Vec<u8>, host: &SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&u32::from(host.port()).to_be_bytes());
}
