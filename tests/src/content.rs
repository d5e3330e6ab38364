//! What message number `index` of a topic looks like, the same as `tests/java/.../Content.java`: change both together.

/// Tags in turn. "Aa" and "BB" have the same Java hash code, so only a comparison of the strings tells them apart.
pub const TAGS: [&str; 4] = ["TagA", "TagB", "Aa", "BB"];

/// The Java client compresses bodies from 4,096 bytes on.
const LONG_EVERY: usize = 500;
const LONG_BYTES: usize = 6000;

/// The tag of message `index`.
pub fn tag_of(index: usize) -> &'static str {
    TAGS[index % TAGS.len()]
}

/// The key of message `index`.
pub fn key_of(topic: &str, index: usize) -> String {
    format!("{topic}-{index}")
}

/// The body of message `index`, uncompressed.
pub fn body_of(topic: &str, index: usize) -> Vec<u8> {
    let filler = if index % LONG_EVERY == LONG_EVERY - 1 { LONG_BYTES } else { index * 7 % 200 };
    let mut body = format!("{topic}:{index}:").into_bytes();
    body.extend((0..filler).map(|i| b'a' + ((index + i) % 26) as u8));
    body
}
