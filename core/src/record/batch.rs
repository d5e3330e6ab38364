//! The body of a batch send: messages one behind the other, each with flag, body and properties.
//!
//! Per message: size (4), magic and CRC (4 each, zero, ignored), flag (4), body length (4), body,
//! properties length (2), properties. The stated size is not believed; the lengths inside are.

use alloc::vec::Vec;

use super::Damage;

/// The most messages that one batch may hold.
pub const MAX_MESSAGES: usize = 65_536;

/// A message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// An integer of the user's.
    pub flag: i32,
    /// The body.
    pub body: &'a [u8],
    /// The property text.
    pub properties: &'a str,
}

/// Appends a message to a batch that a client sends. Properties beyond 32,767 bytes cannot be written.
pub fn write(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let size = 22 + entry.body.len() + entry.properties.len();
    out.extend_from_slice(&(size as u32).to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&entry.flag.to_be_bytes());
    out.extend_from_slice(&(entry.body.len() as u32).to_be_bytes());
    out.extend_from_slice(entry.body);
    out.extend_from_slice(&(entry.properties.len() as u16).to_be_bytes());
    out.extend_from_slice(entry.properties.as_bytes());
}

/// Reads the messages of a batch; after an error there are no more.
pub fn entries(body: &[u8]) -> Entries<'_> {
    Entries { rest: body, left: MAX_MESSAGES }
}

/// Messages of a batch, in order.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Entries<'a> {
    fn next_entry(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (head, rest) = self.rest.split_first_chunk::<20>()?;
        let flag = i32::from_be_bytes(*head.get(12..)?.first_chunk()?);
        let len = u32::from_be_bytes(*head.get(16..)?.first_chunk()?) as usize;
        let (body, rest) = rest.split_at_checked(len)?;
        let (len, rest) = rest.split_first_chunk::<2>()?;
        let len = usize::try_from(i16::from_be_bytes(*len)).ok()?;
        let (properties, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Entry { flag, body, properties: core::str::from_utf8(properties).ok()? })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.next_entry().ok_or(Damage::Shape);
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}
