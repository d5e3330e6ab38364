//! Frames: found whole at the front of a read buffer, their headers scanned once into ranges.
//!
//! [`Frames`] keeps what it found as ranges into the caller's buffer and is used again for the next read, so a
//! busy connection allocates nothing here. JSON strings are unescaped where they stand, which is why
//! [`Frames::split`] takes the buffer mutably; afterwards a [`Frame`] and everything decoded from it borrow.
//!
//! Must stay true: a length is checked before it is used (SEC-8); no input panics (SEC-16). Bytes are not
//! checked for UTF-8 here but where a field is read as text.
//! Elsewhere: what the fields mean ([`super::request`], [`super::answer`]). Start at [`Frames::split`].

use alloc::vec::Vec;

use super::WireError;
use super::codes::Language;
use super::header::{Field, Head, Scan, Span};
use crate::ids::{AskId, Call, ConnId};

/// The largest frame that is taken by default, in bytes over the whole frame.
pub const MAX_FRAME: usize = 16 << 20;
/// The largest header, bytes.
pub const MAX_HEADER: usize = 256 << 10;
/// Frames, and a sixteenth of the fields, for which room is kept from read to read.
const KEEP: usize = 256;
/// Bytes before the header: total length, serialization, header length.
const PREFIX: usize = 8;

/// The frames of one read, as ranges. Reused from read to read.
#[derive(Debug, Default)]
pub struct Frames {
    heads: Vec<Head>,
    fields: Vec<Field>,
}

impl Frames {
    /// No frames.
    pub const fn new() -> Self {
        Self { heads: Vec::new(), fields: Vec::new() }
    }

    /// Forgets what was found before, finds all whole frames at the front of `buf`, and gives the number of
    /// bytes that they take. What follows is the beginning of a frame; read more and call again.
    ///
    /// The buffer must not change until the frames have been used, and what was split must not be split again:
    /// its texts are unescaped. On an error nothing was found and the
    /// connection is to be closed: the stream cannot be followed any further.
    pub fn split(&mut self, buf: &mut [u8], max_frame: usize) -> Result<usize, WireError> {
        self.heads.clear();
        self.fields.clear();
        // One odd read must not cost memory for as long as the connection lives.
        self.heads.shrink_to(KEEP);
        self.fields.shrink_to(16 * KEEP);
        let mut at = 0;
        loop {
            match self.frame(buf, at, max_frame) {
                Ok(0) => return Ok(at),
                Ok(len) => at += len,
                Err(error) => {
                    self.heads.clear();
                    self.fields.clear();
                    return Err(error);
                }
            }
        }
    }

    /// One frame at `at`: its whole length, or 0 while it is incomplete.
    fn frame(&mut self, buf: &mut [u8], at: usize, max_frame: usize) -> Result<usize, WireError> {
        let rest = buf.get(at..).unwrap_or_default();
        let Some((total, after)) = rest.split_first_chunk::<4>() else { return Ok(0) };
        let total = u32::from_be_bytes(*total) as usize;
        if total > max_frame.saturating_sub(4) {
            return Err(WireError::TooLong { what: "frame", max: max_frame });
        }
        if total < 4 {
            return Err(WireError::Malformed { what: "frame", at });
        }
        let Some((word, _)) = after.split_first_chunk::<4>() else { return Ok(0) };
        let word = u32::from_be_bytes(*word);
        let (kind, header) = (word >> 24, (word & 0x00FF_FFFF) as usize);
        if header > MAX_HEADER {
            return Err(WireError::TooLong { what: "header", max: MAX_HEADER });
        }
        if header > total - 4 || kind > 1 {
            return Err(WireError::Malformed { what: "frame", at: at + 4 });
        }
        if after.len() < total {
            return Ok(0);
        }
        let (from, end) = (at + PREFIX, at + 4 + total);
        let first = self.fields.len();
        let mut head = Head {
            code: 0,
            flag: 0,
            opaque: 0,
            version: 0,
            language: Language::JAVA,
            binary: kind == 1,
            remark: Span::default(),
            body: Span::new(from + header, end),
            fields: Span::default(),
        };
        Scan::new(buf.get_mut(..from + header).unwrap_or_default(), from, &mut self.fields).run(&mut head)?;
        head.fields = Span::new(first, self.fields.len());
        self.heads.push(head);
        Ok(4 + total)
    }

    /// How many frames were found.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Nothing was found.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The frame number `i`; `buf` is the buffer that was split.
    pub fn get<'a>(&'a self, i: usize, buf: &'a [u8]) -> Option<Frame<'a>> {
        let head = self.heads.get(i)?;
        let fields = self.fields.get(head.fields.from as usize..head.fields.to as usize)?;
        Some(Frame { head, fields, buf })
    }

    /// All frames; `buf` is the buffer that was split.
    pub fn iter<'a>(&'a self, buf: &'a [u8]) -> impl Iterator<Item = Frame<'a>> {
        (0..self.len()).filter_map(move |i| self.get(i, buf))
    }
}

/// A frame, borrowed from the buffer that carried it.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    head: &'a Head,
    fields: &'a [Field],
    buf: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The request code, or the response code in a response.
    pub fn code(&self) -> i32 {
        self.head.code
    }

    /// The sender's number for this exchange.
    pub fn opaque(&self) -> i32 {
        self.head.opaque
    }

    /// The flag bits: 1 response, 2 oneway.
    pub fn flag(&self) -> i32 {
        self.head.flag
    }

    /// It answers a request of ours.
    pub fn is_response(&self) -> bool {
        self.head.flag & 1 != 0
    }

    /// It wants no answer.
    pub fn is_oneway(&self) -> bool {
        self.head.flag & 2 != 0
    }

    /// Its header is binary.
    pub fn is_binary(&self) -> bool {
        self.head.binary
    }

    /// The sender's `MQVersion` ordinal; 0 when it gave none.
    pub fn version(&self) -> i32 {
        self.head.version
    }

    /// The sender's language.
    pub fn language(&self) -> Language {
        self.head.language
    }

    /// The remark; empty when there is none or when it is not UTF-8.
    pub fn remark(&self) -> &'a str {
        core::str::from_utf8(self.head.remark.of(self.buf)).unwrap_or_default()
    }

    /// The bytes after the header.
    pub fn body(&self) -> &'a [u8] {
        self.head.body.of(self.buf)
    }

    /// How to answer this request on its connection.
    pub fn call(&self, conn: ConnId) -> Call {
        Call { conn, opaque: self.head.opaque, binary: self.head.binary, oneway: self.is_oneway() }
    }

    /// Which of our requests this response answers.
    pub fn ask(&self) -> AskId {
        AskId(self.head.opaque)
    }

    /// Header fields in the order they stand: name and value. A name may occur twice (the last one counts),
    /// and in a binary header an empty value means that the field is absent.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let buf = self.buf;
        self.fields.iter().map(move |f| (f.key.of(buf), f.value.of(buf)))
    }

    /// The field's bytes; `None` when it is absent.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        let found = self.fields.iter().rev().find(|f| f.key.of(self.buf) == name.as_bytes())?;
        let value = found.value.of(self.buf);
        (!value.is_empty() || !self.head.binary).then_some(value)
    }
}
