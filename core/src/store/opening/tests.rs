//! Opening a store from disks whose bytes a test has spoiled or cut.

use super::*;
use crate::ids::{StoreId, Ticket};
use crate::store::conformance::sample as record;
use crate::store::log::CommitLog;
use crate::store::memory::MemoryStore;
use crate::store::queues::{Bounds, UNIT};
use crate::store::{Disk, Done, Room};
use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec;

/// A disk whose bytes a test may spoil.
#[derive(Clone, Default)]
struct Medium {
    segment: u64,
    log: Vec<u8>,
    units: BTreeMap<(String, u32), Vec<u8>>,
    checkpoint: Option<Vec<u8>>,
    broken: Vec<Range<u64>>,
    begin: u64,
}

impl Medium {
    fn found(&self) -> Found {
        Found {
            segment: self.segment,
            log: LogPos(self.begin)..LogPos(self.log.len() as u64),
            checkpoint: self.checkpoint.clone(),
            queues: self
                .units
                .iter()
                .map(|((topic, id), units)| FoundQueue {
                    topic: topic.clone(),
                    queue_id: *id,
                    units: 0..(units.len() / UNIT) as u64,
                })
                .collect(),
            clean: false,
        }
    }

    fn load(&self, what: &Missing) -> Result<Vec<u8>, StoreError> {
        let read = |bytes: &[u8], from: usize, len: usize| {
            let mut out = vec![0; len];
            let there = bytes.get(from..).unwrap_or_default();
            let len = len.min(there.len());
            out[..len].copy_from_slice(&there[..len]);
            out
        };
        match what {
            Missing::Log { at, len } => {
                let range = at.0..at.0 + *len as u64;
                if self.broken.iter().any(|b| b.start < range.end && range.start < b.end) {
                    return Err(StoreError::Failed("bad block".into()));
                }
                Ok(read(&self.log, at.0 as usize, *len))
            }
            Missing::Units { topic, queue_id, from, count } => {
                let units = self.units.get(&(topic.clone(), *queue_id)).map_or(&[][..], Vec::as_slice);
                Ok(read(units, *from as usize * UNIT, *count * UNIT))
            }
        }
    }

    fn save(&mut self, runs: Vec<UnitRun>) {
        for run in runs {
            let units = self.units.entry((run.topic, run.queue_id)).or_default();
            let at = run.from as usize * UNIT;
            units.resize(units.len().max(at + run.bytes.len()), 0);
            units[at..at + run.bytes.len()].copy_from_slice(&run.bytes);
        }
    }

    /// Opens as a driver does, does what must be done, and gives the result and the number of steps.
    fn open(&mut self) -> Opened {
        self.open_within(usize::MAX).expect("no limit")
    }

    fn open_within(&mut self, steps: usize) -> Option<Opened> {
        let mut opening = Opening::new(self.found()).expect("known format");
        for _ in 0..steps {
            match opening.step() {
                Step::Load(what) => {
                    let loaded = self.load(&what);
                    opening.handle_loaded(loaded.as_deref().map_err(Clone::clone));
                }
                Step::Save(runs) => {
                    self.save(runs);
                    opening.handle_saved();
                }
                Step::Finished => {
                    let opened = opening.finish();
                    if let Some(zero) = &opened.must_zero {
                        self.log.truncate(zero.start.0 as usize);
                    }
                    for stale in &opened.stale {
                        if let Some(units) = self.units.get_mut(&(stale.topic.clone(), stale.queue_id)) {
                            units[stale.units.start as usize * UNIT..stale.units.end as usize * UNIT].fill(0);
                        }
                    }
                    self.checkpoint = Some(opened.checkpoint.encode());
                    return Some(opened);
                }
            }
        }
        None
    }
}

/// Writes `count` messages over three queues. Gives the medium and the position of each record.
fn written(segment: u64, count: u64) -> (Medium, Vec<LogPos>) {
    let mut log = CommitLog::new(segment, LogPos(0));
    let mut at = vec![];
    for n in 0..count {
        let body = n.to_string().repeat(n as usize % 9 + 1).into_bytes();
        let len = record(LogPos(0), "T", 0, 0, &body).len();
        let fill = |at: LogPos, out: &mut Vec<u8>| out.extend(record(at, "T", (n % 3) as i32, n / 3, &body));
        at.push(log.append(len, |_| Room::Ready, fill).expect("room"));
    }
    let mut medium = Medium { segment, ..Medium::default() };
    while let Some((_, at, bytes)) = log.poll_write(|| StoreId(0)) {
        medium.log.resize(at.0 as usize, 0);
        medium.log.extend(bytes);
    }
    (medium, at)
}

fn maxes(opened: &Opened) -> Vec<u64> {
    let Some(topic) = opened.queues.known("T") else { return vec![] };
    (0..3).map(|id| opened.queues.bounds(topic, id).max).collect()
}

#[test]
fn a_log_alone_gives_its_queues_back_across_segments() {
    let (mut medium, at) = written(4096, 301);
    let end = LogPos(medium.log.len() as u64);
    medium.log.resize(medium.log.len() + 500, 0);
    let opened = medium.open();
    assert_eq!((opened.end, maxes(&opened)), (end, vec![101, 100, 100]));
    assert!(opened.report.rebuilt && !opened.report.torn && opened.report.damage.is_empty());
    assert_eq!(opened.report.messages, 301);
    let unit =
        |n: usize| Unit::decode(medium.units[&("T".into(), 0)][n * UNIT..].first_chunk().expect("unit")).expect("unit");
    assert_eq!((unit(100).at, unit(100).tags), (at[300], i64::from(b't')));
}

#[test]
fn opening_again_believes_the_queues_and_scans_nothing_twice() {
    // STO-6.
    let (mut medium, _) = written(4096, 301);
    let first = medium.open();
    let units = medium.units.clone();
    let again = medium.open();
    assert_eq!((again.end, maxes(&again)), (first.end, maxes(&first)));
    assert_eq!((again.report.messages, again.report.rebuilt), (0, false));
    assert_eq!(again.checkpoint, first.checkpoint);
    assert_eq!(medium.units, units);
}

#[test]
fn opening_cut_short_anywhere_and_begun_again_gives_the_same() {
    // STO-6.
    let (medium, _) = written(2048, 200);
    let mut whole = medium.clone();
    let expected = whole.open();
    for steps in 0..40 {
        let mut medium = medium.clone();
        medium.open_within(steps);
        let opened = medium.open();
        assert_eq!((opened.end, maxes(&opened)), (expected.end, maxes(&expected)), "{steps} steps");
        assert_eq!(medium.units, whole.units);
    }
}

#[test]
fn queues_that_are_missing_or_lie_are_rebuilt_from_the_log() {
    // STO-4.
    let (mut medium, _) = written(4096, 301);
    medium.open();
    let good = medium.units.clone();
    for spoil in 0..3 {
        let mut bad = medium.clone();
        match spoil {
            0 => bad.units.clear(),
            1 => _ = bad.units.remove(&("T".into(), 1)),
            _ => bad.units.get_mut(&("T".into(), 2)).expect("queue").truncate(50 * UNIT),
        }
        let opened = bad.open();
        assert_eq!((maxes(&opened), opened.report.rebuilt), (vec![101, 100, 100], true), "spoiled {spoil}");
        assert_eq!(bad.units, good);
    }
}

#[test]
fn a_torn_record_above_the_mark_is_cut_at_every_length() {
    // STO-3: with a mark, and with none when nothing whole follows.
    let (medium, at) = written(8192, 31);
    let (last, end) = (at[30].0 as usize, medium.log.len());
    for keep in last..end {
        for marked in [false, true] {
            let mut torn = medium.clone();
            if marked {
                torn.log.truncate(at[20].0 as usize);
                torn.open();
                torn.log = medium.log.clone();
            }
            torn.log[keep..].fill(0);
            // The last bytes of this record are never zero, so every cut is seen.
            let opened = torn.open();
            assert_eq!((opened.end, maxes(&opened)), (at[30], vec![10, 10, 10]), "kept {keep}, marked {marked}");
            assert_eq!(opened.report.damage, vec![]);
            assert!(keep < last + 8 || opened.report.torn);
            assert_eq!(torn.log.len(), last);
        }
    }
}

#[test]
fn a_hole_above_the_mark_ends_the_log_even_when_whole_records_follow() {
    // DUR-2: no hole; writes may have reached the disk in any order.
    let (medium, at) = written(16384, 60);
    let mut holed = medium.clone();
    holed.log.truncate(at[20].0 as usize);
    holed.open();
    holed.log = medium.log.clone();
    holed.log[at[40].0 as usize..at[41].0 as usize].fill(0);
    let opened = holed.open();
    assert_eq!((opened.end, maxes(&opened)), (at[40], vec![14, 13, 13]));
    assert_eq!(opened.must_zero, Some(at[40]..LogPos(medium.log.len() as u64)));
}

type Spoil = fn(&mut Medium, &[LogPos]);

#[test]
fn damage_below_the_mark_drops_nothing_behind_it() {
    // STO-3: one flipped byte, a stretch over several records, a lost segment head, and blocks that cannot be read.
    let (mut medium, at) = written(8192, 300);
    let whole = medium.open();
    let last = maxes(&whole);
    let spoils: [(Spoil, usize, usize); 4] = [
        (|m, at| m.log[at[100].0 as usize + 90] ^= 1, 100, 101),
        (|m, at| m.log[at[100].0 as usize + 3..at[104].0 as usize].fill(0xEE), 100, 104),
        (|m, _| m.log[8192..8192 + 40].fill(0), usize::MAX, 0),
        (|m, _| m.broken.push(4096..8192), usize::MAX, 0),
    ];
    for (index, (spoil, from, to)) in spoils.into_iter().enumerate() {
        let mut bad = medium.clone();
        spoil(&mut bad, &at);
        bad.units.clear();
        let opened = bad.open();
        assert_eq!((opened.end, maxes(&opened)), (whole.end, last.clone()), "spoil {index}");
        assert_eq!(opened.report.damage.len(), 1, "spoil {index}: {:?}", opened.report.damage);
        assert!(
            opened.report.messages < 300 && opened.report.messages > 200,
            "spoil {index}: {}",
            opened.report.messages
        );
        if from < 300 {
            let len = at[to].0 - at[from].0;
            assert_eq!(opened.report.damage, vec![Damage { at: at[from], len }]);
            assert_eq!(opened.report.messages, 300 - (to - from) as u64);
        }
    }
}

#[test]
fn damage_without_any_mark_is_told_from_a_torn_tail_by_what_follows() {
    // STO-3: damage in the mark leads to the cautious reading.
    let (mut medium, at) = written(8192, 300);
    medium.log[at[50].0 as usize + 90] ^= 1;
    let mut spoiled_mark = medium.clone();
    let mut mark = Checkpoint { flushed: at[299], queues: at[299], units: 299, ..Checkpoint::default() }.encode();
    mark[40] ^= 1;
    spoiled_mark.checkpoint = Some(mark);
    for mut medium in [medium, spoiled_mark] {
        let opened = medium.open();
        assert_eq!(opened.report.damage, vec![Damage { at: at[50], len: at[51].0 - at[50].0 }]);
        assert_eq!((maxes(&opened), opened.report.torn), (vec![100, 100, 100], false));
    }
}

#[test]
fn a_log_shorter_than_its_mark_gives_no_position_twice() {
    // ORD-1: a segment that was deleted by hand.
    let (mut medium, _) = written(8192, 300);
    let whole = medium.open();
    medium.log.truncate(8192);
    let opened = medium.open();
    assert_eq!((opened.end, maxes(&opened)), (whole.end, maxes(&whole)));
    assert_eq!(opened.report.damage, vec![Damage { at: LogPos(8192), len: whole.end.0 - 8192 }]);
}

#[test]
fn units_of_records_that_were_cut_do_not_come_back() {
    // STO-5 for queues: their files may be ahead of a log that lost its end.
    let (medium, at) = written(16384, 90);
    let mut ahead = medium.clone();
    ahead.log.truncate(at[30].0 as usize);
    ahead.open();
    let mark = ahead.checkpoint.clone();
    ahead.log = medium.log.clone();
    ahead.open();
    ahead.checkpoint = mark;
    ahead.log.truncate(at[60].0 as usize);
    let opened = ahead.open();
    assert_eq!((opened.end, maxes(&opened)), (at[60], vec![20, 20, 20]));
    assert_eq!(opened.stale.len(), 3);
    assert_eq!(opened.stale[0].units, 20..30);
    for units in ahead.units.values() {
        assert!(units[20 * UNIT..].iter().all(|b| *b == 0));
    }
}

#[test]
fn after_retention_the_first_kept_message_of_each_queue_is_found() {
    let (mut medium, at) = written(4096, 301);
    medium.open();
    medium.begin = 8192;
    let first = at.iter().position(|at| at.0 >= 8192).expect("kept") as u64;
    for rebuild in [false, true] {
        if rebuild {
            medium.checkpoint = None;
        }
        let opened = medium.open();
        let topic = opened.queues.known("T").expect("topic");
        for id in 0..3 {
            let max = if id == 0 { 101 } else { 100 };
            let min = (first + 2 - u64::from(id)) / 3;
            assert_eq!(opened.queues.bounds(topic, id), Bounds { min, max }, "queue {id}, rebuild {rebuild}");
        }
    }
}

#[test]
fn a_queue_whose_messages_were_all_removed_keeps_its_next_offset() {
    // ORD-1: only its file still knows.
    let (mut medium, _) = written(4096, 301);
    medium.open();
    let mut log = record(LogPos(0), "Old", 2, 6, b"x");
    log.resize(4096, 0);
    let old = Unit { at: LogPos(0), size: 100, tags: 0 }.encode();
    medium.units.insert(("Old".into(), 2), [vec![0; 6 * UNIT], old.to_vec(), vec![0; 100 * UNIT]].concat());
    medium.begin = 4096;
    medium.checkpoint = None;
    let opened = medium.open();
    let topic = opened.queues.known("Old").expect("topic");
    assert_eq!(opened.queues.bounds(topic, 2), Bounds { min: 7, max: 7 });
}

#[test]
fn records_that_no_broker_writes_are_counted_and_take_no_memory() {
    // SEC-14.
    let mut medium = Medium { segment: 1 << 20, ..Medium::default() };
    let far = "x".repeat(200);
    let strange = [
        ("T", -1, 0),
        ("T", i32::MAX, 0),
        ("T", 0, u64::MAX - 4),
        ("T", 1, i64::MAX as u64),
        ("../T", 0, 0),
        (&*far, 0, 0),
    ];
    for (topic, queue_id, offset) in
        [("T", 0, 0)].into_iter().chain(strange).chain([("T", 0, 900_000_000), ("T", 0, 1)])
    {
        let at = LogPos(medium.log.len() as u64);
        medium.log.extend(record(at, topic, queue_id, offset, b"x"));
    }
    let opened = medium.open();
    assert_eq!((opened.report.messages, opened.report.strange), (3, 6));
    assert_eq!(opened.queues.total(), 2 + 1);
}

#[test]
fn whatever_stands_in_the_files_opening_ends_and_ends_the_same_again() {
    // SEC-14, SEC-16, STO-6: a thousand kinds of spoiled stores from one seed.
    let (mut good, _) = written(4096, 120);
    good.open();
    let mut state = 0x5EED_u64;
    let mut below = move |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit.max(1)
    };
    for round in 0..1000 {
        let mut bad = good.clone();
        for _ in 0..=below(4) {
            let (from, len) = (below(bad.log.len()), below(300));
            let to = bad.log.len().min(from + len);
            match below(6) {
                0 => bad.log[from] ^= 1 << below(8),
                1 => bad.log[from..to].fill(0),
                2 => bad.log[from..to].fill_with(|| below(256) as u8),
                3 => bad.log.truncate(from),
                4 => bad.log.copy_within(from..to, 0),
                _ => {
                    let sector = from as u64 / 4096 * 4096;
                    bad.broken.push(sector..sector + 4096);
                }
            }
            if bad.log.is_empty() {
                break;
            }
        }
        match below(5) {
            0 => bad.checkpoint = None,
            1 => bad.units.clear(),
            2 => {
                let mark = LogPos(below(20_000) as u64);
                let lie = Checkpoint { flushed: mark, queues: mark, units: below(200) as u64, ..Checkpoint::default() };
                bad.checkpoint = Some(lie.encode());
            }
            3 => {
                for units in bad.units.values_mut() {
                    let at = below(units.len());
                    units[at..].fill_with(|| below(256) as u8);
                }
            }
            _ => {}
        }
        let first = bad.open_within(100_000).unwrap_or_else(|| panic!("round {round} never ends"));
        let again = bad.open_within(100_000).unwrap_or_else(|| panic!("round {round} never ends again"));
        assert_eq!((again.end, maxes(&again)), (first.end, maxes(&first)), "round {round}");
    }
}

#[test]
fn a_newer_format_is_refused() {
    // STO-7.
    let mut bytes = Checkpoint::default().encode();
    bytes[4096 - 64 + 11] = 9;
    let found = Found { segment: 4096, checkpoint: Some(bytes), ..Found::default() };
    assert_eq!(Opening::new(found).err(), Some(Newer(9)));
}

#[test]
fn an_empty_store_opens_empty() {
    let mut medium = Medium { segment: 4096, ..Medium::default() };
    let opened = medium.open();
    assert_eq!((opened.end, opened.queues.total(), opened.report.rebuilt), (LogPos(0), 0, false));
    let expected = Opened::empty(4096, true);
    assert_eq!(
        (opened.end, opened.must_zero, opened.checkpoint),
        (expected.end, expected.must_zero, expected.checkpoint)
    );
}

#[test]
fn a_memory_store_does_every_operation() {
    let mut store = MemoryStore::new(1 << 20);
    let run = UnitRun { topic: "T".into(), queue_id: 1, from: 2, bytes: vec![9; UNIT] };
    let done = store.execute(Disk::Units { id: StoreId(4), runs: vec![run], flush: true });
    assert_eq!(done, Done::Stored { id: StoreId(4), result: Ok(None) });
    let what = Missing::Units { topic: "T".into(), queue_id: 1, from: 1, count: 3 };
    let Done::Loaded { result: Ok(bytes), .. } = store.execute(Disk::Load { ticket: Ticket(1), what }) else {
        panic!()
    };
    assert_eq!(bytes, [vec![0; UNIT], vec![9; UNIT], vec![0; UNIT]].concat());
}
