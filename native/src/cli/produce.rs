//! `skylark produce`: sends what is on the command line, or each line of standard input.

use std::time::Instant;

use clap::Args;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use super::{Cluster, Failure};
use crate::client::{ClientError, OutgoingMessage, Producer, SendOptions, SendResult};

/// Lines of standard input that are sent at once. They may then be stored in another order.
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
    /// Messages, sent one after the other; without any, each line of standard input is one.
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
    fn message(&self, body: String) -> OutgoingMessage {
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
            match producer.send_with(self.message(body.clone()), options).await {
                Ok(result) => self.show(&result),
                Err(error) => return (sent, Err(error.into())),
            }
            sent += 1;
        }
        (sent, Ok(()))
    }

    async fn lines(&self, producer: &Producer, options: &SendOptions) -> (u64, Result<(), Failure>) {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let mut sending = JoinSet::new();
        let (mut sent, mut result) = (0, Ok(()));
        loop {
            let line = match lines.next_line().await {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    result = Err(Failure::Failed(format!("standard input cannot be read: {error}")));
                    break;
                }
            };
            if line.is_empty() {
                continue;
            }
            if sending.len() >= AT_ONCE
                && let Some(done) = sending.join_next().await
                && let Err(failure) = self.count(done, &mut sent)
            {
                result = Err(failure);
                break;
            }
            let (producer, message, options) = (producer.clone(), self.message(line), options.clone());
            sending.spawn(async move { producer.send_with(message, &options).await });
        }
        while let Some(done) = sending.join_next().await {
            let counted = self.count(done, &mut sent);
            result = result.and(counted);
        }
        (sent, result)
    }

    fn count(
        &self,
        done: Result<Result<SendResult, ClientError>, tokio::task::JoinError>,
        sent: &mut u64,
    ) -> Result<(), Failure> {
        let result = done??;
        *sent += 1;
        self.show(&result);
        Ok(())
    }
}
