//! How much a connection may take before, and after, it has shown one whole valid frame (SEC-7, SEC-10).
//!
//! A connection starts as a *stranger*: all strangers of a listener share one small memory budget, each address may
//! have only so many of them, and a frame must finish in time. What cannot be granted closes that connection,
//! never another. After its first valid frame a connection is *known* and draws on the listener's large budget.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Bytes that a connection's buffers may take without asking a budget.
pub const FREE: usize = 8 << 10;
/// Buffers of all strangers together: two of the largest frames.
const STRANGERS: usize = 32 << 20;
/// Buffers of all known connections of a listener together.
const KNOWN: usize = 256 << 20;
/// Strangers from one address.
const PER_ADDRESS: usize = 1024;
/// Connections of a listener.
const CONNECTIONS: usize = 16_384;
/// A stranger's frame must finish within this, plus a second for each [`SLOWEST`] bytes.
const FRAME_TIME: Duration = Duration::from_secs(10);
/// Bytes a second.
const SLOWEST: usize = 64 << 10;

/// How long a stranger may take for a frame of `len` bytes.
pub fn frame_time(len: usize) -> Duration {
    FRAME_TIME + Duration::from_secs((len / SLOWEST) as u64)
}

#[derive(Debug, Default)]
struct Pool {
    used: AtomicUsize,
}

impl Pool {
    fn take(&self, bytes: usize, max: usize) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used + bytes <= max).then_some(used + bytes))
            .is_ok()
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The budgets of one listener.
#[derive(Debug, Default)]
pub struct Budgets {
    strangers: Pool,
    known: Pool,
    connections: Pool,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

impl Budgets {
    /// Lets a new connection in as a stranger; `None` when its address, or the listener, has too many.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Account> {
        if !self.connections.take(1, CONNECTIONS) {
            return None;
        }
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_default();
        if *count >= PER_ADDRESS {
            self.connections.give(1);
            return None;
        }
        *count += 1;
        Some(Account { budgets: Arc::clone(self), stranger: Some(address), taken: 0 })
    }

    /// A connection that this process dialled: known from the start.
    pub fn dialled(self: &Arc<Self>) -> Account {
        self.connections.used.fetch_add(1, Ordering::Relaxed);
        Account { budgets: Arc::clone(self), stranger: None, taken: 0 }
    }
}

/// What one connection has taken; given back when dropped.
#[derive(Debug)]
pub struct Account {
    budgets: Arc<Budgets>,
    stranger: Option<IpAddr>,
    taken: usize,
}

impl Account {
    /// Whether no valid frame has come yet.
    pub fn is_stranger(&self) -> bool {
        self.stranger.is_some()
    }

    /// Sets how many bytes the connection's buffers take; `false` when the budget does not allow it.
    #[must_use]
    pub fn hold(&mut self, bytes: usize) -> bool {
        let bytes = bytes.saturating_sub(FREE);
        if bytes == self.taken {
            return true;
        }
        let (pool, max) = self.pool();
        if bytes > self.taken {
            if !pool.take(bytes - self.taken, max) {
                return false;
            }
        } else {
            pool.give(self.taken - bytes);
        }
        self.taken = bytes;
        true
    }

    /// A valid frame has come.
    pub fn become_known(&mut self) {
        let Some(address) = self.stranger else { return };
        self.budgets.leave(address);
        // Not refused when the large budget is full: the bytes are there already, and the next growth asks.
        self.budgets.known.used.fetch_add(self.taken, Ordering::Relaxed);
        self.budgets.strangers.give(self.taken);
        self.stranger = None;
    }

    fn pool(&self) -> (&Pool, usize) {
        if self.is_stranger() { (&self.budgets.strangers, STRANGERS) } else { (&self.budgets.known, KNOWN) }
    }
}

impl Budgets {
    fn leave(&self, address: IpAddr) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.pool().0.give(self.taken);
        if let Some(address) = self.stranger {
            self.budgets.leave(address);
        }
        self.budgets.connections.give(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

    #[test]
    fn strangers_share_a_budget_and_known_ones_have_another_sec_7() {
        let budgets = Arc::new(Budgets::default());
        let (mut one, mut two) = (budgets.enter(A).expect("room"), budgets.enter(A).expect("room"));
        assert!(one.hold(STRANGERS + FREE));
        assert!(!two.hold(FREE + 1));
        one.become_known();
        assert!(two.hold(STRANGERS + FREE));
        drop((one, two));
        assert_eq!(budgets.strangers.used.load(Ordering::Relaxed), 0);
        assert_eq!(budgets.known.used.load(Ordering::Relaxed), 0);
        assert!(budgets.addresses.lock().expect("lock").is_empty());
    }

    #[test]
    fn an_address_has_a_cap_that_does_not_harm_another_sec_7() {
        let budgets = Arc::new(Budgets::default());
        let mut all: Vec<_> = (0..PER_ADDRESS).map(|_| budgets.enter(A).expect("room")).collect();
        assert!(budgets.enter(A).is_none());
        assert!(budgets.enter(B).is_some());
        all[0].become_known();
        assert!(budgets.enter(A).is_some());
    }
}
