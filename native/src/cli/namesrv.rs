//! `skylark namesrv`: a NameServer and the playground.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use skylark_core::namesrv::NamesrvConfig;

use super::Failure;
use super::serve::{self, Serving, playground, reached, start_namesrv};
use crate::http::Site;
use crate::listen::Port;

/// Options of `skylark namesrv`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  skylark namesrv --listen 127.0.0.1:9876\n\n\
    For a page to reach brokers of other processes, give all of them the same SKYLARK_TOKEN and the brokers --origin.")]
pub(crate) struct Namesrv {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9876", value_parser = super::address)]
    listen: SocketAddr,
    #[command(flatten)]
    serving: Serving,
}

impl Namesrv {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.serving.check(&[self.listen])?;
        let port = Port::bind(self.listen, "--listen").await?;
        let (address, token) = (port.address(), serve::token()?);
        let site = Arc::new(Site::new(true, token.clone(), vec![address], &self.serving.origin));
        start_namesrv(port, NamesrvConfig::default(), site);
        let page = playground(address, &token);
        if self.serving.json {
            serve::print_line(&[("namesrv", &reached(address).to_string()), ("playground", &page)]);
        } else {
            println!("The NameServer serves at {}; stop it with Ctrl-C.\n  Playground  {page}", reached(address));
        }
        serve::wait_for_stop().await
    }
}
