//! Identifiers and sums that headers and records share: offset message ids, Java's string hash, the CRC.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::ids::LogPos;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Appends bytes as upper-case hex.
pub(crate) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    for (pair, byte) in out[start..].as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
    }
}

/// Appends the offset message id of a record: address, port and position of the broker that stored it, as
/// upper-case hex. 32 characters for IPv4, 56 for IPv6.
pub fn write_offset_id(out: &mut Vec<u8>, host: &SocketAddr, at: LogPos) {
    match host.ip() {
        IpAddr::V4(ip) => hex(out, &ip.octets()),
        IpAddr::V6(ip) => hex(out, &ip.octets()),
    }
    hex(out, &u32::from(host.port()).to_be_bytes());
    hex(out, &at.0.to_be_bytes());
}

/// The offset message id as a text of its own.
pub fn offset_id(host: &SocketAddr, at: LogPos) -> String {
    let mut out = Vec::with_capacity(56);
    write_offset_id(&mut out, host, at);
    String::from_utf8(out).unwrap_or_default()
}

/// Reads an offset message id; `None` for any other text. A unique key of 32 characters may read as one too.
pub fn parse_offset_id(text: &str) -> Option<(SocketAddr, LogPos)> {
    let mut bytes = [0u8; 28];
    let digits = text.as_bytes();
    if digits.len() != 32 && digits.len() != 56 {
        return None;
    }
    for (slot, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let (high, low) = (char::from(pair[0]).to_digit(16)?, char::from(pair[1]).to_digit(16)?);
        *slot = (high << 4 | low) as u8;
    }
    let (ip, rest) = if digits.len() == 32 {
        let (ip, rest) = bytes.split_first_chunk::<4>()?;
        (IpAddr::from(*ip), rest)
    } else {
        let (ip, rest) = bytes.split_first_chunk::<16>()?;
        (IpAddr::from(*ip), rest)
    };
    let (port, rest) = rest.split_first_chunk::<4>()?;
    let at = rest.first_chunk::<8>()?;
    let port = u16::try_from(u32::from_be_bytes(*port)).ok()?;
    Some((SocketAddr::new(ip, port), LogPos(u64::from_be_bytes(*at))))
}

/// Java's `String.hashCode`: over UTF-16 units, wrapping at 32 bits. Tags are compared by it.
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// CRC-32 with the top bit cleared, as records and registrations carry it; 0 for no bytes.
pub fn crc(bytes: &[u8]) -> u32 {
    #[cfg(not(feature = "small"))]
    let sum = crc32fast::hash(bytes);
    #[cfg(feature = "small")]
    let sum = {
        static ISO: crc::Crc<u32, crc::Table<1>> = crc::Crc::<u32, crc::Table<1>>::new(&crc::CRC_32_ISO_HDLC);
        ISO.checksum(bytes)
    };
    sum & 0x7FFF_FFFF
}
