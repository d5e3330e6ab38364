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
use crate::ids::{AskId, Call, ConnId};

/// The largest frame that is taken by default, in bytes over the whole frame.
pub const MAX_FRAME: usize = 16 << 20;
/// The largest header, bytes.
pub const MAX_HEADER: usize = 256 << 10;
/// The most fields that a header may carry.
const MAX_FIELDS: usize = 1024;
/// How deep a JSON header may nest. Deeper values than the header's own two levels are skipped, not kept.
const MAX_DEPTH: usize = 32;
/// Bytes before the header: total length, serialization, header length.
const PREFIX: usize = 8;
/// Bytes of a binary header without remark and fields.
const BINARY: usize = 21;

/// A range of the read buffer. `u32`: read buffers are far below 4 GiB, and fields are many.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    from: u32,
    to: u32,
}

impl Span {
    fn new(from: usize, to: usize) -> Self {
        Self { from: from as u32, to: to as u32 }
    }

    fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.from as usize..self.to as usize).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug)]
struct Field {
    key: Span,
    value: Span,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    code: i32,
    flag: i32,
    opaque: i32,
    version: i32,
    language: Language,
    binary: bool,
    remark: Span,
    body: Span,
    fields: Span,
}

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
    /// The buffer must not change until the frames have been used. On an error nothing was found and the
    /// connection is to be closed: the stream cannot be followed any further.
    pub fn split(&mut self, buf: &mut [u8], max_frame: usize) -> Result<usize, WireError> {
        self.heads.clear();
        self.fields.clear();
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
        let mut scan =
            Scan { buf: buf.get_mut(..from + header).unwrap_or_default(), at: from, fields: &mut self.fields, first };
        if head.binary {
            scan.binary(&mut head)?;
        } else {
            scan.json(&mut head)?;
        }
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

/// A header being scanned. `buf` ends where the header ends.
struct Scan<'b, 'f> {
    buf: &'b mut [u8],
    at: usize,
    fields: &'f mut Vec<Field>,
    first: usize,
}

impl Scan<'_, '_> {
    fn malformed(&self, what: &'static str) -> WireError {
        WireError::Malformed { what, at: self.at }
    }

    fn push(&mut self, key: Span, value: Span) -> Result<(), WireError> {
        if self.fields.len() - self.first >= MAX_FIELDS {
            return Err(WireError::TooLong { what: "list of header fields", max: MAX_FIELDS });
        }
        self.fields.push(Field { key, value });
        Ok(())
    }

    // The binary header.

    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let rest = self.buf.get(self.at..).unwrap_or_default();
        let Some(bytes) = rest.first_chunk::<N>() else { return Err(self.malformed("binary header")) };
        self.at += N;
        Ok(*bytes)
    }

    fn run(&mut self, len: usize, end: usize) -> Result<Span, WireError> {
        match self.at.checked_add(len) {
            Some(to) if to <= end => {
                let span = Span::new(self.at, to);
                self.at = to;
                Ok(span)
            }
            _ => Err(self.malformed("binary header")),
        }
    }

    fn binary(&mut self, head: &mut Head) -> Result<(), WireError> {
        if self.buf.len() - self.at < BINARY {
            return Err(self.malformed("binary header"));
        }
        head.code = i32::from(i16::from_be_bytes(self.take()?));
        let [language] = self.take()?;
        head.language = if usize::from(language) < 14 { Language(language) } else { Language::OTHER };
        head.version = i32::from(i16::from_be_bytes(self.take()?));
        head.opaque = i32::from_be_bytes(self.take()?);
        head.flag = i32::from_be_bytes(self.take()?);
        let end = self.buf.len();
        let remark = u32::from_be_bytes(self.take()?) as usize;
        head.remark = self.run(remark, end)?;
        let fields = u32::from_be_bytes(self.take()?) as usize;
        let fields = self.run(fields, end)?;
        let end = fields.to as usize;
        self.at = fields.from as usize;
        while self.at < end {
            let key = u16::from_be_bytes(self.take()?) as usize;
            let key = self.run(key, end)?;
            let value = u32::from_be_bytes(self.take()?) as usize;
            let value = self.run(value, end)?;
            self.push(key, value)?;
        }
        Ok(())
    }

    // The JSON header.

    fn json(&mut self, head: &mut Head) -> Result<(), WireError> {
        self.expect(b'{')?;
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            let name = key.of(self.buf);
            match name {
                b"code" => head.code = self.number()?,
                b"opaque" => head.opaque = self.number()?,
                b"flag" => head.flag = self.number()?,
                b"version" => head.version = self.number()?,
                b"language" => {
                    let value = self.value(2)?.of(self.buf);
                    head.language = match parse_i32(value) {
                        Some(n) if (0..14).contains(&n) => Language(n as u8),
                        _ => Language::of_name(value),
                    };
                }
                b"remark" => head.remark = self.value(2)?,
                b"extFields" => self.ext_fields()?,
                _ => {
                    self.value(2)?;
                }
            }
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    fn ext_fields(&mut self) -> Result<(), WireError> {
        if self.peek() != Some(b'{') {
            self.value(2)?; // null
            return Ok(());
        }
        self.at += 1;
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            let null = self.peek() == Some(b'n');
            let value = self.value(3)?;
            if !null {
                self.push(key, value)?;
            }
            if !self.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// The next byte that is not blank; it stays.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.buf.get(self.at)?;
            if byte > b' ' {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), WireError> {
        if self.eat(byte) { Ok(()) } else { Err(self.malformed("JSON header")) }
    }

    /// After an element: `true` at a comma, `false` at `close`.
    fn more(&mut self, close: u8) -> Result<bool, WireError> {
        if self.eat(b',') {
            return Ok(true);
        }
        self.expect(close)?;
        Ok(false)
    }

    fn number(&mut self) -> Result<i32, WireError> {
        let value = self.value(2)?.of(self.buf);
        match value {
            b"" => Ok(0), // null: the default, as Java leaves it
            text => parse_i32(text).ok_or_else(|| self.malformed("number in a JSON header")),
        }
    }

    /// Any value: a string's content, the text of a number or word, empty for null. A nested value is skipped
    /// and gives its text.
    fn value(&mut self, depth: usize) -> Result<Span, WireError> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(open @ (b'{' | b'[')) => {
                if depth > MAX_DEPTH {
                    return Err(WireError::TooLong { what: "nesting of a JSON header", max: MAX_DEPTH });
                }
                let from = self.at;
                self.at += 1;
                let close = if open == b'{' { b'}' } else { b']' };
                if !self.eat(close) {
                    loop {
                        if open == b'{' {
                            self.string()?;
                            self.expect(b':')?;
                        }
                        self.value(depth + 1)?;
                        if !self.more(close)? {
                            break;
                        }
                    }
                }
                Ok(Span::new(from, self.at))
            }
            Some(_) => {
                let from = self.at;
                while self
                    .buf
                    .get(self.at)
                    .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.'))
                {
                    self.at += 1;
                }
                match self.buf.get(from..self.at) {
                    Some([]) | None => Err(self.malformed("JSON header")),
                    Some(b"null") => Ok(Span::new(from, from)),
                    Some(_) => Ok(Span::new(from, self.at)),
                }
            }
            None => Err(self.malformed("JSON header")),
        }
    }

    /// A string, unescaped where it stands; the span is its content.
    fn string(&mut self) -> Result<Span, WireError> {
        self.expect(b'"')?;
        let from = self.at;
        self.at = plain(self.buf, self.at);
        let mut to = self.at;
        loop {
            match self.buf.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Span::new(from, to));
                }
                Some(b'\\') => {
                    let (text, len) = self.escape()?;
                    for byte in text.iter().take(len) {
                        // `to` is behind `at`: an escape is always longer than what it stands for.
                        if let Some(slot) = self.buf.get_mut(to) {
                            *slot = *byte;
                        }
                        to += 1;
                    }
                    let start = self.at;
                    self.at = plain(self.buf, start);
                    self.buf.copy_within(start..self.at, to);
                    to += self.at - start;
                }
                _ => return Err(self.malformed("JSON string")),
            }
        }
    }

    /// An escape at `at`: the UTF-8 bytes that it stands for and their number.
    fn escape(&mut self) -> Result<([u8; 4], usize), WireError> {
        let byte = self.buf.get(self.at + 1).copied();
        self.at += 2;
        let plain = match byte {
            Some(b'u') => {
                let first = self.hex4()?;
                let mut code = u32::from(first);
                if (0xD800..0xDC00).contains(&first) && self.buf.get(self.at..self.at + 2) == Some(b"\\u") {
                    let back = self.at;
                    self.at += 2;
                    let second = self.hex4()?;
                    if (0xDC00..0xE000).contains(&second) {
                        code = 0x10000 + ((code - 0xD800) << 10) + (u32::from(second) - 0xDC00);
                    } else {
                        self.at = back;
                    }
                }
                let mut out = [0; 4];
                let len = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut out).len();
                return Ok((out, len));
            }
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(byte @ (b'"' | b'\\' | b'/' | b'\'')) => byte,
            _ => return Err(self.malformed("JSON string")),
        };
        Ok(([plain, 0, 0, 0], 1))
    }

    fn hex4(&mut self) -> Result<u16, WireError> {
        let digits = self.buf.get(self.at..).unwrap_or_default().first_chunk::<4>();
        let Some(digits) = digits else { return Err(self.malformed("JSON string")) };
        let mut value = 0;
        for digit in digits {
            let Some(digit) = char::from(*digit).to_digit(16) else { return Err(self.malformed("JSON string")) };
            value = value << 4 | digit as u16;
        }
        self.at += 4;
        Ok(value)
    }
}

/// The first place from `at` on that holds `"` or `\`, or the end. Looks at words of eight bytes.
fn plain(buf: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    const QUOTES: u64 = ONES * b'"' as u64;
    const SLASHES: u64 = ONES * b'\\' as u64;
    while let Some(word) = buf.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let (q, s) = (word ^ QUOTES, word ^ SLASHES);
        // A byte that is zero in `q` or `s` gets its high bit set; the lowest set bit is exact.
        let hit = ((q.wrapping_sub(ONES) & !q) | (s.wrapping_sub(ONES) & !s)) & HIGH;
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while buf.get(at).is_some_and(|b| !matches!(b, b'"' | b'\\')) {
        at += 1;
    }
    at
}

/// A decimal `i32` with an optional sign; `None` for anything else, or when it does not fit.
pub(crate) fn parse_i32(text: &[u8]) -> Option<i32> {
    i32::try_from(parse_i64(text)?).ok()
}

/// A decimal `i64` with an optional sign; `None` for anything else, or when it does not fit.
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0i64;
    for digit in digits {
        let digit = i64::from(digit.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?;
        value = if negative { value.checked_sub(digit)? } else { value.checked_add(digit)? };
    }
    Some(value)
}
