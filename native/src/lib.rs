//! Skylark, native: the program and the Rust client.
