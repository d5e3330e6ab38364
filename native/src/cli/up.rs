//! `skylark up`: a NameServer, a broker and the playground in one process.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use skylark_core::namesrv::NamesrvConfig;

use super::Failure;
use super::serve::{self, BrokerOptions, RunningBroker, Serving, playground, reached, start_namesrv};
use crate::http::Site;
use crate::listen::Port;

/// Options of `skylark up`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  skylark up --dir ./data --flush sync\n  skylark up --namesrv 127.0.0.1:0 --broker 127.0.0.1:0 --json\n\n\
    Any RocketMQ client then uses 127.0.0.1:9876 as its NameServer address."
)]
pub(crate) struct Up {
    /// Where the NameServer and the playground listen; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9876", value_parser = super::address)]
    namesrv: SocketAddr,
    /// Where the broker listens; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10911", value_parser = super::address)]
    broker: SocketAddr,
    #[command(flatten)]
    options: BrokerOptions,
    #[command(flatten)]
    serving: Serving,
}

impl Up {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.serving.check(&[self.namesrv, self.broker])?;
        let namesrv_port = Port::bind(self.namesrv, "--namesrv").await?;
        let broker_port = Port::bind(self.broker, "--broker").await?;
        let (namesrv, broker) = (namesrv_port.address(), broker_port.address());
        let token = serve::token()?;
        let site = |page| Arc::new(Site::new(page, token.clone(), vec![namesrv], &self.serving.origin));
        let wildcard = broker.ip().is_unspecified() && self.options.advertise.is_none();
        let config =
            NamesrvConfig { wildcard_brokers: wildcard.then(|| self.options.name.clone()).into_iter().collect() };
        let opened = self.options.open().await?;
        start_namesrv(namesrv_port, config, site(true));
        let running =
            RunningBroker::start(&self.options, opened, broker_port, vec![reached(namesrv).to_string()], site(false))?;
        running.registered().await?;
        let page = playground(namesrv, &token);
        if self.serving.json {
            let (namesrv, broker) = (reached(namesrv).to_string(), reached(broker).to_string());
            serve::print_line(&[("namesrv", &namesrv), ("broker", &broker), ("playground", &page)]);
        } else {
            println!("Skylark serves; stop it with Ctrl-C.");
            println!("  NameServer  {}", reached(namesrv));
            println!("  Broker      {} ({})", reached(broker), self.options.summary());
            println!("  Playground  {page}");
        }
        serve::wait_for_stop().await?;
        running.stop().await
    }
}
