//! Headers in a frame whose lengths hold; the first byte chooses the serialization.
#![no_main]

#[path = "../../tests/decoders/mod.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((kind, header)) = data.split_first() {
        decoders::read_frames(decoders::framed(kind & 1, &header[..header.len().min(1 << 16)], b"body"));
    }
});
