//! Unique keys: the ids that producers give their messages before anyone stored them.
//!
//! Address (4 or 16 bytes), process (2), a hash (4), ms since the month began in UTC (4), a counter (2), as
//! upper-case hex. Two keys of one generator differ unless more than 65,536 are made in one millisecond; two
//! generators differ by address, process and hash, which the driver draws.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::time::{Now, Unix};
use crate::wire::id::hex;

/// Makes unique keys.
#[derive(Clone, Debug)]
pub struct UniqueKeys {
    prefix: Vec<u8>,
    counter: u16,
    /// Start of the month that keys count from, and of the next, ms since 1970.
    month: (i64, i64),
}

impl UniqueKeys {
    /// A generator for this address, process number and hash; `seed` is where its counter begins.
    pub fn new(address: IpAddr, pid: u16, hash: u32, seed: u16) -> Self {
        let mut prefix = Vec::with_capacity(44);
        match address {
            IpAddr::V4(ip) => hex(&mut prefix, &ip.octets()),
            IpAddr::V6(ip) => hex(&mut prefix, &ip.octets()),
        }
        hex(&mut prefix, &pid.to_be_bytes());
        hex(&mut prefix, &hash.to_be_bytes());
        Self { prefix, counter: seed, month: (0, 0) }
    }

    /// The next key: 32 characters, or 56 with an IPv6 address.
    pub fn next(&mut self, now: Now) -> String {
        let Unix(ms) = now.wall;
        if ms < self.month.0 || ms >= self.month.1 {
            self.month = month_around(ms);
        }
        self.counter = self.counter.wrapping_add(1);
        let mut out = Vec::with_capacity(self.prefix.len() + 12);
        out.extend_from_slice(&self.prefix);
        // A month has fewer than 2^32 ms.
        hex(&mut out, &(ms.wrapping_sub(self.month.0) as u32).to_be_bytes());
        hex(&mut out, &self.counter.to_be_bytes());
        String::from_utf8(out).unwrap_or_default()
    }
}

/// First ms of the month that holds `ms`, and of the next one, in UTC.
fn month_around(ms: i64) -> (i64, i64) {
    const DAY: i64 = 86_400_000;
    // The civil calendar counted from 1 March of year 0, in eras of 400 years.
    let days = ms.div_euclid(DAY).clamp(-719_468, 100_000_000) + 719_468;
    let day_of_era = days.rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153; // 0 is March
    let first = days - (day_of_year - (153 * month + 2) / 5);
    // Months from March on have their lengths in the same formula; February's end is the year's.
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let len =
        if month == 11 { 28 + i64::from(leap(year + 1)) } else { (153 * (month + 1) + 2) / 5 - (153 * month + 2) / 5 };
    ((first - 719_468) * DAY, (first - 719_468 + len) * DAY)
}
