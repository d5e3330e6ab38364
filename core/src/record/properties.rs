//! The property text of a message: `name 0x01 value 0x02`, repeated; the last 0x02 may be missing.
//!
//! Nothing is escaped. An item without a name or a value does not count, as in Java's reader. The text may
//! come in any order and may name a thing twice; the last one counts. Start at [`Known::of`].

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// Between items.
pub const SEPARATOR: char = '\u{2}';
/// Between name and value.
pub const ASSIGN: char = '\u{1}';

/// Index keys, split by blanks.
pub const KEYS: &str = "KEYS";
/// The tag.
pub const TAGS: &str = "TAGS";
/// `false`: the producer does not wait for flush and copies.
pub const WAIT: &str = "WAIT";
/// Delay level, 1 to 18.
pub const DELAY: &str = "DELAY";
/// The producer's id for the message.
pub const UNIQ_KEY: &str = "UNIQ_KEY";
/// `true`: a half message.
pub const TRAN_MSG: &str = "TRAN_MSG";
/// The producer group, for transaction checks.
pub const PGROUP: &str = "PGROUP";
/// The topic that a message in a retry topic came from.
pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
/// The region, put by the broker.
pub const MSG_REGION: &str = "MSG_REGION";
/// The trace switch, put by the broker.
pub const TRACE_ON: &str = "TRACE_ON";
/// The cluster, put by the broker.
pub const CLUSTER: &str = "CLUSTER";
/// The whole-record CRC, put by the broker and dropped from what producers send.
pub const CRC32: &str = "__CRC32#";
/// A pop receipt, dropped from what producers send.
pub const POP_CK: &str = "POP_CK";
/// Deliver at this time, ms.
pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
/// Deliver after so many seconds.
pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
/// Deliver after so many ms.
pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";

/// Items of a property text that count, in order.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (item, rest) = self.rest.split_once(SEPARATOR).unwrap_or((self.rest, ""));
            self.rest = rest;
            if let Some((name, value)) = item.split_once(ASSIGN)
                && !name.is_empty()
                && !value.is_empty()
            {
                return Some((name, value));
            }
        }
        None
    }
}

/// The items of a text.
pub fn iter(text: &str) -> Iter<'_> {
    Iter { rest: text }
}

/// The value of a property; the last one when there are several.
pub fn get<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    iter(text).filter(|(n, _)| *n == name).last().map(|(_, value)| value)
}

/// Appends one item.
pub fn write(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.push(ASSIGN as u8);
    out.extend_from_slice(value.as_bytes());
    out.push(SEPARATOR as u8);
}

/// A text of these items. An item with an empty name or value, or with 0x01 or 0x02 in its name or 0x02 in its
/// value, cannot be read back and is left out.
pub fn text<'a>(items: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in items {
        let writable = !name.is_empty() && !value.is_empty() && !name.contains([ASSIGN, SEPARATOR]);
        if writable && !value.contains(SEPARATOR) {
            out.push_str(name);
            out.push(ASSIGN);
            out.push_str(value);
            out.push(SEPARATOR);
        }
    }
    out
}

/// The text without the properties of these names; borrowed when it has none of them.
pub fn without<'a>(text: &'a str, names: &[&str]) -> Cow<'a, str> {
    if !iter(text).any(|(name, _)| names.contains(&name)) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(self::text(iter(text).filter(|(name, _)| !names.contains(name))))
}

/// The properties that a broker acts on, found in one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of its own")]
pub struct Known<'a> {
    /// `TAGS`.
    pub tags: Option<&'a str>,
    /// `KEYS`.
    pub keys: Option<&'a str>,
    /// `UNIQ_KEY`.
    pub unique_key: Option<&'a str>,
    /// `WAIT`; true when absent.
    pub wait: bool,
    /// `DELAY`; 0 when absent or no number.
    pub delay: i32,
    /// `TRAN_MSG` is `true`.
    pub half: bool,
    /// `PGROUP`.
    pub producer_group: Option<&'a str>,
    /// One of the timer properties is there.
    pub timer: bool,
    /// A property is there that a broker must drop: see [`RESERVED`].
    pub reserved: bool,
}

/// Properties that producers may not set; [`without`] drops them.
pub const RESERVED: [&str; 2] = [CRC32, POP_CK];

impl<'a> Known<'a> {
    /// Looks through a property text.
    pub fn of(text: &'a str) -> Self {
        let mut known = Self {
            tags: None,
            keys: None,
            unique_key: None,
            wait: true,
            delay: 0,
            half: false,
            producer_group: None,
            timer: false,
            reserved: false,
        };
        for (name, value) in iter(text) {
            match name {
                TAGS => known.tags = Some(value),
                KEYS => known.keys = Some(value),
                UNIQ_KEY => known.unique_key = Some(value),
                WAIT => known.wait = !value.eq_ignore_ascii_case("false"),
                DELAY => known.delay = value.parse().unwrap_or(0),
                TRAN_MSG => known.half = value.eq_ignore_ascii_case("true"),
                PGROUP => known.producer_group = Some(value),
                TIMER_DELIVER_MS | TIMER_DELAY_SEC | TIMER_DELAY_MS => known.timer = true,
                CRC32 | POP_CK => known.reserved = true,
                _ => {}
            }
        }
        known
    }
}
