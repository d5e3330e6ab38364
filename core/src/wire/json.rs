//! JSON for bodies and tables: a reader that takes what fastjson writes, and a compact writer.
//!
//! The reader is a cursor that hands out one member at a time, so a typed decoder keeps only what it wants.
//! Beyond JSON it takes unquoted keys (`{0:"a"}`), whole objects as keys (`{{"topic":"T"}:5}`), single quotes,
//! quoted numbers and a trailing comma. It nests at most [`MAX_DEPTH`] deep, so foreign input cannot exhaust the stack
//! (SEC-8), and never panics (SEC-16).
//!
//! Elsewhere: headers of frames have their own scanner ([`super::frame`]); what the members mean is in
//! [`super::body`]. Start at [`Reader::object`] and [`Object`].

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::WireError;
use super::header::parse_i64;

/// How deep values may nest.
pub const MAX_DEPTH: usize = 32;

/// A cursor in JSON text.
#[derive(Debug)]
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

type Read<T> = Result<T, WireError>;

impl<'a> Reader<'a> {
    /// A cursor at the text's beginning.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    fn malformed<T>(&self) -> Read<T> {
        Err(WireError::Malformed { what: "JSON text", at: self.at })
    }

    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.get(self.at)?;
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

    fn expect(&mut self, byte: u8) -> Read<()> {
        if self.eat(byte) { Ok(()) } else { self.malformed() }
    }

    fn deeper(&mut self) -> Read<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(WireError::TooLong { what: "nesting of JSON text", max: MAX_DEPTH });
        }
        Ok(())
    }

    /// Reads an object: `member` gets each key and must read, or [`skip`](Self::skip), the value. Null counts
    /// as an object without members. A key that is an object or a list comes as its text.
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Read<()>) -> Read<()> {
        self.members(&mut member)
    }

    /// One copy for all objects: there are dozens, and a browser downloads each.
    fn members(&mut self, member: &mut dyn FnMut(&mut Self, Cow<'a, str>) -> Read<()>) -> Read<()> {
        if self.null() {
            return Ok(());
        }
        self.expect(b'{')?;
        self.deeper()?;
        while !self.eat(b'}') {
            let key = match self.peek() {
                Some(b'{' | b'[') => Cow::Borrowed(self.raw_text()?),
                Some(b'"' | b'\'') => self.quoted()?,
                _ => Cow::Borrowed(self.word()?),
            };
            self.expect(b':')?;
            member(self, key)?;
            if !self.eat(b',') && self.peek() != Some(b'}') {
                return self.malformed();
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a list: `element` must read, or skip, one value at each call. Null counts as an empty list.
    pub fn list(&mut self, mut element: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.elements(&mut element)
    }

    fn elements(&mut self, element: &mut dyn FnMut(&mut Self) -> Read<()>) -> Read<()> {
        if self.null() {
            return Ok(());
        }
        self.expect(b'[')?;
        self.deeper()?;
        while !self.eat(b']') {
            element(self)?;
            if !self.eat(b',') && self.peek() != Some(b']') {
                return self.malformed();
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// The next value is a list.
    pub fn at_list(&mut self) -> bool {
        self.peek() == Some(b'[')
    }

    /// The next value is an object.
    pub fn at_object(&mut self) -> bool {
        self.peek() == Some(b'{')
    }

    /// Takes a null, if that is what comes next.
    pub fn null(&mut self) -> bool {
        let null = self.peek() == Some(b'n') && self.text.get(self.at..self.at + 4) == Some(b"null");
        self.at += if null { 4 } else { 0 };
        null
    }

    /// A text: a string's content, the digits of a number, a word; empty for null.
    pub fn text(&mut self) -> Read<Cow<'a, str>> {
        match self.peek() {
            Some(b'"' | b'\'') => self.quoted(),
            _ if self.null() => Ok(Cow::Borrowed("")),
            _ => Ok(Cow::Borrowed(self.word()?)),
        }
    }

    /// A text of one's own.
    pub fn string(&mut self) -> Read<String> {
        Ok(self.text()?.into_owned())
    }

    /// A whole number, quoted or not; 0 for null or an empty text. A fraction is cut off.
    pub fn i64(&mut self) -> Read<i64> {
        let at = self.at;
        let text = self.text()?;
        let whole = text.split_once('.').map_or(&*text, |(whole, _)| whole);
        match parse_i64(whole.as_bytes()) {
            Some(n) => Ok(n),
            None if text.is_empty() => Ok(0),
            None => Err(WireError::Malformed { what: "number in JSON text", at }),
        }
    }

    /// Like [`i64`](Self::i64), for 32 bits.
    pub fn i32(&mut self) -> Read<i32> {
        let at = self.at;
        i32::try_from(self.i64()?).map_err(|_| WireError::Malformed { what: "number of 32 bits in JSON text", at })
    }

    /// A number with a fraction, right to about 15 digits; 0 for what is none. Only rates for people come so, and the
    /// standard library's exact conversion brings tables larger than the rest of this module.
    pub fn f64(&mut self) -> Read<f64> {
        Ok(decimal(&self.text()?).unwrap_or(0.0))
    }

    /// `true`, quoted or not; everything else is false.
    pub fn bool(&mut self) -> Read<bool> {
        Ok(self.text()?.eq_ignore_ascii_case("true"))
    }

    /// Passes over a value.
    pub fn skip(&mut self) -> Read<()> {
        match self.peek() {
            Some(b'{') => self.object(|r, _| r.skip()),
            Some(b'[') => self.list(Self::skip),
            _ => self.text().map(drop),
        }
    }

    /// Passes over a value and gives its text as it stands.
    pub fn raw(&mut self) -> Read<&'a str> {
        self.peek();
        self.raw_text()
    }

    fn raw_text(&mut self) -> Read<&'a str> {
        let from = self.at;
        self.skip()?;
        self.utf8(from, self.at)
    }

    fn utf8(&self, from: usize, to: usize) -> Read<&'a str> {
        let bytes = self.text.get(from..to).unwrap_or_default();
        core::str::from_utf8(bytes).map_err(|_| WireError::Malformed { what: "UTF-8 in JSON text", at: from })
    }

    /// An unquoted key, a number, `true`, `false`.
    fn word(&mut self) -> Read<&'a str> {
        self.peek();
        let from = self.at;
        while self.text.get(self.at).is_some_and(|b| b.is_ascii_alphanumeric() || b"-+._$@".contains(b)) {
            self.at += 1;
        }
        if self.at == from {
            return self.malformed();
        }
        self.utf8(from, self.at)
    }

    fn quoted(&mut self) -> Read<Cow<'a, str>> {
        let Some(quote) = self.peek() else { return self.malformed() };
        self.at += 1;
        let mut from = self.at;
        let mut owned: Option<String> = None;
        loop {
            match self.text.get(self.at) {
                None => return self.malformed(),
                Some(byte) if *byte == quote => {
                    let rest = self.utf8(from, self.at)?;
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(rest),
                        Some(mut text) => {
                            text.push_str(rest);
                            Cow::Owned(text)
                        }
                    });
                }
                Some(b'\\') => {
                    let before = self.utf8(from, self.at)?;
                    let char = self.escape()?;
                    let text = owned.get_or_insert_default();
                    text.push_str(before);
                    text.push(char);
                    from = self.at;
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let byte = self.text.get(self.at + 1).copied();
        self.at += 2;
        Ok(match byte {
            Some(b'u') => {
                let first = self.hex(4)?;
                if (0xD800..0xDC00).contains(&first) && self.text.get(self.at..self.at + 2) == Some(b"\\u") {
                    let back = self.at;
                    self.at += 2;
                    let second = self.hex(4)?;
                    if (0xDC00..0xE000).contains(&second) {
                        let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                        return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    self.at = back;
                }
                char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            Some(b'x') => char::from_u32(self.hex(2)?).unwrap_or(char::REPLACEMENT_CHARACTER),
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'v') => '\u{b}',
            Some(digit @ b'0'..=b'7') => char::from(digit - b'0'),
            Some(byte @ (b'"' | b'\\' | b'/' | b'\'')) => char::from(byte),
            _ => return self.malformed(),
        })
    }

    fn hex(&mut self, count: usize) -> Read<u32> {
        let mut value = 0;
        for _ in 0..count {
            let digit = self.text.get(self.at).and_then(|b| char::from(*b).to_digit(16));
            let Some(digit) = digit else { return self.malformed() };
            value = value << 4 | digit;
            self.at += 1;
        }
        Ok(value)
    }
}

/// Writes a string with its quotes. Control characters, quotes and backslashes are escaped, nothing else.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// Writes a string's content, escaped.
pub(crate) fn escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let special = |b: u8| u8::from(b < 0x20) | u8::from(b == b'"') | u8::from(b == b'\\') | u8::from(b == 0x7F);
    // Without an early end this runs over many bytes at once, and most texts are plain.
    if bytes.iter().fold(0, |any, b| any | special(*b)) == 0 {
        return out.extend_from_slice(bytes);
    }
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 | 0x7F => 0,
            _ => continue,
        };
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        from = at + 1;
        if short == 0 {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
}

/// Writes a number in decimal.
pub fn int(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

fn decimal(text: &str) -> Option<f64> {
    let (text, sign) = text.strip_prefix('-').map_or((text, 1.0), |rest| (rest, -1.0));
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut value = 0.0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        value = value * 10.0 + f64::from(char::from(digit).to_digit(10)?);
    }
    let exponent = i64::from(exponent.parse::<i32>().ok()?) - fraction.len() as i64;
    for _ in 0..exponent.unsigned_abs().min(400) {
        value = if exponent < 0 { value / 10.0 } else { value * 10.0 };
    }
    (!digits.is_empty()).then_some(sign * value).filter(|value| value.is_finite())
}

/// Writes a number with at least one digit after the point; what is not finite becomes 0.0.
pub fn float(out: &mut Vec<u8>, value: f64) {
    let value = if value.is_finite() { value } else { 0.0 };
    out.extend_from_slice(alloc::format!("{value:?}").as_bytes());
}

/// An object being written: opened by [`object`], closed when it returns.
#[derive(Debug)]
pub struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

/// Writes an object; `members` adds them in order.
pub fn object(out: &mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    members(&mut Object { out, first: true });
    out.push(b'}');
}

/// Writes a list of `items`, each by `item`.
pub fn list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut item: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (i, one) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        item(out, one);
    }
    out.push(b']');
}

impl Object<'_> {
    fn comma(&mut self) -> &mut Vec<u8> {
        if !core::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out
    }

    /// A key that `key` writes as it stands (unquoted, or a whole object), and a value.
    pub fn bare(&mut self, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        let out = self.comma();
        key(out);
        out.push(b':');
        value(out);
    }

    /// A key and a value.
    pub fn with(&mut self, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
        self.bare(|out| string(out, key), value);
    }

    /// A text.
    pub fn str(&mut self, key: &str, value: &str) {
        self.with(key, |out| string(out, value));
    }

    /// A whole number.
    pub fn int(&mut self, key: &str, value: impl Into<i64>) {
        self.with(key, |out| int(out, value.into()));
    }

    /// A number with a fraction.
    pub fn float(&mut self, key: &str, value: f64) {
        self.with(key, |out| float(out, value));
    }

    /// `true` or `false`.
    pub fn bool(&mut self, key: &str, value: bool) {
        self.with(key, |out| out.extend_from_slice(if value { b"true" } else { b"false" }));
    }

    /// An object.
    pub fn object(&mut self, key: &str, members: impl FnOnce(&mut Object<'_>)) {
        self.with(key, |out| object(out, members));
    }

    /// A list.
    pub fn list<T>(&mut self, key: &str, items: impl IntoIterator<Item = T>, item: impl FnMut(&mut Vec<u8>, T)) {
        self.with(key, |out| list(out, items, item));
    }

    /// A list of texts.
    pub fn texts<T: AsRef<str>>(&mut self, key: &str, items: impl IntoIterator<Item = T>) {
        self.list(key, items, |out, item| string(out, item.as_ref()));
    }
}

/// Compact JSON laid out as the Java broker writes its tables: a line for each member, indented by tabs.
pub fn pretty(compact: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(compact.len() * 2);
    let mut depth = 0usize;
    let mut quoted = false;
    let mut bytes = compact.iter().copied().peekable();
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.resize(out.len() + depth, b'\t');
    };
    while let Some(byte) = bytes.next() {
        if quoted {
            out.push(byte);
            match byte {
                b'\\' => out.extend(bytes.next()),
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                if let Some(close @ (b'}' | b']')) = bytes.peek().copied() {
                    out.push(close);
                    bytes.next();
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            _ => {
                quoted = byte == b'"';
                out.push(byte);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_fraction_is_read_as_it_was_written() {
        let read = |text: &str| Reader::new(text.as_bytes()).f64();
        for value in [0.0, 1.0, -2.5, 0.1, 1234.5678, 1e21, 3.25e-7, 98765.4321] {
            let text = alloc::format!("{value:?}");
            let near = read(&text).unwrap();
            assert!((near - value).abs() <= value.abs() * 1e-14, "{text} became {near}");
        }
        assert_eq!(read("\"2.5\""), Ok(2.5), "quoted");
        for none in ["\"\"", "NaN", "\"1.2.3\"", "\"e5\"", "\"1e\"", "1e999", "\"1e99999999999\""] {
            assert_eq!(read(none), Ok(0.0), "{none}");
        }
    }
}
