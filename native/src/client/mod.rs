//! The Rust client: producers, consumers and admin calls as futures, over core's [`Client`](skylark_core::client).
//!
//! ```no_run
//! use skylark::client::{Client, From, OutgoingMessage};
//!
//! # async fn example() -> Result<(), skylark::client::ClientError> {
//! let client = Client::connect("127.0.0.1:9876").await?;
//!
//! let producer = client.producer("orders-in")?;
//! let sent = producer.send(OutgoingMessage::new("orders", "one apple").tag("fruit").key("order-1")).await?;
//! println!("{} stands in {} at offset {:?}", sent.message_id, sent.queue, sent.offset);
//!
//! let mut consumer = client.consumer("billing", "orders").tags("fruit || bread").from(From::First).start()?;
//! while let Some(message) = consumer.next().await {
//!     println!("{}", message.text().unwrap_or("not text"));
//!     // The next call of next() acks this message; message.nack() has it delivered again later.
//! }
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Every rule is in core; here are futures, sockets and one timer. A future that is dropped gives up what it waited
//! for, and nothing else. Handles are cheap to clone; when the last one is dropped the client closes in the
//! background, but only [`Client::close`] tells when everything is committed.
//!
//! Start at [`Client::connect`]; [`driver`] moves bytes and wakes futures.

mod admin;
mod consumer;
mod driver;
mod producer;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

pub use admin::Admin;
pub use consumer::{Consumer, ConsumerBuilder, ConsumerEvent, Delivery};
pub use producer::Producer;
pub use skylark_core::client::{
    BodyError, BodyTrouble, ClientConfig, ClientError, ErrorKind, From, Message, MessageQueue, OutgoingMessage,
    QueueProgress, QueueRange, SendOptions, SendResult, SendStatus, SubscribeOptions,
};

use driver::Handle;
pub(crate) use driver::seed;

/// A client of one cluster. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Client {
    handle: Arc<Handle>,
}

impl Client {
    /// Connects to a cluster by its NameServers: `host:port`, several separated by `;`.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for what is no address, [`ErrorKind::NoNameServer`] when none answers.
    pub async fn connect(namesrvs: &str) -> Result<Self, ClientError> {
        Self::connect_with(config(namesrvs)).await
    }

    /// Connects with settings of one's own; [`config`] gives the defaults to begin with.
    ///
    /// # Errors
    /// As [`Self::connect`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn connect_with(config: ClientConfig) -> Result<Self, ClientError> {
        let client = Self { handle: Arc::new(Handle::start(config)?) };
        client.admin().clusters().await?;
        Ok(client)
    }

    /// A producer of this group.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a group that cannot be, [`ErrorKind::Closed`] when the client is closed.
    pub fn producer(&self, group: &str) -> Result<Producer, ClientError> {
        Producer::new(self.handle.clone(), group)
    }

    /// A consumer of a topic in this group, to be started.
    pub fn consumer(&self, group: &str, topic: &str) -> ConsumerBuilder {
        ConsumerBuilder::new(self.handle.clone(), group, topic)
    }

    /// Questions about the cluster, and the creation of topics.
    pub fn admin(&self) -> Admin {
        Admin::new(self.handle.clone())
    }

    /// Closes: lets sends end, commits, leaves groups. Ends within five seconds, whoever answers.
    pub async fn close(&self) {
        self.handle.close().await;
    }
}

/// The default settings for these NameServers, with a client id that no other process has.
pub fn config(namesrvs: &str) -> ClientConfig {
    let list: Vec<String> =
        namesrvs.split([';', ',']).map(str::trim).filter(|one| !one.is_empty()).map(ToOwned::to_owned).collect();
    let ip = list.first().and_then(|address| local_ip(address)).unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let pid = std::process::id();
    let mut config = ClientConfig::new(list, format!("{ip}@{pid}#{:x}", driver::seed()));
    config.ip = Some(ip);
    config.pid = pid as u16;
    config
}

/// The local address that packets to a peer leave from. Sends nothing.
fn local_ip(peer: &str) -> Option<IpAddr> {
    let peer: SocketAddr = peer.parse().ok()?;
    let any: SocketAddr = if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
