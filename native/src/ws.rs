//! WebSocket framing of a remoting byte stream, without I/O.
//!
//! A message is a piece of the stream, so nothing waits for the end of a message, or even of a WebSocket frame: payload
//! is unmasked where the read put it and moved together. Memory therefore never depends on announced
//! lengths (SEC-8). Headers are read and written by `tungstenite`.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The longest header of a frame from a client.
const HEADER: usize = 14;
/// The longest payload of a control frame.
const CONTROL: usize = 125;

/// Why a WebSocket connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The peer closes, or has closed.
    Normal,
    /// The peer broke the protocol: 1002.
    Protocol,
    /// The peer sent text; only binary messages carry remoting: 1003.
    Text,
}

impl Closing {
    fn code(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Protocol => 1002,
            Self::Text => 1003,
        }
    }
}

/// The reading side of one connection, and the control frames to be sent.
#[derive(Debug, Default)]
pub(crate) struct WebSocket {
    /// Bytes of a header that has not come whole.
    head: Vec<u8>,
    mask: [u8; 4],
    /// Payload bytes unmasked so far in the current frame.
    at: usize,
    /// Payload bytes still to come in the current frame.
    left: u64,
    /// The current frame is a control frame of this kind.
    control: Option<Control>,
    payload: Vec<u8>,
    /// A data message has begun and not ended.
    within: bool,
    /// Control frames to be sent.
    answers: Vec<u8>,
}

impl WebSocket {
    /// Takes what was read into `buf` and moves the stream's bytes to its front; gives their number.
    pub(crate) fn decode(&mut self, buf: &mut [u8]) -> Result<usize, Closing> {
        let (mut from, mut to) = (0, 0);
        while from < buf.len() {
            if self.left == 0 {
                from += self.header(&buf[from..])?;
                if self.left == 0 && self.head.is_empty() {
                    self.control_done()?;
                }
                continue;
            }
            let take = (buf.len() - from).min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let piece = &mut buf[from..from + take];
            unmask(piece, self.mask, self.at);
            self.at = (self.at + take) % 4;
            self.left -= take as u64;
            if self.control.is_some() {
                self.payload.extend_from_slice(piece);
                if self.left == 0 {
                    self.control_done()?;
                }
            } else {
                buf.copy_within(from..from + take, to);
                to += take;
            }
            from += take;
        }
        Ok(to)
    }

    /// Takes header bytes from `bytes` until a header is whole; gives how many were taken.
    fn header(&mut self, bytes: &[u8]) -> Result<usize, Closing> {
        let before = self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(HEADER - before)]);
        let mut cursor = Cursor::new(self.head.as_slice());
        let Some((header, len)) = FrameHeader::parse(&mut cursor).map_err(|_| Closing::Protocol)? else {
            return Ok(self.head.len() - before);
        };
        let taken = cursor.position() as usize - before;
        self.head.clear();
        let sane = !header.rsv1 && !header.rsv2 && !header.rsv3 && len >> 63 == 0;
        let (Some(mask), true) = (header.mask, sane) else { return Err(Closing::Protocol) };
        self.control = match header.opcode {
            OpCode::Control(kind) if header.is_final && len <= CONTROL as u64 => Some(kind),
            OpCode::Data(kind) if self.within != (kind == Data::Continue) => return Err(Closing::Protocol),
            OpCode::Data(Data::Text) => return Err(Closing::Text),
            OpCode::Data(_) => {
                self.within = !header.is_final;
                None
            }
            OpCode::Control(_) => return Err(Closing::Protocol),
        };
        (self.mask, self.at, self.left) = (mask, 0, len);
        Ok(taken)
    }

    fn control_done(&mut self) -> Result<(), Closing> {
        let payload = std::mem::take(&mut self.payload);
        match self.control.take() {
            // A flood of pings earns no flood of pongs: what is not sent yet is enough of a sign of life.
            Some(Control::Ping) if self.answers.len() < 4 * CONTROL => {
                header_into(OpCode::Control(Control::Pong), payload.len(), &mut self.answers);
                self.answers.extend_from_slice(&payload);
                Ok(())
            }
            Some(Control::Close) => Err(Closing::Normal),
            _ => Ok(()),
        }
    }

    /// Control frames to be sent now, between messages.
    pub(crate) fn take_answers(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.answers)
    }
}

fn unmask(bytes: &mut [u8], mut mask: [u8; 4], at: usize) {
    mask.rotate_left(at);
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

fn header_into(opcode: OpCode, len: usize, out: &mut Vec<u8>) {
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    // Writing to memory cannot fail.
    let _ = header.format(len as u64, out);
}

/// The header of a binary message of `len` bytes, for the front of those bytes.
pub(crate) fn message_header(len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    header_into(OpCode::Data(Data::Binary), len, &mut out);
    out
}

/// The frame that ends the connection.
pub(crate) fn close_frame(why: Closing) -> Vec<u8> {
    let mut out = Vec::with_capacity(4);
    header_into(OpCode::Control(Control::Close), 2, &mut out);
    out.extend_from_slice(&why.code().to_be_bytes());
    out
}

/// The `Sec-WebSocket-Accept` value for a client's key.
pub(crate) fn accept_key(key: &[u8]) -> String {
    tungstenite::handshake::derive_accept_key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 1, 200, 33];
        let mut out = vec![first];
        match payload.len() {
            n @ 0..126 => out.push(0x80 | n as u8),
            n => {
                out.push(0xFE);
                out.extend_from_slice(&(n as u16).to_be_bytes());
            }
        }
        out.extend_from_slice(&mask);
        out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
        out
    }

    /// All the stream's bytes, when the wire's bytes come in pieces of `step`.
    fn decoded(wire: &[u8], step: usize) -> (Vec<u8>, Vec<u8>, Option<Closing>) {
        let (mut socket, mut out) = (WebSocket::default(), Vec::new());
        for piece in wire.chunks(step) {
            let mut piece = piece.to_vec();
            match socket.decode(&mut piece) {
                Ok(n) => out.extend_from_slice(&piece[..n]),
                Err(closing) => return (out, socket.take_answers(), Some(closing)),
            }
        }
        (out, socket.take_answers(), None)
    }

    #[test]
    fn pieces_of_any_size_give_the_same_stream() {
        let (one, two): (Vec<u8>, Vec<u8>) = ((0..=255).cycle().take(5000).collect(), b"end".to_vec());
        let mut wire = masked(0x02, &one);
        wire.extend(masked(0x89, b"hi")); // a ping inside a fragmented message
        wire.extend(masked(0x80, &two));
        wire.extend(masked(0x82, b""));
        wire.extend(masked(0x82, b"!"));
        let mut expected = one;
        expected.extend(two);
        expected.push(b'!');
        for step in [1, 2, 3, 7, 13, 64, 4096, 1 << 20] {
            let (stream, pong, closing) = decoded(&wire, step);
            assert_eq!(stream, expected, "step {step}");
            assert_eq!(pong, [0x8A, 2, b'h', b'i'], "step {step}");
            assert_eq!(closing, None);
        }
    }

    #[test]
    fn what_breaks_the_protocol_closes() {
        let unmasked = [0x82, 1, 65];
        let announced = [0x82, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]; // more than 2^63 bytes (SEC-8)
        for (wire, why) in [
            (unmasked.to_vec(), Closing::Protocol),
            (announced.to_vec(), Closing::Protocol),
            (masked(0xC2, b"x"), Closing::Protocol),
            (masked(0x80, b"x"), Closing::Protocol),
            (masked(0x09, b"x"), Closing::Protocol),
            (masked(0x81, b"x"), Closing::Text),
            (masked(0x88, &[3, 232]), Closing::Normal),
        ] {
            assert_eq!(decoded(&wire, 1).2, Some(why), "{wire:?}");
            assert_eq!(decoded(&wire, 99).2, Some(why), "{wire:?}");
        }
    }

    #[test]
    fn many_pings_earn_few_pongs_sec_10() {
        let wire: Vec<u8> = (0..1000).flat_map(|_| masked(0x89, &[0; 100])).collect();
        assert!(decoded(&wire, 4096).1.len() < 1000);
    }
}
