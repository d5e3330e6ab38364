//! The commands people type. One file for each that serves or asks; what they share is here and in [`serve`].
//!
//! Bad input ends with one sentence on stderr that says what to change; the exit code is 2 for what was typed wrong,
//! 1 for everything else. Logs go to stderr and are quiet unless `SKYLARK_LOG` says otherwise.

mod broker;
mod consume;
mod namesrv;
mod produce;
mod serve;
mod topic;
mod up;

use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use skylark_core::wire::names::is_name_char;
use tracing::level_filters::LevelFilter;

use crate::client::{Client, ClientError};

/// RocketMQ for the web and the edge: NameServer, broker, producer and consumer in one small program.
#[derive(Debug, Parser)]
#[command(name = "skylark", version, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Start here:  skylark up\nMore of a command:  skylark up --help\nLogs:  SKYLARK_LOG=info skylark up"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a NameServer, a broker and the playground in one process.
    Up(up::Up),
    /// Serve a NameServer and the playground.
    Namesrv(namesrv::Namesrv),
    /// Serve a broker.
    Broker(broker::Broker),
    /// Send messages.
    Produce(produce::Produce),
    /// Print messages as they come.
    Consume(consume::Consume),
    /// List, create and look at topics.
    Topic(topic::Topic),
}

/// Options of every command that asks a cluster.
#[derive(Debug, Args)]
struct Cluster {
    /// The NameServers; several are separated by `;`.
    #[arg(long, short, value_name = "HOST:PORT", default_value = "127.0.0.1:9876", env = "NAMESRV_ADDR", value_parser = namesrvs_text)]
    namesrv: String,
}

impl Cluster {
    async fn connect(&self) -> Result<Client, ClientError> {
        Client::connect(&self.namesrv).await
    }
}

/// Prints a line; `false` when whoever read it has gone, such as `head`, which is no failure.
fn say(line: &str) -> bool {
    writeln!(std::io::stdout(), "{line}").is_ok()
}

/// NameServers as they were written, once they are known to be addresses.
fn namesrvs_text(text: &str) -> Result<String, String> {
    let list = namesrvs(text)?;
    if list.is_empty() {
        return Err(format!("{text:?} names no NameServer; write HOST:PORT, for example 127.0.0.1:9876"));
    }
    Ok(list.join(";"))
}

/// Why a command ended badly: a sentence for a person, and who has to change something.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was typed is wrong: exit code 2.
    Usage(String),
    /// Anything else: exit code 1.
    Failed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) | Self::Failed(sentence) => f.write_str(sentence),
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("skylark: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    start_log()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(2, usize::from).max(2))
        .max_blocking_threads(16)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        match command {
            Command::Up(up) => up.run().await,
            Command::Namesrv(namesrv) => namesrv.run().await,
            Command::Broker(broker) => broker.run().await,
            Command::Produce(produce) => produce.run().await,
            Command::Consume(consume) => consume.run().await,
            Command::Topic(topic) => topic.run().await,
        }
    });
    // A read of standard input cannot be cut short; nothing is waited for.
    runtime.shutdown_background();
    result
}

fn start_log() -> Result<(), Failure> {
    let level = match std::env::var("SKYLARK_LOG") {
        Ok(word) => LevelFilter::from_str(&word).map_err(|_| {
            Failure::Usage(format!("SKYLARK_LOG is {word:?}; set it to off, error, warn, info, debug or trace"))
        })?,
        Err(_) => LevelFilter::WARN,
    };
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(colours)
        .with_writer(std::io::stderr)
        .with_target(false)
        .compact()
        .init();
    Ok(())
}

/// An address to listen on: `HOST:PORT`, where HOST is an IP address or a name of this machine.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let sentence = || format!("{text:?} is not an address; write HOST:PORT, for example 127.0.0.1:9876");
    let (host, port) = text.rsplit_once(':').ok_or_else(sentence)?;
    let port: u16 = port.parse().map_err(|_| sentence())?;
    if host.eq_ignore_ascii_case("localhost") {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if host.is_empty() {
        return Err(sentence());
    }
    (host, port).to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or_else(|| {
        format!("no address is known for the host {host:?}; write an IP address, for example 127.0.0.1:{port}")
    })
}

/// An address for others: `HOST:PORT`, kept as it was written.
fn remote(text: &str) -> Result<String, String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let named = !host.is_empty() && host.bytes().all(plain);
        (named || bracketed.is_some_and(|h| h.parse::<std::net::Ipv6Addr>().is_ok()))
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if good {
        return Ok(text.into());
    }
    Err(format!("{text:?} is not an address; write HOST:PORT, for example 127.0.0.1:9876"))
}

/// The name of a broker or a cluster, which is also a topic's (SEC-3).
fn name(text: &str) -> Result<String, String> {
    if (1..=127).contains(&text.len()) && text.chars().all(is_name_char) {
        return Ok(text.into());
    }
    Err(format!("{text:?} is not a name; write 1 to 127 letters, digits, %, |, - or _, for example broker-a"))
}

/// Several NameServers: `A;B`.
fn namesrvs(text: &str) -> Result<Vec<String>, String> {
    text.split([';', ',']).map(str::trim).filter(|one| !one.is_empty()).map(remote).collect()
}

/// The size of a log segment: a number of bytes that the store can use.
fn segment(text: &str) -> Result<u64, String> {
    let (least, most) = crate::store::SEGMENT_RANGE;
    let size = bytes(text)?;
    if (least..=most).contains(&size) && size % least == 0 {
        return Ok(size);
    }
    let (least, most) = (least >> 10, most >> 30);
    Err(format!("{size} bytes do not make a segment; choose a multiple of {least}K up to {most}G"))
}

/// A number of bytes: `1048576`, `64M`, `1G`.
fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'M', 'G', 'k', 'm', 'g']) {
        Some(digits) => (digits, text.as_bytes()[digits.len()].to_ascii_uppercase()),
        None => (text, b'1'),
    };
    let factor = match unit {
        b'K' => 1 << 10,
        b'M' => 1 << 20,
        b'G' => 1 << 30,
        _ => 1,
    };
    let sentence = || format!("{text:?} is not a number of bytes; write for example 1073741824, 64M or 1G");
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(sentence)
}

/// The origin of a page: `http://host:port` or `https://host`.
fn origin(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let name = name.map(|name| name.trim_end_matches('/'));
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    match name {
        Some(name) if !name.is_empty() && name.bytes().all(plain) => {
            Ok(text.trim_end_matches('/').to_ascii_lowercase())
        }
        _ => Err(format!(
            "{text:?} is not an origin; write the page's scheme, host and port, for example https://mq.example.org"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_every_command_shows_an_example() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        for command in cli.get_subcommands() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{}:\n{help}", command.get_name());
        }
    }

    #[test]
    fn bad_input_says_what_to_write_instead() {
        assert_eq!(address("localhost:9876"), Ok(([127, 0, 0, 1], 9876).into()));
        for bad in ["9876", ":9876", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999"] {
            assert!(address(bad).expect_err(bad).contains("HOST:PORT"), "{bad}");
            assert!(remote(bad).expect_err(bad).contains("HOST:PORT"), "{bad}");
        }
        assert_eq!(namesrvs("a:1;b:2"), Ok(vec!["a:1".into(), "b:2".into()]));
        assert_eq!((bytes("64M"), bytes("1024"), bytes("1g")), (Ok(64 << 20), Ok(1024), Ok(1 << 30)));
        assert!(bytes("many").is_err() && bytes("99999999999G").is_err());
        for bad in ["3", "65K", "3G"] {
            assert!(segment(bad).expect_err(bad).contains("a multiple of 64K up to 2G"), "{bad}");
        }
        assert_eq!((segment("64K"), segment("2G")), (Ok(64 << 10), Ok(2 << 30)));
        assert_eq!(origin("https://MQ.example.org/"), Ok("https://mq.example.org".into()));
        assert_eq!(name("broker-a"), Ok("broker-a".into()));
        for bad in ["", "a b", "../a", "a\"b", &"x".repeat(128)] {
            assert!(name(bad).expect_err(bad).contains("broker-a"), "{bad}");
        }
        assert!(origin("mq.example.org").is_err() && origin("null").is_err() && origin("https://a/b").is_err());
    }
}
