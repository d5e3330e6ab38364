//! `skylark topic`: lists, creates and looks at topics.

use clap::{Args, Subcommand};
use skylark_core::wire::request::TopicConfig;

use super::{Cluster, Failure};
use crate::client::Client;

/// Options of `skylark topic`.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Examples:\n  skylark topic list\n  skylark topic create orders --queues 8\n  skylark topic stats orders"
)]
pub(crate) struct Topic {
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Print the names of all topics.
    #[command(after_help = "Example:\n  skylark topic list --namesrv 127.0.0.1:9876")]
    List {
        #[command(flatten)]
        cluster: Cluster,
        /// Print one line of JSON.
        #[arg(long)]
        json: bool,
    },
    /// Create a topic, or change it.
    #[command(after_help = "Example:\n  skylark topic create orders --queues 8")]
    Create {
        /// The topic.
        topic: String,
        #[command(flatten)]
        cluster: Cluster,
        /// Queues on each broker, to read and to write.
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=65_535))]
        queues: i32,
        /// What clients may do: `rw`, `r` or `w`.
        #[arg(long, default_value = "rw", value_parser = perm)]
        perm: i32,
        /// Only on this broker, by name or HOST:PORT; otherwise on all.
        #[arg(long)]
        broker: Option<String>,
    },
    /// Print the first and the next offset of each queue.
    #[command(after_help = "Example:\n  skylark topic stats orders")]
    Stats {
        /// The topic.
        topic: String,
        #[command(flatten)]
        cluster: Cluster,
        /// Print one line of JSON.
        #[arg(long)]
        json: bool,
    },
}

fn perm(text: &str) -> Result<i32, String> {
    match text {
        "rw" => Ok(6),
        "r" => Ok(4),
        "w" => Ok(2),
        _ => Err(format!("{text:?} is not a permission; write rw, r or w")),
    }
}

impl Topic {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            TopicCommand::List { cluster, json } => {
                let client = cluster.connect().await?;
                let topics = client.admin().topics().await;
                client.close().await;
                let topics = topics?;
                if json {
                    super::say(&serde_json::json!(topics).to_string());
                } else {
                    super::say(&topics.join("\n"));
                }
                Ok(())
            }
            TopicCommand::Create { topic, cluster, queues, perm, broker } => {
                let client = cluster.connect().await?;
                let config = TopicConfig {
                    name: topic.clone(),
                    read_queues: queues,
                    write_queues: queues,
                    perm,
                    sys_flag: 0,
                    order: false,
                    filter_type: "SINGLE_TAG".to_owned(),
                    attributes: Vec::new(),
                };
                let created = client.admin().create_topic(config, broker.as_deref()).await;
                client.close().await;
                created?;
                let place = broker.as_deref().unwrap_or("each broker");
                let queues = if queues == 1 { "1 queue".to_owned() } else { format!("{queues} queues") };
                super::say(&format!("topic {topic} has {queues} on {place}"));
                Ok(())
            }
            TopicCommand::Stats { topic, cluster, json } => {
                let client = cluster.connect().await?;
                let shown = stats(&client, &topic, json).await;
                client.close().await;
                super::say(&shown?);
                Ok(())
            }
        }
    }
}

async fn stats(client: &Client, topic: &str, json: bool) -> Result<String, Failure> {
    let queues = client.admin().topic_stats(topic).await?;
    if json {
        let rows: Vec<_> = queues
            .iter()
            .map(|range| {
                serde_json::json!({
                    "broker": &*range.queue.broker,
                    "queue": range.queue.id,
                    "min": range.min,
                    "max": range.max,
                    "lastUpdate": range.last_update.map(|at| at.0),
                })
            })
            .collect();
        return Ok(serde_json::json!(rows).to_string());
    }
    let width = queues.iter().map(|range| range.queue.broker.len()).max().unwrap_or(0).max("broker".len());
    let mut lines =
        vec![format!("{:width$}  {:>5}  {:>12}  {:>12}  {:>12}", "broker", "queue", "min", "max", "messages")];
    let mut total = 0;
    for range in &queues {
        let messages = range.max.saturating_sub(range.min);
        total += messages;
        lines.push(format!(
            "{:width$}  {:>5}  {:>12}  {:>12}  {:>12}",
            range.queue.broker, range.queue.id, range.min, range.max, messages
        ));
    }
    lines.push(format!("{:width$}  {:>5}  {:>12}  {:>12}  {:>12}", "all", queues.len(), "", "", total));
    Ok(lines.join("\n"))
}
