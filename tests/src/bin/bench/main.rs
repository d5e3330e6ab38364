//! The benchmarks: the broker against a server that only acknowledges, on the same sockets, in interleaved rounds.
//!
//! Every round starts the broker anew on an empty folder, so no round pays for what another one wrote. A figure is the
//! median of the rounds. What must be reached is the 'must' column; `--check` fails where that is missed.
//! The load is in [`load`], the measure in [`null`], appending without sockets in [`append`]. Start at [`main`].

#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod append;
mod load;
mod null;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;
use skylark_tests::{Folder, Options, Server};

/// Measures the broker against a server that only acknowledges; prints the figures beside their targets.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  cargo xtask bench --check\n  cargo xtask bench --seconds 1 --rounds 1 send")]
struct Args {
    /// Fail where a figure that gates misses what it must reach.
    #[arg(long)]
    check: bool,
    /// Length of one measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Interleaved rounds, of which the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// What to measure: send, connections, sync, pull, append, start. Without names, all.
    names: Vec<String>,
    /// Be the null server (used by the benchmarks themselves).
    #[arg(long, hide = true)]
    null_server: bool,
}

/// One line of the table: what, unit, must, aim, whether more is better, whether `--check` gates it.
struct Target {
    name: &'static str,
    unit: &'static str,
    must: f64,
    aim: f64,
    more_is_better: bool,
    gates: bool,
}

const fn ratio(name: &'static str, must: f64, aim: f64, gates: bool) -> Target {
    Target { name, unit: "of null", must, aim, more_is_better: true, gates }
}

const fn cost(name: &'static str, unit: &'static str, must: f64, aim: f64, gates: bool) -> Target {
    Target { name, unit, must, aim, more_is_better: false, gates }
}

const TARGETS: &[Target] = &[
    ratio("send, 1 in flight", 0.75, 0.90, true),
    ratio("send, 16 in flight", 0.45, 0.60, true),
    ratio("send, 64 in flight", 0.25, 0.45, true),
    cost("CPU a message, 64 in flight", "us", 2.5, 1.5, true),
    ratio("64 connections, 1 in flight", 0.40, 0.60, false),
    Target { unit: "of fdatasync", ..ratio("sync flush, 1 in flight", 0.75, 0.90, false) },
    Target { unit: "of fdatasync", ..ratio("sync flush, 16 in flight", 0.60, 0.80, false) },
    Target { unit: "of fdatasync", ..ratio("sync flush, 64 in flight", 0.40, 0.70, false) },
    ratio("pull, 32 messages each", 0.40, 0.70, false),
    cost("append alone", "ns", 500.0, 250.0, false),
    cost("ready on an empty folder", "ms", 100.0, 20.0, true),
    cost("anonymous memory, idle", "MiB", 16.0, 10.0, false),
    cost("anonymous memory, after load", "MiB", 64.0, 32.0, false),
];

/// The benchmarks.
const NAMES: [&str; 6] = ["send", "connections", "sync", "pull", "append", "start"];

/// Figures by name, one of each round.
#[derive(Default)]
struct Figures {
    judged: BTreeMap<&'static str, Vec<f64>>,
    /// Rates behind the ratios, for people: null, or what the disk allows, and Skylark.
    rates: BTreeMap<&'static str, (Vec<f64>, Vec<f64>)>,
}

impl Figures {
    fn note(&mut self, name: &'static str, value: f64) {
        self.judged.entry(name).or_default().push(value);
    }

    fn compare(&mut self, name: &'static str, ceiling: f64, ours: f64) {
        self.note(name, ours / ceiling);
        let rates = self.rates.entry(name).or_default();
        rates.0.push(ceiling);
        rates.1.push(ours);
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.null_server {
        null::serve();
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = args.names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        eprintln!("there is no benchmark {unknown:?}; choose from {}", NAMES.join(", "));
        return ExitCode::from(2);
    }
    let mut figures = Figures::default();
    let null = NullServer::start();
    for round in 1..=args.rounds {
        for name in NAMES {
            if args.names.is_empty() || args.names.iter().any(|wanted| wanted == name) {
                eprint!("\rround {round} of {}: {name:<12}", args.rounds);
                let _ = std::io::stderr().flush();
                measure(name, &null, args.seconds, &mut figures);
            }
        }
    }
    eprintln!();
    let missed = report(&figures);
    if args.check && !missed.is_empty() {
        eprintln!("missed: {}", missed.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn measure(name: &str, null: &NullServer, seconds: f64, figures: &mut Figures) {
    match name {
        "send" => {
            let windows = [(1, TARGETS[0].name), (16, TARGETS[1].name), (64, TARGETS[2].name)];
            for (window, name) in windows {
                let ceiling = load::send(&null.address, null.pid(), window, seconds);
                let (_folder, server) = start(&Options::default());
                let ours = load::send(&server.broker, server.pid(), window, seconds);
                figures.compare(name, ceiling.rate(), ours.rate());
                if window == 64 {
                    figures.note(TARGETS[3].name, ours.cpu_us());
                    figures.note(TARGETS[12].name, server.memory("RssAnon") as f64 / f64::from(1 << 20));
                }
            }
        }
        "connections" => {
            let ceiling = load::send_many(&null.address, null.pid(), 64, seconds);
            let (_folder, server) = start(&Options::default());
            let ours = load::send_many(&server.broker, server.pid(), 64, seconds);
            figures.compare(TARGETS[4].name, ceiling.rate(), ours.rate());
        }
        "sync" => {
            let windows = [(1, TARGETS[5].name), (16, TARGETS[6].name), (64, TARGETS[7].name)];
            for (window, name) in windows {
                let (folder, server) = start(&Options::sync());
                let ceiling = flushes(&folder, window, seconds);
                let ours = load::send(&server.broker, server.pid(), window, seconds);
                figures.compare(name, ceiling, ours.rate());
            }
        }
        "pull" => {
            const MESSAGES: usize = 64 << 10;
            let ceiling = load::pull(&null.address, null.pid(), MESSAGES as i64, seconds);
            let (_folder, server) = start(&Options::default());
            load::fill(&server.broker, MESSAGES);
            let ours = load::pull(&server.broker, server.pid(), MESSAGES as i64, seconds);
            figures.compare(TARGETS[8].name, ceiling.rate(), ours.rate());
        }
        "append" => figures.note(TARGETS[9].name, append::nanoseconds(seconds)),
        _ => {
            let started = Instant::now();
            let (_folder, server) = start(&Options::default());
            // The line that it serves comes after the broker is registered; then a send must succeed.
            load::fill(&server.broker, 1);
            figures.note(TARGETS[10].name, started.elapsed().as_secs_f64() * 1e3);
            std::thread::sleep(std::time::Duration::from_secs_f64(seconds.min(5.0)));
            figures.note(TARGETS[11].name, server.memory("RssAnon") as f64 / f64::from(1 << 20));
        }
    }
}

fn start(options: &Options) -> (Folder, Server) {
    let folder = Folder::new();
    let server = Server::start(&folder, options);
    (folder, server)
}

/// Messages a second that one `fdatasync` per round of `window` messages allows, into space that is there already.
fn flushes(folder: &Folder, window: usize, seconds: f64) -> f64 {
    const SPACE: u64 = 64 << 20;
    let file = File::create(folder.join("flushes")).expect("a file for the comparison");
    let round = vec![b'x'; window * (load::BODY + 200)];
    let zeros = vec![0; 1 << 20];
    for at in (0..SPACE).step_by(zeros.len()) {
        file.write_all_at(&zeros, at).expect("space");
    }
    file.sync_all().expect("a flush");
    let (start, mut rounds, mut at) = (Instant::now(), 0, 0);
    while start.elapsed().as_secs_f64() < seconds {
        file.write_all_at(&round, at).expect("a write");
        file.sync_data().expect("a flush");
        rounds += 1;
        at = (at + round.len() as u64) % (SPACE - round.len() as u64);
    }
    f64::from(rounds) * window as f64 / start.elapsed().as_secs_f64()
}

/// Prints the table; gives the gating lines that miss what they must reach.
fn report(figures: &Figures) -> Vec<&'static str> {
    let mut missed = Vec::new();
    println!("| what | figure | must | aim | | ceiling / s | Skylark / s |");
    println!("|---|---|---|---|---|---|---|");
    for target in TARGETS {
        let Some(values) = figures.judged.get(target.name) else { continue };
        let value = median(values);
        let reaches = |bound: f64| if target.more_is_better { value >= bound } else { value <= bound };
        let word = match (reaches(target.must), reaches(target.aim)) {
            (_, true) => "aim",
            (true, false) => "must",
            (false, false) => "missed",
        };
        if word == "missed" && target.gates {
            missed.push(target.name);
        }
        let rate = |values: &Vec<f64>| format!("{:.0}", median(values));
        let rates = figures.rates.get(target.name).map(|(ceiling, ours)| (rate(ceiling), rate(ours)));
        let (ceiling, ours) = rates.unwrap_or_default();
        println!(
            "| {} | {value:.2} {} | {} | {} | {word} | {ceiling} | {ours} |",
            target.name, target.unit, target.must, target.aim
        );
    }
    missed
}

/// The null server, in a process of its own as the broker is.
struct NullServer {
    child: Child,
    address: String,
}

impl NullServer {
    fn start() -> Self {
        let own = std::env::current_exe().expect("the path of this program");
        let mut child = Command::new(own)
            .args(["--null-server"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the null server starts");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("its output is piped")).read_line(&mut address).expect("its address");
        Self { child, address: address.trim().to_owned() }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for NullServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
