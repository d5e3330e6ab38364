//! Answers as the asker sees them: the code, and typed views of what the kind of question brings.
//!
//! Bodies are decoded by [`super::body`]. Start at [`Answer::of`].

use super::WireError;
use super::codes::Code;
use super::frame::Frame;
use super::header::{parse_i32, parse_i64};

/// A response, borrowed from the bytes that carried it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// What the peer decided.
    pub code: Code,
    /// Its sentence; empty when it gave none.
    pub remark: &'a str,
    /// The peer's `MQVersion` ordinal.
    pub version: i32,
    /// The body: JSON, or stored messages one behind the other.
    pub body: &'a [u8],
    frame: Frame<'a>,
}

/// What a producer learns about a message that was stored (codes 0, 10, 11, 12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendReceipt<'a> {
    /// Offset message id, or several joined by commas for a batch.
    pub msg_id: &'a str,
    /// The queue.
    pub queue_id: i32,
    /// Queue offset of the (first) message.
    pub queue_offset: i64,
    /// The message's unique key; empty when the broker did not say.
    pub transaction_id: &'a str,
}

/// What a consumer learns from a pull (codes 0, 19, 20, 21).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullReceipt<'a> {
    /// The offset to ask for next.
    pub next: i64,
    /// The queue's first offset.
    pub min: i64,
    /// The queue's next offset to be written.
    pub max: i64,
    /// The broker id to read from next.
    pub suggest: i64,
    /// The messages, as records; see [`crate::record::Record::check`].
    pub records: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The view of a response frame.
    pub fn of(frame: Frame<'a>) -> Self {
        Self { code: Code(frame.code()), remark: frame.remark(), version: frame.version(), body: frame.body(), frame }
    }

    /// The code is `SUCCESS`.
    pub fn is_success(&self) -> bool {
        self.code == Code::SUCCESS
    }

    /// A header field as text; `None` when it is absent or not UTF-8.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        core::str::from_utf8(self.frame.field(name)?).ok()
    }

    fn long(&self, name: &'static str) -> Result<i64, WireError> {
        let value = self.frame.field(name).unwrap_or_default();
        parse_i64(value).ok_or(WireError::Malformed { what: name, at: 0 })
    }

    /// The receipt of a send.
    pub fn sent(&self) -> Result<SendReceipt<'a>, WireError> {
        let queue_id = self.frame.field("queueId").and_then(parse_i32);
        Ok(SendReceipt {
            msg_id: self.field("msgId").unwrap_or_default(),
            queue_id: queue_id.ok_or(WireError::Malformed { what: "queueId", at: 0 })?,
            queue_offset: self.long("queueOffset")?,
            transaction_id: self.field("transactionId").unwrap_or_default(),
        })
    }

    /// The receipt of a pull.
    pub fn pulled(&self) -> Result<PullReceipt<'a>, WireError> {
        Ok(PullReceipt {
            next: self.long("nextBeginOffset")?,
            min: self.long("minOffset")?,
            max: self.long("maxOffset")?,
            suggest: self.long("suggestWhichBrokerId")?,
            records: self.body,
        })
    }

    /// The `offset` of codes 14, 29, 30 and 31.
    pub fn offset(&self) -> Result<i64, WireError> {
        self.long("offset")
    }

    /// The `timestamp` of code 32, ms.
    pub fn timestamp(&self) -> Result<i64, WireError> {
        self.long("timestamp")
    }
}
