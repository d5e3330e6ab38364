//! Sending, as futures.

use std::sync::Arc;

use skylark_core::client::{Client, ClientError, ErrorKind, OutgoingMessage, SendId, SendOptions, SendResult};
use skylark_core::time::Now;
use tokio::sync::oneshot;

use super::driver::{Handle, SendOutcome, Shared};

/// Sends messages for one group. Clones share it.
#[derive(Clone, Debug)]
pub struct Producer {
    handle: Arc<Handle>,
    group: Arc<str>,
}

/// A send under way: given up when it is dropped.
struct Sending<'s> {
    shared: &'s Arc<Shared>,
    id: SendId,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.shared.with(|state, now| {
            if state.sends.remove(&self.id).is_some() {
                state.machine.cancel(now, self.id);
            }
        });
    }
}

impl Producer {
    pub(super) fn new(handle: Arc<Handle>, group: &str) -> Result<Self, ClientError> {
        handle.shared.with(|state, now| state.machine.register_producer(now, group))?;
        Ok(Self { handle, group: Arc::from(group) })
    }

    /// Sends a message and waits until a broker has it. Waits for room while as many sends are under way as the
    /// client's settings allow. Retries by itself within the time that the settings give.
    ///
    /// Dropping the future gives the send up; the message may still be stored.
    ///
    /// # Errors
    /// See [`ErrorKind`]. After [`ErrorKind::Timeout`] and [`ErrorKind::Connect`] the message may be stored or not.
    pub async fn send(&self, message: OutgoingMessage) -> Result<SendResult, ClientError> {
        self.send_with(message, &SendOptions::default()).await
    }

    /// As [`Self::send`], with choices of one's own.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_with(&self, message: OutgoingMessage, options: &SendOptions) -> Result<SendResult, ClientError> {
        let results = self.run(|machine, now| machine.send(now, &self.group, message, options)).await?;
        results.into_iter().next().ok_or_else(lost)
    }

    /// Sends messages of one topic as one request: all are stored, in order, or none.
    ///
    /// # Errors
    /// As [`Self::send`]; also for messages that cannot be in one batch.
    pub async fn send_batch(&self, messages: &[OutgoingMessage]) -> Result<Vec<SendResult>, ClientError> {
        self.run(|machine, now| machine.send_batch(now, &self.group, messages, &SendOptions::default())).await
    }

    /// Sends a message without asking for an answer: over once it is on its connection. Loss goes unseen.
    ///
    /// # Errors
    /// When it cannot even leave.
    pub async fn send_oneway(&self, message: OutgoingMessage) -> Result<SendResult, ClientError> {
        self.send_with(message, &SendOptions { oneway: true, ..SendOptions::default() }).await
    }

    async fn run(&self, start: impl FnOnce(&mut Client, Now) -> Result<SendId, ClientError>) -> SendOutcome {
        // The semaphore is never closed.
        let _room = self.handle.room.acquire().await;
        let shared = &self.handle.shared;
        let (waiter, outcome) = oneshot::channel();
        let id = shared.with(|state, now| {
            let id = start(&mut state.machine, now)?;
            state.sends.insert(id, waiter);
            Ok::<_, ClientError>(id)
        })?;
        let _sending = Sending { shared, id };
        outcome.await.unwrap_or_else(|_| Err(lost()))
    }
}

fn lost() -> ClientError {
    ClientError { kind: ErrorKind::Closed, message: "the client ended before the send did".to_owned() }
}
