//! Skylark, native: what the program `skylark` is made of, and the Rust client.
//!
//! The drivers here know no rule of RocketMQ; those are in `skylark-core`. A connection goes [`listen`] →
//! `conn` → [`engine`]; `conn` frames a WebSocket by `ws` and `http` serves browsers on the same port.
//! The commands people type are in [`cli`].

pub mod budget;
pub mod cli;
pub mod client;
pub mod clock;
mod conn;
pub mod engine;
pub mod http;
pub mod listen;
pub mod machine;
pub mod mailbox;
mod outgoing;
pub mod store;
mod ws;
pub mod www;

#[cfg(test)]
mod tests;
