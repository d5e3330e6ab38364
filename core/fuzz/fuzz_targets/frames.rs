//! Read buffers: frames, headers, requests and answers.
#![no_main]

#[path = "../../tests/decoders/mod.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    decoders::read_frames(data.to_vec());
});
