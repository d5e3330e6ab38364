//! A listening socket: accepts, finds out by the first byte what the peer speaks, and serves it.
//!
//! A remoting frame starts with the top byte of its length, which is 0 for every length that is allowed; a TLS hello with
//! 0x16; HTTP with a letter. HTTP bytes are never read as remoting (SEC-11).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use skylark_core::ids::Caller;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use crate::budget::{Account, frame_time};
use crate::conn::{Connection, IDLE};
use crate::engine::Engine;
use crate::http::{Answer, HEAD, Head, Site};
use crate::machine::Machine;
use crate::ws::WebSocket;

/// What a stranger says first is read into this.
const FIRST: usize = 4 << 10;

/// A bound socket, not served yet.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why a port cannot be listened on: one sentence with what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct PortError(pub String);

impl std::fmt::Display for PortError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PortError {}

impl Port {
    /// Binds. `option` is the command-line option that gave the address; errors name it.
    pub async fn bind(address: SocketAddr, option: &str) -> Result<Self, PortError> {
        let failed = |error: io::Error| {
            PortError(match error.kind() {
                io::ErrorKind::AddrInUse => format!(
                    "{address} is in use by another program; stop that one, or choose another port with {option} (port 0 takes a free one)"
                ),
                io::ErrorKind::PermissionDenied => {
                    format!("{address} may not be opened by this user; choose a port above 1023 with {option}")
                }
                io::ErrorKind::AddrNotAvailable => {
                    format!(
                        "{} is not an address of this machine; choose one of its addresses with {option}",
                        address.ip()
                    )
                }
                _ => format!("cannot listen on {address}: {error}; choose another address with {option}"),
            })
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the task is dropped.
    pub async fn serve<M: Machine>(self, engine: Arc<Engine<M>>, site: Arc<Site>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(account) = engine.budgets().enter(peer.ip()) {
                        tokio::spawn(welcome(Arc::clone(&engine), Arc::clone(&site), stream, peer, account));
                    } else {
                        debug!(%peer, "refused: too many connections (SEC-7)");
                    }
                }
                Err(error) => {
                    // Out of file descriptors: those in use go on; accepting is tried again.
                    warn!(%error, "cannot accept a connection; raise the limit of open files (ulimit -n)");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Serves one connection that was accepted.
async fn welcome<M: Machine>(
    engine: Arc<Engine<M>>,
    site: Arc<Site>,
    mut stream: TcpStream,
    peer: SocketAddr,
    account: Account,
) {
    let Ok(local) = stream.local_addr() else { return };
    let _ = stream.set_nodelay(true);
    // Nothing is allocated for a peer that says nothing; what comes later is boxed, so that this task stays small.
    if !matches!(tokio::time::timeout(IDLE, stream.readable()).await, Ok(Ok(()))) {
        return;
    }
    let mut bytes = vec![0; FIRST];
    let n = stream.read(&mut bytes).await.unwrap_or(0);
    bytes.truncate(n);
    let web = match bytes.first() {
        Some(0) => None,
        Some(b'A'..=b'Z') => {
            let time = frame_time(0) * 6;
            match tokio::time::timeout(time, Box::pin(converse(&mut stream, &site, local, bytes))).await {
                Ok(Ok(Some(rest))) => {
                    bytes = rest;
                    Some(WebSocket::default())
                }
                _ => return,
            }
        }
        Some(0x16) => {
            debug!(%peer, "closed: TLS is not served on this port");
            return;
        }
        Some(first) => {
            debug!(%peer, first, "closed: neither remoting nor HTTP");
            return;
        }
        None => return,
    };
    let (conn, mailbox) = (engine.new_conn(), Arc::default());
    engine.connected(conn, Caller::new(peer, local), &mailbox);
    let connection = Connection::new(engine, stream, conn, mailbox, account).with_bytes(bytes, web);
    Box::pin(connection.run()).await;
}

/// Answers HTTP requests; ends with the bytes that followed an upgrade to WebSocket.
async fn converse(
    stream: &mut TcpStream,
    site: &Site,
    local: SocketAddr,
    mut bytes: Vec<u8>,
) -> io::Result<Option<Vec<u8>>> {
    loop {
        let answer = match Head::parse(&bytes) {
            Ok(Some((head, len))) => {
                bytes.drain(..len);
                site.answer(&head, local)
            }
            Ok(None) => {
                let before = bytes.len();
                bytes.resize(HEAD.min(before + FIRST), 0);
                let more = tokio::time::timeout(frame_time(0), stream.read(&mut bytes[before..])).await;
                let n = more.map_err(|_| io::ErrorKind::TimedOut)??;
                bytes.truncate(before + n);
                if n == 0 {
                    return Ok(None);
                }
                continue;
            }
            Err(answer) => answer,
        };
        send(stream, &answer).await?;
        if answer.status == 101 {
            return Ok(Some(bytes));
        }
        if !answer.keep {
            stream.shutdown().await?;
            return Ok(None);
        }
    }
}

async fn send(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let (head, file) = answer.encode();
    stream.write_all(&head).await?;
    stream.write_all(file).await
}
