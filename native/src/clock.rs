//! The two clocks that the core takes as arguments, read together once for each batch of inputs.

use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};

use skylark_core::time::{Instant, Now, Unix};

/// The core counts microseconds from when this was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(StdInstant);

impl Default for Clock {
    fn default() -> Self {
        Self(StdInstant::now())
    }
}

impl Clock {
    /// Both clocks.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: Instant(self.0.elapsed().as_micros() as u64), wall: Unix(wall.as_millis() as i64) }
    }

    /// A core deadline as a time that the runtime can sleep until; one further away than a day comes sooner.
    pub fn when(&self, at: Instant) -> tokio::time::Instant {
        let ahead = Duration::from_micros(at.0).saturating_sub(self.0.elapsed());
        tokio::time::Instant::now() + ahead.min(Duration::from_hours(24))
    }
}
