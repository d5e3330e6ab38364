//! `skylark broker`: a broker that registers with NameServers elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;

use super::Failure;
use super::serve::{self, BrokerOptions, RunningBroker, Serving, reached};
use crate::http::Site;
use crate::listen::Port;

/// Options of `skylark broker`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  skylark broker --namesrv \"10.0.0.1:9876;10.0.0.2:9876\" --listen 10.0.0.3:10911 --insecure\n\n\
    For a page of a NameServer elsewhere, give both the same SKYLARK_TOKEN and the broker --origin http://10.0.0.1:9876."
)]
pub(crate) struct Broker {
    /// The NameServers to register with, separated by `;`.
    #[arg(long, value_name = "HOST:PORT;...", value_parser = super::namesrvs, default_value = "127.0.0.1:9876")]
    namesrv: ::std::vec::Vec<String>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10911", value_parser = super::address)]
    listen: SocketAddr,
    #[command(flatten)]
    options: BrokerOptions,
    #[command(flatten)]
    serving: Serving,
}

impl Broker {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.serving.check(&[self.listen])?;
        let port = Port::bind(self.listen, "--listen").await?;
        let address = port.address();
        let site = Arc::new(Site::new(false, serve::token()?, vec![], &self.serving.origin));
        let opened = self.options.open().await?;
        let running = RunningBroker::start(&self.options, opened, port, self.namesrv.clone(), site)?;
        if self.serving.json {
            serve::print_line(&[("broker", &reached(address).to_string())]);
        } else {
            println!("The broker serves at {} ({}); stop it with Ctrl-C.", reached(address), self.options.summary());
        }
        serve::wait_for_stop().await?;
        running.stop().await
    }
}
