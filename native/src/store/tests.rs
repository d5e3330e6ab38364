//! The store of files: core's conformance suite over a real folder, and what only files can do wrong.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;

use skylark_core::ids::{StoreId, Ticket};
use skylark_core::store::UnitRun;
use skylark_core::store::checkpoint::CHECKPOINT;
use skylark_core::store::conformance::{self, Medium, sample};
use skylark_core::store::opening::Damage;
use skylark_core::store::queues::{UNIT, Unit};

use super::*;
use skylark_core::store::checkpoint::Checkpoint;

/// An error that the next operation meets.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Option<io::ErrorKind>>);

impl Faults {
    pub(super) fn strike(&self) -> io::Result<()> {
        self.0.lock().expect("lock").take().map_or(Ok(()), |kind| Err(kind.into()))
    }
}

/// A folder that goes with the test.
struct Temp(PathBuf);

impl Temp {
    fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// In memory where the system offers that: for many small files.
    fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        Self::within(if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }.as_path())
    }

    fn within(parent: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("skylark-store-{}-{n}", std::process::id()));
        fs::create_dir_all(&dir).expect("temporary folder");
        Self(dir)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

const SIZE: u64 = 64 << 10;

fn open_with(dir: &Path, size: u64) -> Native {
    open(dir, Options { segment_size: Some(size) }, |_| {}).expect("the store opens")
}

fn open_error(dir: &Path) -> String {
    open(dir, Options::default(), |_| {}).expect_err("it must not open").to_string()
}

fn stored(done: Done) -> Result<Option<Vec<u8>>, StoreError> {
    match done {
        Done::Stored { result, .. } => result,
        Done::Loaded { .. } => panic!("not a load"),
    }
}

const ID: StoreId = StoreId(1);

/// Appends records of `body` bytes to topic T, queue 0, in order, without flushing. Gives their positions.
fn append(native: &Native, offsets: std::ops::Range<u64>, body: usize) -> Vec<LogPos> {
    let size = native.opened.segment;
    let mut log = skylark_core::store::log::CommitLog::new(size, native.opened.end);
    let mut at = Vec::new();
    for offset in offsets {
        let len = sample(LogPos(0), "T", 0, offset, &vec![7; body]).len();
        let upto = log.end().plus(2 * len as u64 + 8);
        stored(native.volume.execute(Disk::Prepare { id: ID, upto: LogPos(upto.0.next_multiple_of(size)) }))
            .expect("room");
        let fill = |at: LogPos, out: &mut Vec<u8>| out.extend(sample(at, "T", 0, offset, &vec![7; body]));
        at.push(log.append(len, |end| native.log.room(end), fill).expect("room"));
        while let Some((id, at, bytes)) = log.poll_write(|| ID) {
            stored(native.volume.execute(Disk::Write { id, at, bytes })).expect("written");
        }
    }
    at
}

fn max(native: &Native) -> u64 {
    native.opened.queues.known("T").map_or(0, |key| native.opened.queues.bounds(key, 0).max)
}

struct Conforming {
    native: Option<Native>,
    dir: Temp,
}

impl Medium for Conforming {
    type Store = Log;

    fn execute(&mut self, disk: Disk) -> Done {
        self.native.as_ref().expect("open").volume.execute(disk)
    }

    fn store(&self) -> &Log {
        &self.native.as_ref().expect("open").log
    }

    fn table(&self, table: Table) -> Option<Vec<u8>> {
        self.native.as_ref().expect("open").volume.table(table).expect("readable").into_iter().next()
    }

    fn reopen(&mut self) -> Option<Opened> {
        self.native.take().expect("open").volume.close().expect("close");
        let Native { log, volume, opened } = open_with(&self.dir.0, conformance::SEGMENT);
        assert!(opened.report.clean);
        self.native = Some(Native { log, volume, opened: Opened::empty(conformance::SEGMENT, true) });
        Some(opened)
    }
}

#[test]
fn the_store_on_disk_conforms() {
    conformance::check(|capacity| {
        let dir = Temp::new();
        let native = open_with(&dir.0, conformance::SEGMENT);
        native.volume.0.log.capacity.store(capacity, Ordering::Relaxed);
        Conforming { native: Some(native), dir }
    });
}

#[test]
fn what_was_written_is_there_after_a_kill() {
    let dir = Temp::new();
    let native = open_with(&dir.0, SIZE);
    let at = append(&native, 0..200, 1000);
    drop(native); // No good-bye, no flush, no units, no checkpoint: the system alone has the bytes.
    for round in 0..2 {
        let native = open_with(&dir.0, SIZE);
        let report = &native.opened.report;
        assert_eq!((report.clean, report.torn, &report.damage[..]), (false, false, &[][..]));
        assert_eq!((report.messages, max(&native)), (if round == 0 { 200 } else { 0 }, 200));
        let record = sample(at[150], "T", 0, 150, &[7; 1000]);
        let ready = |read: Read<Lease>| matches!(read, Read::Ready(lease) if *lease == record[..]);
        if round == 1 {
            assert!(matches!(native.log.read(at[150], record.len()), Read::Missing(_)), "nobody has checked it yet");
            let what = Missing::Log { at: at[150], len: record.len() };
            native.volume.execute(Disk::Load { ticket: Ticket(1), what });
        }
        assert!(ready(native.log.read(at[150], record.len())));
    }
}

#[test]
fn a_record_is_found_by_its_position_alone_and_a_guess_harms_none() {
    let dir = Temp::new();
    let native = open_with(&dir.0, SIZE);
    let at = append(&native, 0..3, 100);
    native.volume.close().expect("closes");
    drop(native);
    let native = open_with(&dir.0, SIZE);
    native.volume.close().expect("closes");
    drop(native);
    let native = open_with(&dir.0, SIZE);
    let load = |at: LogPos| {
        assert_eq!(native.log.read(at, 4), Read::Missing(Missing::Log { at, len: 4 }));
        native.volume.execute(Disk::Load { ticket: Ticket(1), what: Missing::Log { at, len: 4 } });
    };
    load(at[1].plus(1));
    assert!(matches!(native.log.read(at[1].plus(1), 4), Read::Missing(_)), "no record begins there");
    load(at[1]);
    assert!(matches!(native.log.read(at[1], 4), Read::Ready(_)));
    assert!(matches!(native.log.read(at[1], (at[2].0 - at[1].0) as usize), Read::Ready(_)));
}

#[test]
fn a_torn_end_is_cut_and_cannot_come_back() {
    // STO-3, STO-5.
    let dir = Temp::new();
    let native = open_with(&dir.0, SIZE);
    let at = append(&native, 0..100, 1000);
    drop(native);
    // The last segments reached the disk, one page before them did not.
    let torn = at[20];
    let file = OpenFile::at(&dir, torn.0 / SIZE * SIZE);
    file.write(torn.0 % SIZE + 50, &[0; 500]);
    let native = open_with(&dir.0, SIZE);
    assert_eq!((native.opened.end, max(&native), native.opened.report.torn), (torn, 20, true));
    // Records of the same length: without the zeros the old ones would line up behind the new one.
    append(&native, 20..21, 1000);
    drop(native);
    let native = open_with(&dir.0, SIZE);
    assert_eq!((native.opened.end, max(&native), native.opened.report.torn), (at[21], 21, false));
}

/// A log file, to be spoiled.
struct OpenFile(fs::File);

impl OpenFile {
    fn at(dir: &Temp, base: u64) -> Self {
        let path = dir.0.join("commitlog").join(format!("{base:020}"));
        Self(fs::OpenOptions::new().write(true).open(path).expect("log file"))
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        std::os::unix::fs::FileExt::write_all_at(&self.0, bytes, at).expect("spoil");
    }
}

#[test]
fn a_flipped_bit_is_never_served_and_drops_nothing() {
    // STO-2, STO-3.
    let dir = Temp::new();
    let native = open_with(&dir.0, SIZE);
    let at = append(&native, 0..100, 1000);
    drop(native);
    open_with(&dir.0, SIZE); // Now there is a mark behind all of it.
    OpenFile::at(&dir, 0).write(at[10].0 + 200, &[99]);
    let native = open_with(&dir.0, SIZE);
    let len = (at[11].0 - at[10].0) as usize;
    for at in &at[10..12] {
        native.volume.execute(Disk::Load { ticket: Ticket(1), what: Missing::Log { at: *at, len } });
    }
    assert_eq!(native.log.read(at[10], len), Read::Damaged);
    assert!(matches!(native.log.read(at[11], len), Read::Ready(_)));
    assert_eq!(max(&native), 100);
    drop(native);
    fs::remove_dir_all(dir.0.join("consumequeue")).expect("queues can be rebuilt");
    let native = open_with(&dir.0, SIZE);
    assert_eq!(native.opened.report.damage, [Damage { at: at[10], len: len as u64 }]);
    assert_eq!((max(&native), native.opened.report.messages), (100, 99));
    let told = tell(&native.opened);
    let file = format!("commitlog/{:020} has {len} bytes from offset {}", 0, at[10].0);
    assert!(told.len() == 2 && told[0].contains("99 messages") && told[1].contains(&file), "{told:?}");
    assert_eq!(native.log.read(at[10], len), Read::Damaged);
}

#[test]
fn a_table_has_a_version_at_every_moment() {
    // DUR-6: each state that a crash may leave between the steps of a replacement.
    let dir = Temp::new();
    let native = open_with(&dir.0, SIZE);
    let put = |bytes: &[u8]| {
        let done = native.volume.execute(Disk::Put { id: ID, table: Table::Topics, bytes: bytes.to_vec() });
        stored(done).expect("put");
    };
    let versions = || native.volume.table(Table::Topics).expect("readable");
    assert_eq!(versions(), Vec::<Vec<u8>>::new());
    put(b"one");
    put(b"two");
    assert_eq!(versions(), [b"two", b"one"]);
    let path = dir.0.join("config/topics.json");
    fs::write(dir.0.join("config/topics.json.tmp"), b"thr").expect("half of a new version");
    assert_eq!(versions(), [b"two", b"one"]);
    fs::rename(&path, dir.0.join("config/topics.json.bak")).expect("rename");
    assert_eq!(versions(), [b"two"]);
    put(b"four");
    fs::write(&path, b"").expect("emptied");
    assert_eq!(versions(), [b"two"], "an empty file is no version");
}

#[test]
fn a_second_opener_is_refused_by_name() {
    // STO-7.
    let dir = Temp::new();
    let native = open_with(&dir.0, SIZE);
    let error = open_error(&dir.0);
    assert!(error.contains(&format!("in use by process {}", std::process::id())) && error.contains("--dir"), "{error}");
    let lease = native.log.clone();
    drop(native);
    open_error(&dir.0);
    drop(lease);
    open_with(&dir.0, SIZE);
}

#[test]
fn foreign_folders_are_refused_untouched() {
    // STO-7.
    let listing = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir).expect("folder").map(|e| e.expect("entry").file_name()).collect();
        names.sort();
        names
    };
    let cases: [(&str, &str); 4] = [
        ("batchconsumequeue/T/0/x", "BatchCQ"),
        ("consumequeue/CURRENT", "RocksDB"),
        ("dledger-n0/data/x", "DLedger"),
        ("checkpoint", "format 9"),
    ];
    for (path, word) in cases {
        let dir = Temp::new();
        let file = dir.0.join(path);
        fs::create_dir_all(file.parent().expect("parent")).expect("folder");
        let mut bytes = Checkpoint::default().encode();
        bytes[CHECKPOINT - 64 + 11] = 9;
        fs::write(&file, bytes).expect("file");
        let before = listing(&dir.0);
        let error = open_error(&dir.0);
        assert!(error.contains(word) && error.contains("nothing was changed"), "{error}");
        assert_eq!(listing(&dir.0), before);
    }
    let dir = Temp::new();
    let file = dir.0.join("file");
    fs::write(&file, b"").expect("file");
    assert!(open_error(&file).contains("is a file, and the store needs a folder"));
}

#[test]
fn segments_keep_their_size() {
    let dir = Temp::new();
    append(&open_with(&dir.0, SIZE), 0..10, 100);
    let error = open(&dir.0, Options { segment_size: Some(2 * SIZE) }, |_| {}).expect_err("another size").to_string();
    assert!(error.contains("segments of 65536 bytes, not 131072"), "{error}");
    let native = open(&dir.0, Options::default(), |_| {}).expect("the store's own size");
    assert_eq!((native.opened.segment, max(&native)), (SIZE, 10));
    drop(native);
    // A file that was being made when the power went.
    fs::write(dir.0.join("commitlog").join(log::name(64 * SIZE)), b"").expect("file");
    assert_eq!(max(&open_with(&dir.0, SIZE)), 10);
    fs::write(dir.0.join("commitlog").join(log::name(64 * SIZE)), b"x").expect("file");
    assert!(open_error(&dir.0).contains("a log segment of 1 bytes among others of 65536"));
}

#[test]
fn after_a_failed_flush_nothing_is_written_any_more() {
    // DUR-5.
    let dir = Temp::new();
    let native = open_with(&dir.0, SIZE);
    append(&native, 0..5, 100);
    *native.volume.0.faults.0.lock().expect("lock") = Some(io::ErrorKind::Other);
    assert!(stored(native.volume.execute(Disk::Flush { id: ID })).is_err());
    assert_eq!(native.log.room(LogPos(0)), Room::Failed);
    let disks = [
        Disk::Flush { id: ID },
        Disk::Write { id: ID, at: LogPos(0), bytes: vec![1] },
        Disk::Put { id: ID, table: Table::Checkpoint, bytes: vec![1] },
        Disk::Units { id: ID, runs: vec![], flush: true },
        Disk::Prepare { id: ID, upto: LogPos(1 << 20) },
    ];
    for disk in disks {
        assert!(stored(native.volume.execute(disk.clone())).is_err(), "{disk:?}");
    }
    native.volume.close().expect("close");
    drop(native);
    let native = open_with(&dir.0, SIZE);
    assert_eq!((native.opened.report.clean, max(&native)), (false, 5), "it comes back only through recovery");
}

#[test]
fn a_full_disk_refuses_until_there_is_room_and_still_reads() {
    // STO-1.
    let dir = Temp::new();
    let native = open_with(&dir.0, 32 << 20);
    let at = append(&native, 0..3, 100);
    native.volume.0.log.capacity.store(17 << 20, Ordering::Relaxed);
    let upto = LogPos(40 << 20);
    assert_eq!(stored(native.volume.execute(Disk::Prepare { id: ID, upto })), Err(StoreError::Full));
    // append() has made room to the segment's end already; beyond that there is none.
    assert_eq!((native.log.room(LogPos(32 << 20)), native.log.room(upto)), (Room::Ready, Room::Full));
    assert!(matches!(native.log.read(at[1], 100), Read::Ready(_)));
    native.volume.0.log.capacity.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(stored(native.volume.execute(Disk::Prepare { id: ID, upto })), Ok(None));
    assert_eq!(native.log.room(upto), Room::Ready);
}

#[test]
fn sixteen_thousand_queues_take_few_handles_and_few_blocks() {
    let dir = Temp::in_memory();
    let native = open_with(&dir.0, SIZE);
    let run = |n: u32, from| UnitRun {
        topic: format!("topic-{}", n / 8),
        queue_id: n % 8,
        from,
        bytes: Unit { at: LogPos(0), size: 100, tags: 0 }.encode().to_vec(),
    };
    for from in [0, 1] {
        let runs = (0..16_000).map(|n| run(n, from)).collect();
        stored(native.volume.execute(Disk::Units { id: ID, runs, flush: from == 1 })).expect("written");
    }
    let handles = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    assert!(handles < 600, "{handles} open files");
    let mut blocks = BTreeMap::new();
    for topic in fs::read_dir(dir.0.join("consumequeue")).expect("queues") {
        for queue in fs::read_dir(topic.expect("topic").path()).expect("queues") {
            let file = queue.expect("queue").path().join(log::name(0));
            let metadata = fs::metadata(file).expect("file");
            assert_eq!(metadata.len(), units::FILE);
            *blocks.entry(metadata.blocks() * 512).or_insert(0) += 1;
        }
    }
    let total: u64 = blocks.iter().map(|(size, count)| size * count).sum();
    assert_eq!(blocks.values().sum::<u64>(), 16_000);
    assert!(total <= 16_000 * 8192, "{total} bytes of blocks: {blocks:?}");
    let what = Missing::Units { topic: "topic-1999".into(), queue_id: 7, from: 0, count: 3 };
    let Done::Loaded { result: Ok(bytes), .. } = native.volume.execute(Disk::Load { ticket: Ticket(1), what }) else {
        panic!("units")
    };
    assert_eq!(bytes, [run(0, 0).bytes, run(0, 0).bytes, vec![0; UNIT]].concat());
}

#[test]
fn a_java_brokers_checkpoint_leads_to_the_cautious_reading() {
    let dir = Temp::new();
    append(&open_with(&dir.0, SIZE), 0..50, 100);
    drop(open_with(&dir.0, SIZE));
    let path = dir.0.join("checkpoint");
    let mut bytes = fs::read(&path).expect("checkpoint");
    bytes[..8].copy_from_slice(&1_900_000_000_000_i64.to_be_bytes());
    fs::write(&path, bytes).expect("checkpoint");
    let native = open_with(&dir.0, SIZE);
    assert_eq!((native.opened.report.rebuilt, native.opened.report.messages, max(&native)), (true, 50, 50));
}
