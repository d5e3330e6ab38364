//! Skylark's core: every rule of the system, and no I/O.
//!
//! Nothing here opens a socket or a file, starts a thread, reads a clock, runs an executor, writes a log
//! or draws randomness from outside. Facts from the world come in through `handle_*` methods; what the
//! world should do comes out of `poll_output`; `poll_timeout` says when a machine wants to be called again.
//! The native server, the browser and the simulator drive the same machines.
//!
//! Arrows between the modules point one way:
//! `wire` < `record` < `store` < `session` < `broker`, `namesrv`, `client`, and the last three do not know
//! each other. Start at [`broker::Broker`] and follow a send; [`session::Session`] is what turns bytes into calls.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod broker;
pub mod client;
pub mod ids;
pub mod namesrv;
pub mod output;
pub mod record;
pub mod session;
pub mod sorted;
pub mod store;
pub mod time;
pub mod wire;
