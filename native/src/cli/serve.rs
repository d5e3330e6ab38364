//! What the serving commands share: the rules for addresses, the token, the two engines, signals, the last steps.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use skylark_core::broker::{Broker, BrokerConfig, FlushMode, Tables};
use skylark_core::namesrv::{NameServer, NamesrvConfig};
use skylark_core::output::Note;
use skylark_core::store::Table;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::Failure;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::http::Site;
use crate::listen::Port;
use crate::store;

/// How long a stop may take until it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Options of every command that serves.
#[derive(Debug, Args)]
pub(crate) struct Serving {
    /// Let pages of another origin use this server, with the token; may be repeated.
    #[arg(long, value_name = "URL", value_parser = super::origin)]
    pub(crate) origin: Vec<String>,
    /// Listen on addresses that other machines reach, though there are no users and no TLS yet.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Print one line of JSON once it serves.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of every command that serves a broker.
#[derive(Debug, Args)]
pub(crate) struct BrokerOptions {
    /// The folder of the store; made when it does not exist.
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub(crate) dir: PathBuf,
    /// When a send is acknowledged: `async` when it is written, `sync` when it survives a loss of power.
    #[arg(long, value_name = "MODE", default_value = "async")]
    pub(crate) flush: Flush,
    /// Size of the log's segment files, decided when the store is made: a multiple of 64K up to 2G; 1G if not said.
    #[arg(long, value_name = "BYTES", value_parser = super::segment)]
    pub(crate) segment_size: Option<u64>,
    /// The broker's name.
    #[arg(long, default_value = "broker-a", value_parser = super::name)]
    pub(crate) name: String,
    /// The cluster that the broker belongs to.
    #[arg(long, default_value = "DefaultCluster", value_parser = super::name)]
    pub(crate) cluster: String,
    /// The address that clients are told, if it is not the one the broker listens on.
    #[arg(long, value_name = "HOST:PORT", value_parser = super::remote)]
    pub(crate) advertise: Option<String>,
    /// Refuse sends to topics that were not created.
    #[arg(long)]
    pub(crate) no_auto_create_topic: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Flush {
    Async,
    Sync,
}

impl Serving {
    /// SEC-6: loopback only, unless the word is said; then it is logged at each start.
    pub(crate) fn check(&self, addresses: &[SocketAddr]) -> Result<(), Failure> {
        let Some(open) = addresses.iter().find(|a| !a.ip().to_canonical().is_loopback()) else { return Ok(()) };
        if !self.insecure {
            return Err(Failure::Usage(format!(
                "{open} can be reached by other machines, and there are no users and no TLS yet; \
                 choose 127.0.0.1, or say --insecure if only trusted machines reach it"
            )));
        }
        warn!("--insecure: whoever reaches {open} may read, write and administer everything");
        Ok(())
    }
}

/// The token that a page must present: `SKYLARK_TOKEN`, or a new one for this run.
pub(crate) fn token() -> Result<String, Failure> {
    if let Ok(token) = std::env::var("SKYLARK_TOKEN") {
        let plain = token.len() >= 16 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let sentence = "SKYLARK_TOKEN must have 16 or more letters, digits, - or _; set another, or unset it to get a new one each start";
        return plain.then_some(token).ok_or_else(|| Failure::Usage(sentence.into()));
    }
    let mut token = String::with_capacity(32);
    for byte in random::<16>()? {
        token.push(char::from(b"0123456789abcdef"[usize::from(byte >> 4)]));
        token.push(char::from(b"0123456789abcdef"[usize::from(byte & 15)]));
    }
    Ok(token)
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Failed(format!("this machine gives no random bytes: {error}")))?;
    Ok(bytes)
}

/// The address to print and to dial for one that was bound: a wildcard is reached through loopback.
pub(crate) fn reached(bound: SocketAddr) -> SocketAddr {
    let ip = match bound {
        SocketAddr::V4(a) if a.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(a) if a.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    SocketAddr::new(ip, bound.port())
}

/// The page's address with the token where no server sees it.
pub(crate) fn playground(namesrv: SocketAddr, token: &str) -> String {
    format!("http://{}/#token={token}", reached(namesrv))
}

/// Prints one line of JSON. Names and values need no escaping: addresses and tokens.
pub(crate) fn print_line(values: &[(&str, &str)]) {
    let values = values.iter().fold(String::new(), |out, (name, value)| out + "\"" + name + "\":\"" + value + "\",");
    println!("{{{values}\"pid\":{}}}", std::process::id());
}

/// Starts a NameServer on a bound port.
pub(crate) fn start_namesrv(port: Port, config: NamesrvConfig, site: Arc<Site>) {
    let clock = Clock::default();
    let machine = NameServer::new(config, clock.now());
    let pages = Arc::clone(&site);
    let engine = Engine::start(
        machine,
        None,
        false,
        clock,
        Box::new(move |note| {
            log(note);
            match note {
                Note::BrokerUp { address, .. } => pages.add_broker(address),
                Note::BrokerDown { address, .. } => pages.remove_broker(address),
                _ => {}
            }
        }),
    );
    tokio::spawn(port.serve(engine, site));
}

fn log(note: &Note) {
    match note {
        Note::Registered { namesrv } => info!(%namesrv, "registered"),
        Note::RegisterFailed { namesrv, why } => warn!(%namesrv, %why, "could not register; it is tried again"),
        Note::BrokerUp { broker, address } => info!(%broker, %address, "broker is up"),
        Note::BrokerDown { broker, address } => info!(%broker, %address, "broker is down"),
        Note::TopicCreated { topic } => info!(%topic, "topic created"),
        Note::StoreFailed { why } => {
            error!(%why, "the store failed: no more messages are taken; free or repair the disk and start again");
        }
        other => info!(?other, "note"),
    }
}

/// Waits for TERM or INT.
pub(crate) async fn wait_for_stop() -> Result<(), Failure> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// A broker that serves.
pub(crate) struct RunningBroker {
    engine: Arc<Engine<Broker<store::Log>>>,
    registered: watch::Receiver<bool>,
    volume: store::Volume,
}

/// An opened store and its tables.
pub(crate) struct OpenStore {
    store: store::Native,
    tables: Tables,
}

impl BrokerOptions {
    /// What people are told.
    pub(crate) fn summary(&self) -> String {
        let flush = match self.flush {
            Flush::Async => "async",
            Flush::Sync => "sync",
        };
        format!("{} in {}, {flush} flush, store in {}", self.name, self.cluster, self.dir.display())
    }

    /// Opens the store; long work shows its progress on stderr.
    pub(crate) async fn open(&self) -> Result<OpenStore, Failure> {
        let (dir, options) = (self.dir.clone(), store::Options { segment_size: self.segment_size });
        tokio::task::spawn_blocking(move || open_blocking(&dir, options)).await?
    }

    fn config(&self, bound: SocketAddr, namesrvs: Vec<String>) -> BrokerConfig {
        let advertised = self.advertise.as_ref().and_then(|a| a.parse().ok());
        BrokerConfig {
            name: self.name.clone(),
            cluster: self.cluster.clone(),
            host: advertised.unwrap_or(bound),
            advertise: self.advertise.clone(),
            namesrvs,
            flush: match self.flush {
                Flush::Async => FlushMode::Async,
                Flush::Sync => FlushMode::Sync,
            },
            auto_create_topic: !self.no_auto_create_topic,
            ..BrokerConfig::default()
        }
    }
}

fn open_blocking(dir: &Path, options: store::Options) -> Result<OpenStore, Failure> {
    let (started, mut shown) = (Instant::now(), 0);
    let opened = store::open(dir, options, |progress| {
        // Nothing for the first second; then a line a second.
        let seconds = started.elapsed().as_secs();
        if seconds > shown {
            shown = seconds;
            let (scanned, total) = (progress.scanned >> 20, progress.total >> 20);
            eprintln!(
                "opening {}: {scanned} of {total} MiB of the log, {} of {} queues",
                dir.display(),
                progress.queues,
                progress.queues_total
            );
        }
    })?;
    for line in store::tell(&opened.opened) {
        warn!("{line}");
    }
    let mut tables = Tables::default();
    for table in [Table::Topics, Table::ConsumerOffsets] {
        let versions = opened.volume.table(table)?;
        let readable = versions.iter().position(|bytes| tables.read(table, bytes).is_ok());
        if readable != Some(0) && !versions.is_empty() {
            let used = if readable.is_some() { "the version before it is used" } else { "starting without it" };
            warn!(?table, "a table in {} cannot be read: {used}", dir.join("config").display());
        }
    }
    Ok(OpenStore { store: opened, tables })
}

impl RunningBroker {
    /// Starts a broker over an opened store, on a bound port.
    pub(crate) fn start(
        options: &BrokerOptions,
        store: OpenStore,
        port: Port,
        namesrvs: Vec<String>,
        site: Arc<Site>,
    ) -> Result<Self, Failure> {
        let clock = Clock::default();
        let OpenStore { store: store::Native { log, volume, opened }, tables } = store;
        let seed = u64::from_ne_bytes(random()?);
        let config = options.config(port.address(), namesrvs);
        let machine = Broker::new(config, log, opened, tables, seed, clock.now());
        let (tell, registered) = watch::channel(false);
        let listener = move |note: &Note| {
            self::log(note);
            if matches!(note, Note::Registered { .. }) {
                tell.send_replace(true);
            }
        };
        let inline = matches!(options.flush, Flush::Sync);
        let engine = Engine::start(machine, Some(Arc::new(volume.clone())), inline, clock, Box::new(listener));
        tokio::spawn(port.serve(Arc::clone(&engine), site));
        Ok(Self { engine, registered, volume })
    }

    /// Waits until a NameServer knows the broker.
    pub(crate) async fn registered(&self) -> Result<(), Failure> {
        let mut registered = self.registered.clone();
        let known = tokio::time::timeout(PATIENCE, registered.wait_for(|known| *known)).await;
        if matches!(known, Ok(Ok(_))) {
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "the broker could not register with its NameServer within {} s; start with SKYLARK_LOG=info to see why",
            PATIENCE.as_secs()
        )))
    }

    /// Unregisters, flushes, saves, and says good-bye to the store.
    pub(crate) async fn stop(&self) -> Result<(), Failure> {
        info!("stopping");
        tokio::select! {
            whole = self.engine.stop(PATIENCE) => if whole {
                return self.volume.close().map_err(|error| {
                    Failure::Failed(format!("all is saved, but the store's folder cannot be left in good order: {error}"))
                });
            },
            again = wait_for_stop() => again?,
        }
        Err(Failure::Failed(
            "stopped before all was saved; what was acknowledged is recovered at the next start".into(),
        ))
    }
}
