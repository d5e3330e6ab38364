//! The bytes of a record (V1 and V2), read back: one record ([`Record::check`]) and a log's walk ([`scan`]).
//!
//! | bytes | field |
//! |---|---|
//! | 4, 4, 4 | size, magic, body CRC |
//! | 4, 4, 8, 8, 4 | queue id, flag, queue offset, position, sysFlag |
//! | 8, 8 or 20 | born time, born host |
//! | 8, 8 or 20 | store time, store host |
//! | 4, 8 | reconsume times, prepared position |
//! | 4 + n | body |
//! | 1 + n (V1) or 2 + n (V2) | topic |
//! | 2 + n | properties |
//!
//! All integers are big-endian. Checking the shape and checking the sums are two steps: readers of a log that
//! was checked when it was loaded need only the first.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use super::{crc, properties, sys_flag};
use crate::ids::LogPos;
use crate::time::Unix;

/// Magic of a record with one byte of topic length.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record with two bytes of topic length.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Magic of the filler at a segment's end.
pub const FILLER_MAGIC: u32 = 0xCBD4_3194;
/// The smallest record that can be: IPv4 hosts, no body, topic or properties.
pub const SMALLEST: usize = 91;
/// Bytes of the whole-record CRC property, the record's last.
pub(crate) const CRC_PROPERTY: usize = 20;
const CRC_NAME: &[u8; 9] = b"__CRC32#\x01";

/// A record, checked for shape and borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// All its bytes.
    pub bytes: &'a [u8],
    /// CRC of the body as the record states it.
    pub body_crc: u32,
    /// The queue.
    pub queue_id: i32,
    /// An integer of the user's.
    pub flag: i32,
    /// The message's number in its queue.
    pub queue_offset: i64,
    /// The record's position as it states it.
    pub at: LogPos,
    /// Bits of [`sys_flag`].
    pub sys_flag: i32,
    /// When the producer made the message.
    pub born: Unix,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// When the broker stored it.
    pub store: Unix,
    /// The broker's address.
    pub store_host: SocketAddr,
    /// How often the message was consumed in vain.
    pub reconsume_times: i32,
    /// Position of the half message that this record commits; else 0.
    pub prepared: i64,
    /// The body as stored; may be compressed.
    pub body: &'a [u8],
    /// The topic.
    pub topic: &'a str,
    /// The property text.
    pub properties: &'a str,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Fewer bytes are there than the record, or any record, has.
    Cut,
    /// Not a record's magic.
    Magic,
    /// Lengths inside do not add up to the record's size, or a text is not UTF-8.
    Shape,
    /// The body does not match its CRC.
    BodyCrc,
    /// The record does not match the CRC over all its bytes.
    RecordCrc,
    /// The record states another position than the one where it stands: left over from before a truncation.
    Position,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "the record is cut off",
            Self::Magic => "no record begins here",
            Self::Shape => "the record's lengths do not add up",
            Self::BodyCrc => "the body does not match its checksum",
            Self::RecordCrc => "the record does not match its checksum",
            Self::Position => "the record belongs to another position",
        })
    }
}

impl core::error::Error for Damage {}

/// A cursor over a record's bytes.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Damage::Shape)?;
        self.rest = rest;
        Ok(*head)
    }

    fn i32(&mut self) -> Result<i32, Damage> {
        self.array().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Damage> {
        self.array().map(i64::from_be_bytes)
    }

    fn run(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let (run, rest) = self.rest.split_at_checked(len).ok_or(Damage::Shape)?;
        self.rest = rest;
        Ok(run)
    }

    fn text(&mut self, len: usize) -> Result<&'a str, Damage> {
        core::str::from_utf8(self.run(len)?).map_err(|_| Damage::Shape)
    }

    fn host(&mut self, v6: bool) -> Result<SocketAddr, Damage> {
        let ip = if v6 { IpAddr::from(self.array::<16>()?) } else { IpAddr::from(self.array::<4>()?) };
        let port = self.i32()?;
        // Java stores any int here; a port that is none is kept as 0.
        Ok(SocketAddr::new(ip, u16::try_from(port).unwrap_or(0)))
    }
}

impl<'a> Record<'a> {
    /// Checks the shape of the record at the front of `bytes`; gives it and what follows it.
    pub fn check(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Damage> {
        let (size, _) = bytes.split_first_chunk::<4>().ok_or(Damage::Cut)?;
        let size = u32::from_be_bytes(*size) as usize;
        let magic = bytes.get(4..).and_then(|b| b.first_chunk::<4>()).map(|m| u32::from_be_bytes(*m));
        let v2 = match magic {
            Some(MAGIC_V1) => false,
            Some(MAGIC_V2) => true,
            Some(_) => return Err(Damage::Magic),
            None => return Err(Damage::Cut),
        };
        if size < SMALLEST {
            return Err(Damage::Shape);
        }
        let (bytes, after) = bytes.split_at_checked(size).ok_or(Damage::Cut)?;
        let mut c = Cursor { rest: bytes.get(8..).unwrap_or_default() };
        let body_crc = c.i32()? as u32;
        let (queue_id, flag) = (c.i32()?, c.i32()?);
        let (queue_offset, at) = (c.i64()?, c.i64()?);
        let sys_flag = c.i32()?;
        let born = Unix(c.i64()?);
        let born_host = c.host(sys_flag & sys_flag::BORN_V6 != 0)?;
        let store = Unix(c.i64()?);
        let store_host = c.host(sys_flag & sys_flag::STORE_V6 != 0)?;
        let reconsume_times = c.i32()?;
        let prepared = c.i64()?;
        // A negative length is a huge one here, and longer than what is there.
        let len = c.i32()? as u32 as usize;
        let body = c.run(len)?;
        let len = if v2 { i16::from_be_bytes(c.array()?) } else { i16::from(i8::from_be_bytes(c.array()?)) };
        let topic = c.text(usize::try_from(len).map_err(|_| Damage::Shape)?)?;
        let len = i16::from_be_bytes(c.array()?);
        let properties = c.text(usize::try_from(len).map_err(|_| Damage::Shape)?)?;
        let at = LogPos(u64::try_from(at).map_err(|_| Damage::Shape)?);
        if !c.rest.is_empty() {
            return Err(Damage::Shape);
        }
        let record = Self {
            bytes,
            body_crc,
            queue_id,
            flag,
            queue_offset,
            at,
            sys_flag,
            born,
            born_host,
            store,
            store_host,
            reconsume_times,
            prepared,
            body,
            topic,
            properties,
        };
        Ok((record, after))
    }

    /// Checks the sums: the body's, and the whole record's where it carries one.
    pub fn verify(&self) -> Result<(), Damage> {
        if let Some((covered, tail)) = self.bytes.split_last_chunk::<CRC_PROPERTY>()
            && self.properties.len() >= CRC_PROPERTY
        {
            // The sum covers the body too, and the body's own sum. Digits that match under a damaged name
            // are damage, not a record without a sum.
            let named = tail.starts_with(CRC_NAME);
            if named || tail[CRC_NAME.len()..CRC_PROPERTY - 1].iter().all(u8::is_ascii_digit) {
                let want = crc_property(crc(covered));
                if *tail == want {
                    return Ok(());
                }
                if named || tail[CRC_NAME.len()..] == want[CRC_NAME.len()..] {
                    return Err(Damage::RecordCrc);
                }
            }
        }
        if !self.body.is_empty() && self.body_crc != crc(self.body) {
            return Err(Damage::BodyCrc);
        }
        Ok(())
    }

    /// The record's size in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// What its ConsumeQueue unit holds for its tag.
    pub fn tag_code(&self) -> i64 {
        super::tag_code(properties::get(self.properties, properties::TAGS))
    }

    /// All its properties, in order.
    pub fn properties(&self) -> properties::Iter<'a> {
        properties::iter(self.properties)
    }
}

/// The whole-record CRC property: ten decimal digits, the least significant first.
pub(crate) fn crc_property(sum: u32) -> [u8; CRC_PROPERTY] {
    let mut out = *b"__CRC32#\x010000000000\x02";
    let mut rest = sum;
    for digit in &mut out[CRC_NAME.len()..CRC_PROPERTY - 1] {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out
}

/// What stands at a place of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan<'a> {
    /// A record that passes every check.
    Record(Record<'a>),
    /// The segment ends here; so many bytes from here to its end, this mark included.
    Filler(usize),
    /// Nothing was ever written here: zeros, or the end of the bytes.
    Nothing,
    /// Something that is no whole record.
    Damaged(Damage),
}

/// Looks at the front of `bytes`, which stand at position `at` of the log and reach to the end of their segment,
/// or to the end of what is known; a record or a filler that reaches beyond them counts as damaged. Everything is
/// checked: shape, sums, and the position that the record states.
pub fn scan(bytes: &[u8], at: LogPos) -> Scan<'_> {
    let Some(head) = bytes.first_chunk::<8>() else {
        return if bytes.iter().all(|b| *b == 0) { Scan::Nothing } else { Scan::Damaged(Damage::Cut) };
    };
    if *head == [0; 8] {
        return Scan::Nothing;
    }
    let word = |from: usize| u32::from_be_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
    if word(4) == FILLER_MAGIC {
        return match word(0) as usize {
            len if len >= 8 && len <= bytes.len() => Scan::Filler(len),
            _ => Scan::Damaged(Damage::Shape),
        };
    }
    match Record::check(bytes) {
        Err(damage) => Scan::Damaged(damage),
        Ok((record, _)) if record.at != at => Scan::Damaged(Damage::Position),
        Ok((record, _)) => match record.verify() {
            Ok(()) => Scan::Record(record),
            Err(damage) => Scan::Damaged(damage),
        },
    }
}
