//! Skylark, native: the program and the Rust client.

pub mod store;
