//! A frame's header, JSON or binary, scanned once into ranges of the read buffer.
//!
//! JSON strings are unescaped where they stand: the text after it is shorter, and what is left of the old text
//! behind it is never looked at. That is why the same bytes must not be scanned twice.
//!
//! Must stay true: nothing outside the header is read or written; no input panics (SEC-16).
//! Start at [`Scan::run`].

use alloc::vec::Vec;

use super::WireError;
use super::codes::Language;

/// The most fields that a header may carry.
const MAX_FIELDS: usize = 1024;
/// How deep a JSON header may nest. Deeper values than the header's own two levels are skipped, not kept.
const MAX_DEPTH: usize = 32;
/// Bytes of a binary header without remark and fields.
const BINARY: usize = 21;

/// A range of the read buffer. `u32`: read buffers are far below 4 GiB, and fields are many.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Span {
    pub(super) fn new(from: usize, to: usize) -> Self {
        Self { from: from as u32, to: to as u32 }
    }

    pub(super) fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.from as usize..self.to as usize).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) key: Span,
    pub(super) value: Span,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) code: i32,
    pub(super) flag: i32,
    pub(super) opaque: i32,
    pub(super) version: i32,
    pub(super) language: Language,
    pub(super) binary: bool,
    pub(super) remark: Span,
    pub(super) body: Span,
    pub(super) fields: Span,
}

/// A header being scanned. `buf` ends where the header ends.
pub(super) struct Scan<'b, 'f> {
    buf: &'b mut [u8],
    at: usize,
    fields: &'f mut Vec<Field>,
    first: usize,
    /// Why the scan ended, when it was not the bytes' form.
    error: Option<WireError>,
}

impl<'b, 'f> Scan<'b, 'f> {
    /// A scan of the header from `at` to the end of `buf`; its fields are added to `fields`.
    pub(super) fn new(buf: &'b mut [u8], at: usize, fields: &'f mut Vec<Field>) -> Self {
        let first = fields.len();
        Self { buf, at, fields, first, error: None }
    }

    /// Scans the header into `head`.
    pub(super) fn run(mut self, head: &mut Head) -> Result<(), WireError> {
        let done = if head.binary { self.binary(head) } else { self.json(head) };
        done.ok_or_else(|| {
            let what = if head.binary { "binary header" } else { "JSON header" };
            self.error.unwrap_or(WireError::Malformed { what, at: self.at })
        })
    }

    #[inline]
    fn push(&mut self, key: Span, value: Span) -> Option<()> {
        if self.fields.len() - self.first >= MAX_FIELDS {
            self.error = Some(WireError::TooLong { what: "list of header fields", max: MAX_FIELDS });
            return None;
        }
        self.fields.push(Field { key, value });
        Some(())
    }

    // The binary header.

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let rest = self.buf.get(self.at..).unwrap_or_default();
        let bytes = *rest.first_chunk::<N>()?;
        self.at += N;
        Some(bytes)
    }

    #[inline]
    fn span(&mut self, len: usize, end: usize) -> Option<Span> {
        match self.at.checked_add(len) {
            Some(to) if to <= end => {
                let span = Span::new(self.at, to);
                self.at = to;
                Some(span)
            }
            _ => None,
        }
    }

    fn binary(&mut self, head: &mut Head) -> Option<()> {
        if self.buf.len() - self.at < BINARY {
            return None;
        }
        head.code = i32::from(i16::from_be_bytes(self.take()?));
        let [language] = self.take()?;
        head.language = if usize::from(language) < 14 { Language(language) } else { Language::OTHER };
        head.version = i32::from(i16::from_be_bytes(self.take()?));
        head.opaque = i32::from_be_bytes(self.take()?);
        head.flag = i32::from_be_bytes(self.take()?);
        let end = self.buf.len();
        let remark = u32::from_be_bytes(self.take()?) as usize;
        head.remark = self.span(remark, end)?;
        let fields = u32::from_be_bytes(self.take()?) as usize;
        let fields = self.span(fields, end)?;
        let end = fields.to as usize;
        self.at = fields.from as usize;
        while self.at < end {
            let key = u16::from_be_bytes(self.take()?) as usize;
            let key = self.span(key, end)?;
            let value = u32::from_be_bytes(self.take()?) as usize;
            let value = self.span(value, end)?;
            self.push(key, value)?;
        }
        Some(())
    }

    // The JSON header.

    fn json(&mut self, head: &mut Head) -> Option<()> {
        self.expect(b'{')?;
        if self.eat(b'}') {
            return Some(());
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
                return Some(());
            }
        }
    }

    fn ext_fields(&mut self) -> Option<()> {
        if self.peek() != Some(b'{') {
            self.value(2)?; // null
            return Some(());
        }
        self.at += 1;
        if self.eat(b'}') {
            return Some(());
        }
        loop {
            match self.plain_field()? {
                Some(true) => continue,
                Some(false) => return Some(()),
                None => {}
            }
            let key = self.string()?;
            self.expect(b':')?;
            let null = self.peek() == Some(b'n');
            let value = self.value(3)?;
            if !null {
                self.push(key, value)?;
            }
            if !self.more(b'}')? {
                return Some(());
            }
        }
    }

    /// The usual case in one go: a name and a text without a blank around them. `None` when it is another
    /// case, with nothing taken; else whether another field follows.
    #[inline]
    #[expect(clippy::option_option, reason = "the outer one is the scan's failure")]
    fn plain_field(&mut self) -> Option<Option<bool>> {
        let from = self.at + 1;
        if self.buf.get(self.at) != Some(&b'"') {
            return Some(None);
        }
        let to = plain(self.buf, from);
        if self.buf.get(to..to + 3) != Some(b"\":\"") {
            return Some(None);
        }
        let key = Span::new(from, to);
        let from = to + 3;
        let to = plain(self.buf, from);
        let value = match self.buf.get(to)? {
            b'"' => {
                self.at = to + 1;
                Span::new(from, to)
            }
            _ => self.unescape(from, to)?,
        };
        self.push(key, value)?;
        match self.buf.get(self.at) {
            Some(b',') => {
                self.at += 1;
                Some(Some(true))
            }
            _ => self.more(b'}').map(Some),
        }
    }

    /// The next byte that is not blank; it stays.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.buf.get(self.at)?;
            if byte > b' ' {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    /// After an element: `true` at a comma, `false` at `close`.
    #[inline]
    fn more(&mut self, close: u8) -> Option<bool> {
        if self.eat(b',') {
            return Some(true);
        }
        self.expect(close)?;
        Some(false)
    }

    fn number(&mut self) -> Option<i32> {
        let value = self.value(2)?.of(self.buf);
        match value {
            b"" => Some(0), // null: the default, as Java leaves it
            text => parse_i32(text),
        }
    }

    /// Any value: a string's content, the text of a number or word, empty for null. A nested value is skipped
    /// and gives its text.
    fn value(&mut self, depth: usize) -> Option<Span> {
        match self.peek()? {
            b'"' => self.string(),
            open @ (b'{' | b'[') => {
                if depth > MAX_DEPTH {
                    self.error = Some(WireError::TooLong { what: "nesting of a JSON header", max: MAX_DEPTH });
                    return None;
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
                Some(Span::new(from, self.at))
            }
            _ => {
                let from = self.at;
                while self
                    .buf
                    .get(self.at)
                    .is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.'))
                {
                    self.at += 1;
                }
                match self.buf.get(from..self.at)? {
                    [] => None,
                    b"null" => Some(Span::new(from, from)),
                    _ => Some(Span::new(from, self.at)),
                }
            }
        }
    }

    /// A string, unescaped where it stands; the span is its content.
    #[inline]
    fn string(&mut self) -> Option<Span> {
        self.expect(b'"')?;
        let from = self.at;
        let to = plain(self.buf, from);
        self.at = to + 1;
        match self.buf.get(to)? {
            b'"' => Some(Span::new(from, to)),
            _ => self.unescape(from, to),
        }
    }

    /// The rest of a string from its first `\` at `to` on.
    fn unescape(&mut self, from: usize, mut to: usize) -> Option<Span> {
        self.at = to;
        loop {
            match self.buf.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(Span::new(from, to));
                }
                b'\\' => {
                    // What is written never passes what is read: an escape is longer than what it stands for.
                    if let Some(byte) = control(self.buf, self.at) {
                        *self.buf.get_mut(to)? = byte;
                        to += 1;
                        self.at += 6;
                    } else {
                        let (text, len) = self.escape()?;
                        self.buf.get_mut(to..to + len)?.copy_from_slice(text.get(..len)?);
                        to += len;
                    }
                }
                _ => {
                    let start = self.at;
                    self.at = plain(self.buf, start);
                    self.buf.copy_within(start..self.at, to);
                    to += self.at - start;
                }
            }
        }
    }

    /// An escape at `at`: the UTF-8 bytes that it stands for and their number.
    fn escape(&mut self) -> Option<([u8; 4], usize)> {
        let byte = *self.buf.get(self.at + 1)?;
        self.at += 2;
        let plain = match byte {
            b'u' => {
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
                return Some((out, len));
            }
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'"' | b'\\' | b'/' | b'\'' => byte,
            _ => return None,
        };
        Some(([plain, 0, 0, 0], 1))
    }

    fn hex4(&mut self) -> Option<u16> {
        let mut value = 0;
        for digit in self.buf.get(self.at..self.at + 4)? {
            value = value << 4 | char::from(*digit).to_digit(16)? as u16;
        }
        self.at += 4;
        Some(value)
    }
}

/// The byte of an escape `\u00XX` below 0x80 at `at`: what property texts are full of.
#[inline]
fn control(buf: &[u8], at: usize) -> Option<u8> {
    let [b'\\', b'u', b'0', b'0', high @ b'0'..=b'7', low] = *buf.get(at..)?.first_chunk::<6>()? else { return None };
    let low = match low {
        b'0'..=b'9' => low - b'0',
        b'a'..=b'f' => low - b'a' + 10,
        b'A'..=b'F' => low - b'A' + 10,
        _ => return None,
    };
    Some((high - b'0') << 4 | low)
}

/// The first place from `at` on that holds `"` or `\`, or the end. Looks at words of eight bytes.
#[inline]
fn plain(buf: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    const QUOTES: u64 = ONES * b'"' as u64;
    const SLASHES: u64 = ONES * b'\\' as u64;
    for word in buf.get(at..).unwrap_or_default().as_chunks::<8>().0 {
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
    let negative = text.first() == Some(&b'-');
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
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
