//! `skylark produce`: sends what is on the command line, or each line of standard input.

use std::time::Instant;

use clap::Args;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{Cluster, Failure};
use crate::client::{OutgoingMessage, Producer, SendOptions, SendResult};

/// Lines of standard input that are under way at once. They are stored in their order, unless one is sent again.
const AT_ONCE: usize = 64;

/// Options of `skylark produce`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skylark produce orders 'one apple' --tag fruit --key order-1\n  seq 1000 | skylark produce orders\n\n\
    Each message has a line of its own: status, message id, topic/broker/queue@offset."
)]
pub(crate) struct Produce {
    /// The topic.
    topic: String,
    /// Messages, sent one after the other; without any, each line of standard input that is not empty is one.
    message: Vec<String>,
    #[command(flatten)]
    cluster: Cluster,
    /// The tag that consumers select by.
    #[arg(long)]
    tag: Option<String>,
    /// A key that the messages can be found by; may be repeated.
    #[arg(long)]
    key: Vec<String>,
    /// A further property; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = property)]
    property: Vec<(String, String)>,
    /// The producer group.
    #[arg(long, default_value = "skylark-produce")]
    group: String,
    /// How long a message may take, all attempts together, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 3_000)]
    timeout: u64,
    /// Print only the summary.
    #[arg(long, short)]
    quiet: bool,
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not a property; write NAME=VALUE")),
    }
}

impl Produce {
    fn message(&self, body: impl Into<Vec<u8>>) -> OutgoingMessage {
        let mut message = OutgoingMessage::new(self.topic.as_str(), body);
        message.tag.clone_from(&self.tag);
        message.keys.clone_from(&self.key);
        message.properties = self.property.iter().cloned().collect();
        message
    }

    fn show(&self, result: &SendResult) {
        if !self.quiet {
            let offset = result.offset.map_or("?".to_owned(), |offset| offset.to_string());
            super::say(&format!("{} {} {}@{offset}", result.status.name(), result.message_id, result.queue));
        }
    }

    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.cluster.connect().await?;
        let producer = client.producer(&self.group)?;
        let options = SendOptions { timeout: Some(self.timeout), ..SendOptions::default() };
        let started = Instant::now();
        let (sent, result) = if self.message.is_empty() {
            self.lines(&producer, &options).await
        } else {
            self.arguments(&producer, &options).await
        };
        client.close().await;
        let seconds = started.elapsed().as_secs_f64();
        // One message has its own line, and none at all is told by the failure.
        let told = sent == 1 || (sent == 0 && result.is_err());
        if self.quiet || !told {
            eprintln!("{sent} messages sent in {seconds:.2} s");
        }
        result
    }

    async fn arguments(&self, producer: &Producer, options: &SendOptions) -> (u64, Result<(), Failure>) {
        let mut sent = 0;
        for body in &self.message {
            match producer.send_with(self.message(body.as_str()), options).await {
                Ok(result) => self.show(&result),
                Err(error) => return (sent, Err(error.into())),
            }
            sent += 1;
        }
        (sent, Ok(()))
    }

    async fn lines(&self, producer: &Producer, options: &SendOptions) -> (u64, Result<(), Failure>) {
        let mut lines = BufReader::new(tokio::io::stdin()).split(b'\n');
        // Polled for the first time in the order in which they were pushed, so they leave in it, and are shown in it.
        let mut sending = FuturesOrdered::new();
        let (mut sent, mut result, mut more) = (0, Ok(()), true);
        while more || !sending.is_empty() {
            tokio::select! {
                biased;
                Some(done) = sending.next() => match done {
                    Ok(done) => {
                        sent += 1;
                        self.show(&done);
                    }
                    Err(error) => {
                        more = false;
                        result = result.and(Err(Failure::from(error)));
                    }
                },
                line = lines.next_segment(), if more && sending.len() < AT_ONCE => match line {
                    Ok(Some(line)) => {
                        let body = line.strip_suffix(b"\r").unwrap_or(&line);
                        if !body.is_empty() {
                            sending.push_back(producer.send_with(self.message(body), options));
                        }
                    }
                    Ok(None) => more = false,
                    Err(error) => {
                        more = false;
                        result = Err(Failure::Failed(format!("standard input cannot be read: {error}")));
                    }
                },
            }
        }
        (sent, result)
    }
}
