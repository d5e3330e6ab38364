//! Reads CommitLog records, from the files of a folder or from the body of a pull, and checks all that can be checked in them.
//!
//! It reads what the files say and believes none of it: sizes, both checksums and the position must agree.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const V1: u32 = 0xDAA3_20A7;
const V2: u32 = 0xDAA3_20AB;
const FILLER: u32 = 0xCBD4_3194;
const CRC_PROPERTY_BYTES: usize = 20;

/// One stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Topic name.
    pub topic: String,
    /// Queue id.
    pub queue: i32,
    /// Offset within the queue, in messages.
    pub offset: i64,
    /// Position in the log, in bytes.
    pub position: i64,
    /// Message sys flags; bit 0: the body is compressed.
    pub sys_flag: i32,
    /// The body as stored.
    pub body: Vec<u8>,
    /// Properties; `__CRC32#` included.
    pub properties: BTreeMap<String, String>,
}

/// Reads big-endian numbers and runs of bytes; `None` past the end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn i32(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self, length: usize) -> Option<String> {
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }
}

fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes) & 0x7fff_ffff
}

impl Record {
    /// Reads one whole record. The error says what does not fit.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut reader = Reader(bytes);
        let record = Self::fields(&mut reader).ok_or("its fields run past its end")??;
        if !reader.0.is_empty() {
            return Err(format!("{} bytes are left over", reader.0.len()));
        }
        let digits = record.properties.get("__CRC32#").ok_or("it has no checksum over the whole record")?;
        let told: u64 = digits.chars().rev().collect::<String>().parse().map_err(|_| "its checksum is no number")?;
        let found = crc(&bytes[..bytes.len() - CRC_PROPERTY_BYTES]);
        if told != u64::from(found) {
            return Err(format!("its checksum says {told}, its bytes say {found}"));
        }
        Ok(record)
    }

    fn fields(reader: &mut Reader<'_>) -> Option<Result<Self, String>> {
        let _size = reader.i32()?;
        let magic = reader.i32()? as u32;
        let body_crc = reader.i32()? as u32;
        let queue = reader.i32()?;
        let _flag = reader.i32()?;
        let offset = reader.i64()?;
        let position = reader.i64()?;
        let sys_flag = reader.i32()?;
        let host = |bit: i32| if sys_flag & bit == 0 { 8 } else { 20 };
        reader.take(8 + host(0x10) + 8 + host(0x20) + 4 + 8)?;
        let body_length = reader.i32()?;
        let body = reader.take(usize::try_from(body_length).ok()?)?.to_vec();
        let topic_length = match magic {
            V1 => reader.take(1)?[0] as usize,
            V2 => u16::from_be_bytes(reader.take(2)?.try_into().ok()?) as usize,
            other => return Some(Err(format!("its magic number is {other:#x}"))),
        };
        let topic = reader.text(topic_length)?;
        let properties_length = u16::from_be_bytes(reader.take(2)?.try_into().ok()?) as usize;
        let properties = reader.text(properties_length)?;
        if crc(&body) != body_crc {
            return Some(Err("the checksum of its body is wrong".to_owned()));
        }
        let properties = properties.split('\u{2}').filter_map(|item| item.split_once('\u{1}'));
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Ok(Self { topic, queue, offset, position, sys_flag, body, properties }))
    }

    /// A property's value, or an empty text.
    pub fn property(&self, name: &str) -> &str {
        self.properties.get(name).map_or("", String::as_str)
    }
}

/// All records of a pull's body. Panics when one is damaged (STO-2).
pub fn parse_records(mut body: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let size = body.first_chunk().map_or(0, |size| u32::from_be_bytes(*size) as usize);
        assert!(size > 8 && size <= body.len(), "a record of {size} bytes in the last {} of a pull's body", body.len());
        let (record, rest) = body.split_at(size);
        records.push(Record::parse(record).unwrap_or_else(|wrong| panic!("a damaged record was served: {wrong}")));
        body = rest;
    }
    records
}

/// Hands every record of the log below `store` to `each`, in order, and returns how many there are. Panics when one is damaged,
/// lies elsewhere than it says, or when a file ends in the middle of one.
pub fn scan_log(store: &Path, mut each: impl FnMut(Record)) -> usize {
    let folder = store.join("commitlog");
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut count = 0;
    for path in files {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a segment's name is its first position");
        let first: i64 = name.parse().unwrap_or_else(|_| panic!("{} is no segment of the log", path.display()));
        let length = path.metadata().expect("the segment's length").len();
        let mut file = BufReader::with_capacity(1 << 16, File::open(&path).expect("the segment opens"));
        let mut at = 0_u64;
        let mut bytes = Vec::new();
        while at + 8 <= length {
            bytes.resize(8, 0);
            file.read_exact(&mut bytes).expect("the segment reads");
            let size = u64::from(u32::from_be_bytes(bytes[..4].try_into().expect("four bytes")));
            let magic = u32::from_be_bytes(bytes[4..].try_into().expect("four bytes"));
            if size == 0 || magic == FILLER {
                break;
            }
            let place = || format!("the record at {at} of {}", path.display());
            assert!(at + size <= length && (8..1 << 24).contains(&size), "{} says that it has {size} bytes", place());
            bytes.resize(size as usize, 0);
            file.read_exact(&mut bytes[8..]).expect("the segment reads");
            let record = Record::parse(&bytes).unwrap_or_else(|wrong| panic!("{} is damaged: {wrong}", place()));
            assert_eq!(record.position, first + at as i64, "{} says that it lies elsewhere", place());
            each(record);
            count += 1;
            at += size;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let (body, topic, properties) = (b"hello".as_slice(), "T", "TAGS\u{1}a\u{2}");
        let mut bytes = Vec::new();
        let size = 91 + body.len() + topic.len() + properties.len() + CRC_PROPERTY_BYTES;
        for word in [size as u32, V1, crc(body), 3, 0] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend(7_i64.to_be_bytes());
        bytes.extend(4096_i64.to_be_bytes());
        bytes.extend([0; 48]);
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend(body);
        bytes.push(topic.len() as u8);
        bytes.extend(topic.as_bytes());
        bytes.extend(((properties.len() + CRC_PROPERTY_BYTES) as u16).to_be_bytes());
        bytes.extend(properties.as_bytes());
        let digits: String = crc(&bytes).to_string().chars().rev().collect();
        bytes.extend(format!("__CRC32#\u{1}{digits:0<10}\u{2}").as_bytes());
        assert_eq!(bytes.len(), size);
        bytes
    }

    #[test]
    fn reads_a_record() {
        let record = Record::parse(&sample()).expect("a good record");
        assert_eq!((record.topic.as_str(), record.queue, record.offset, record.position), ("T", 3, 7, 4096));
        assert_eq!((record.body.as_slice(), record.property("TAGS")), (b"hello".as_slice(), "a"));
    }

    #[test]
    fn sees_any_flipped_bit_past_the_size() {
        let good = sample();
        for at in 4..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(Record::parse(&bad).is_err(), "bit {bit} of byte {at} was not noticed");
            }
        }
    }
}
