//! What crosses crates: official clients, browsers, crashes, faults.
