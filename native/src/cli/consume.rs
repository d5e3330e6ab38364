//! `skylark consume`: prints the messages of a topic as they come.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;

use super::{Cluster, Failure};
use crate::client::{ConsumerEvent, From, Message};
use skylark_core::time::Unix;

/// Options of `skylark consume`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  skylark consume orders --from first --count 10\n  skylark consume orders --group billing --tags 'fruit || bread'\n\n\
    Without --group it only watches: every queue is read, and no progress is kept. Ctrl-C stops it."
)]
pub(crate) struct Consume {
    /// The topic.
    topic: String,
    #[command(flatten)]
    cluster: Cluster,
    /// The consumer group; its members share the queues, and it goes on where it stopped.
    #[arg(long)]
    group: Option<String>,
    /// Only messages with these tags: `A || B`.
    #[arg(long, default_value = "*")]
    tags: String,
    /// Where a new group starts: `last` (what comes from now on), `first`, or milliseconds since 1970.
    #[arg(long, default_value = "last", value_parser = from)]
    from: From,
    /// Stop after so many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop when nothing came for so many seconds.
    #[arg(long, value_name = "SECONDS")]
    idle: Option<u64>,
    /// Print one line of JSON for each message.
    #[arg(long)]
    json: bool,
}

fn from(text: &str) -> Result<From, String> {
    match text {
        "last" => Ok(From::Last),
        "first" => Ok(From::First),
        _ => text
            .parse()
            .map(|ms| From::Time(Unix(ms)))
            .map_err(|_| format!("{text:?} is not a place to start; write last, first, or milliseconds since 1970")),
    }
}

impl Consume {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.cluster.connect().await?;
        let group = self.group.clone().unwrap_or_else(|| format!("skylark-consume-{:x}", crate::client::seed()));
        let wanted = client.consumer(&group, &self.topic).tags(&self.tags).from(self.from).prefetch(256);
        // Without a group nobody comes back to its progress, so none is kept.
        let mut consumer = if self.group.is_none() { wanted.broadcast() } else { wanted }.start()?;
        let show_state = std::io::stderr().is_terminal();
        let mut count = 0;
        let mut result = Ok(());
        // One wait for all, so that no signal falls between two.
        let mut stop = std::pin::pin!(super::serve::wait_for_stop());
        while self.count.is_none_or(|max| count < max) {
            let idle = async {
                match self.idle {
                    Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                event = consumer.next_event() => event,
                () = idle => break,
                stopped = &mut stop => {
                    result = stopped;
                    break;
                }
            };
            match event {
                Some(ConsumerEvent::Message(message)) => {
                    count += 1;
                    let line = if self.json { json(&message) } else { plain(&message) };
                    if !super::say(&line) {
                        break;
                    }
                    message.ack();
                }
                Some(ConsumerEvent::Assigned(queues)) if show_state => {
                    let (topic, queues) = (&self.topic, queues.len());
                    match (&self.group, self.from) {
                        (Some(group), _) => eprintln!("reading {queues} queues of topic '{topic}' in group '{group}'"),
                        (None, From::Last) => {
                            eprintln!(
                                "watching {queues} queues of topic '{topic}'; --from first shows what is there already"
                            );
                        }
                        (None, _) => eprintln!("watching {queues} queues of topic '{topic}'"),
                    }
                }
                Some(ConsumerEvent::Assigned(_)) => {}
                Some(ConsumerEvent::Trouble(error)) => eprintln!("waiting: {error}"),
                None => break,
            }
        }
        consumer.close().await;
        client.close().await;
        result
    }
}

fn plain(message: &Message) -> String {
    let mut line = format!("{}@{}", message.queue, message.offset);
    if let Some(tag) = message.tag() {
        let _ = write!(line, " [{tag}]");
    }
    for key in message.keys() {
        let _ = write!(line, " #{key}");
    }
    match (&message.body, message.text()) {
        (_, Some(text)) => {
            let _ = write!(line, " {}", text.escape_debug());
        }
        (Ok(body), None) => {
            let _ = write!(line, " ({} bytes) {}", body.len(), hex(body));
        }
        (Err(error), None) => {
            let _ = write!(line, " ({error})");
        }
    }
    line
}

fn hex(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(64)];
    let mut out = shown.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    });
    if shown.len() < bytes.len() {
        out.push('…');
    }
    out
}

fn json(message: &Message) -> String {
    let body = match (&message.body, message.text()) {
        (_, Some(text)) => serde_json::json!(text),
        (Ok(body), None) => serde_json::json!({ "hex": body.iter().fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        }) }),
        (Err(error), None) => serde_json::json!({ "error": error.to_string() }),
    };
    serde_json::json!({
        "topic": &*message.topic,
        "broker": &*message.queue.broker,
        "queue": message.queue.id,
        "offset": message.offset,
        "messageId": message.message_id,
        "offsetMessageId": message.offset_message_id,
        "tag": message.tag(),
        "keys": message.keys().collect::<Vec<_>>(),
        "body": body,
        "properties": message.properties,
        "bornAt": message.born.0,
        "storedAt": message.stored.0,
        "bornHost": message.born_host.to_string(),
        "storeHost": message.store_host.to_string(),
        "reconsumeTimes": message.reconsume_times,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_start_is_a_word_or_a_time() {
        assert_eq!(
            (from("last"), from("first"), from("5")),
            (Ok(From::Last), Ok(From::First), Ok(From::Time(Unix(5))))
        );
        assert!(from("yesterday").expect_err("no date").contains("milliseconds"));
    }

    #[test]
    fn bytes_are_shown_up_to_a_line() {
        assert_eq!(hex(&[0, 255]), "00ff");
        assert_eq!(hex(&[1; 65]).chars().count(), 129);
    }
}
