//! `bench`: load-tests a server and reports throughput and latency.
//!
//! Knows the options and the progress bar; the load generator is `crate::bench`.

use super::escape::one_line;
use super::input::{json_arguments, seconds};
use super::output::{CommandResult, Exit, eprint_error, print};
use super::server_args::{report_error, suggest_methods};
use crate::bench::{self, BenchError, Pacing, Plan, Target};
use crate::client;
use crate::wire::Codec;
use crate::wire::limits::BODY_BYTES_MAX;
use clap::{Args, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// Payload sizes in bytes: with its length and preludes the largest still fits into a frame.
const BYTES: std::ops::RangeInclusive<i64> = 1..=(BODY_BYTES_MAX as i64 / 2);

/// Steps of the progress bar.
const STEPS: u64 = 1000;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// host, host:port or [IPv6]:port; the default port is 1352. A link-local address includes its zone:
    /// [fe80::1%eth0]:1352.
    #[arg(value_name = "ADDR")]
    address: String,
    /// Method to call. The load.* methods need Load_Service=1.
    #[arg(long, default_value = "load.echo")]
    method: String,
    /// Size of the argument, bincode bytes as load.echo and server.echo accept them.
    #[arg(long, default_value_t = 64, conflicts_with = "arguments", value_parser = value_parser!(u32).range(BYTES))]
    bytes: u32,
    /// Arguments to send instead, as JSON text.
    #[arg(long, value_name = "JSON")]
    arguments: Option<String>,
    /// Use no protocol: send --bytes and expect as many back, as from a plain echo server.
    #[arg(long, conflicts_with_all = ["method", "arguments", "deadline"])]
    raw: bool,
    /// Connections, all served by one thread.
    #[arg(long, short, default_value_t = 64, value_parser = value_parser!(u32).range(1..=19_000))]
    connections: u32,
    /// Calls in flight on each connection: a closed loop. 0 leaves the connections idle.
    #[arg(long, short = 'o', default_value_t = 1, value_parser = value_parser!(u32).range(0..=100_000))]
    out: u32,
    /// Calls per second over all connections, at random times: an open loop. Latency counts from the scheduled time.
    #[arg(long, conflicts_with = "out", value_parser = rate)]
    rate: Option<f64>,
    /// Deadline of each call in seconds, sent to the server. None by default.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    deadline: Option<Duration>,
    /// Seconds before the measurement begins.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    warm_up: Duration,
    /// Seconds of the measurement.
    #[arg(long, short, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    duration: Duration,
    /// Seed of the random times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the result as JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(super) fn run(self, program: &str) -> CommandResult {
        let target = self.target()?;
        // Only the first address of a host is used.
        let found = client::addresses(&self.address).map_err(|error| report_error(&error, &self.address))?;
        let address = found.into_iter().next().ok_or_else(|| {
            Exit::Environment.with_error(&format!("{}: the host has no address", self.address))
        })?;
        let plan = Plan {
            address,
            target,
            connections: self.connections as usize,
            pace: self.rate.map_or(Pacing::Closed(self.out as usize), Pacing::Open),
            warm_up: self.warm_up,
            duration: self.duration,
            deadline: self.deadline,
            seed: self.seed,
        };
        // Drawn on a terminal only, so it is absent from a redirected standard error.
        let bar = ProgressBar::new(STEPS);
        bar.set_style(
            ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}").expect("the template is constant"),
        );
        let outcome = bench::run(&plan, |share, answered| {
            bar.set_position((share * STEPS as f64) as u64);
            bar.set_message(format!("{answered} responses"));
        });
        bar.finish_and_clear();
        Ok(match outcome {
            Ok(outcome) if self.json => match serde_json::to_string(&outcome) {
                Ok(text) => print(&format!("{text}\n")),
                Err(error) => Exit::Environment.with_error(&error.to_string()),
            },
            Ok(outcome) => print(&format!("{outcome}\n")),
            Err(error) => {
                eprint_error(&one_line(&format!("{}: {error}", self.address)));
                match error {
                    BenchError::UnknownMethod { name, nearest } => {
                        suggest_methods(program, &self.address, &name, nearest.as_deref());
                        Exit::Input
                    }
                    BenchError::Refused(_) => Exit::ErrorResponse,
                    _ => Exit::Environment,
                }
            }
        })
    }

    fn target(&self) -> Result<Target, Exit> {
        let (codec, arguments) = match &self.arguments {
            _ if self.raw => return Ok(Target::Raw { bytes: self.bytes as usize }),
            Some(text) => (Codec::Json, json_arguments(text.clone())?.into_bytes()),
            None => {
                let mut bytes = u64::from(self.bytes).to_le_bytes().to_vec();
                bytes.resize(bytes.len() + self.bytes as usize, b'x');
                (Codec::Bincode, bytes)
            }
        };
        Ok(Target::Method { name: self.method.clone(), codec, arguments })
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e7).contains(&rate) => Ok(rate),
        _ => Err("expected calls per second, from 0.001 to 10000000".to_owned()),
    }
}
