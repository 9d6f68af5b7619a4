//! `call` and `methods`: any method of a running server, by its name, in JSON. Nothing of it is compiled in.
//!
//! Knows the client library and how its errors read to a person: first whose fault it is, then what, then what to do.

use super::escape::{self, one_line};
use super::{Exit, eprint_error, json, print, print_by, seconds, stubs, without_mark};
use crate::client::{Blame, Client, ClientError, ClientOptions, DeadlineSource, Times};
use crate::service::builtin::{MethodSchema, ShapeTexts};
use crate::service::suggest::{nearest, suggestion};
use crate::wire::limits::BODY_BYTES_MAX;
use clap::Args;
use serde::de::IgnoredAny;
use std::io::{self, Read};
use std::time::Duration;

/// Where a server is.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// host, host:port or [IPv6]:port; the port is 1352 where it is left out. A link-local address has its zone:
    /// [fe80::1%eth0]:1352.
    #[arg(value_name = "ADDR")]
    pub(super) address: String,
    /// How long to wait for the answer, connecting included.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
}

/// Arguments of `call`.
#[derive(Debug, Args)]
pub(super) struct Call {
    #[command(flatten)]
    server: Server,
    /// Wait for the server if it is not there, until the timeout.
    #[arg(long)]
    wait: bool,
    /// service.method
    method: String,
    /// The method's arguments; `-` reads them from standard input.
    #[arg(default_value = "null", allow_hyphen_values = true, value_parser = no_option)]
    json: String,
    /// What follows them; taken so that a mistyped option, not its value, is what is told.
    #[arg(hide = true)]
    rest: Vec<String>,
    /// Say on standard error how long the call waited in the queue, waited for a permit, and ran.
    #[arg(long)]
    times: bool,
    /// Each element of the result on a line of its own.
    #[arg(long)]
    pretty: bool,
}

/// Arguments of `methods`.
#[derive(Debug, Args)]
pub(super) struct Methods {
    #[command(flatten)]
    server: Server,
    /// One JSON array instead; with --schema an object.
    #[arg(long)]
    json: bool,
    /// With what each takes and gives.
    #[arg(long)]
    schema: bool,
}

impl Call {
    pub(super) fn run(self, program: &str) -> Exit {
        let arguments = match arguments(self.json) {
            Ok(arguments) => arguments,
            Err(exit) => return exit,
        };
        if let Some(more) = self.rest.first() {
            eprint_error(&one_line(&format!(
                "unexpected argument {more:?}: the arguments of a call are one JSON text"
            )));
            return Exit::Given;
        }
        let client = self.server.client_that(self.wait);
        match client.and_then(|client| client.call_json_timed(&self.method, &arguments)) {
            Ok(reply) => {
                if self.times {
                    say_times(reply.times);
                }
                let result = escape::json(&reply.response);
                match self.pretty {
                    true => print_by(|out| {
                        json::pretty(&result, out)?;
                        out.write_all(b"\n")
                    }),
                    false => print(&format!("{result}\n")),
                }
            }
            Err(error) => {
                let exit = say_error(&error, &self.server.address);
                match &error {
                    ClientError::BadRequest(message) => point(&arguments, message),
                    ClientError::UnknownMethod { name, nearest } => {
                        say_what_there_is(program, &self.server.address, name, nearest.as_deref());
                    }
                    _ => {}
                }
                exit
            }
        }
    }
}

impl Methods {
    pub(super) fn run(self, _: &str) -> Exit {
        if self.schema {
            return self.schemas();
        }
        match self.server.client().and_then(|client| client.methods()) {
            Ok(names) if self.json => print(&format!("{}\n", serde_json::json!(names))),
            Ok(names) => print(&names.iter().map(|name| format!("{}\n", one_line(name))).collect::<String>()),
            Err(error) => say_error(&error, &self.server.address),
        }
    }
}

impl Methods {
    /// A line for each method: `notes.read u64 -> Note { title: text }`, and one more where JSON's types are others.
    fn schemas(self) -> Exit {
        match self.server.client().and_then(|client| stubs::schemas(&client)) {
            Ok(schemas) if self.json => print(&format!("{}\n", serde_json::json!(schemas))),
            Ok(schemas) => {
                print(&schemas.iter().map(|(name, schema)| lines(name, schema)).collect::<String>())
            }
            Err(error) => say_error(&error, &self.server.address),
        }
    }
}

fn lines(name: &str, schema: &MethodSchema) -> String {
    let line = |mark: &str, texts: &ShapeTexts| {
        let text = format!("{name}{mark} {} -> {}", texts.request, texts.response);
        format!("{}\n", one_line(&text))
    };
    match (&schema.bincode, &schema.json) {
        (Some(bincode), Some(json)) if bincode == json => line("", bincode),
        (Some(bincode), Some(json)) => line("", bincode) + &line(" (JSON)", json),
        (Some(bincode), None) => line("", bincode),
        (None, Some(json)) => line(" (JSON only)", json),
        (None, None) => format!("{}\n", one_line(&format!("{name} ?: {}", schema.unknown))),
    }
}

impl Server {
    pub(super) fn client(&self) -> Result<Client, ClientError> {
        self.client_that(false)
    }

    /// One that waits for its server, or is told at once that there is none.
    fn client_that(&self, waits: bool) -> Result<Client, ClientError> {
        let name = concat!("boneyard call ", env!("CARGO_PKG_VERSION"));
        let options = ClientOptions::default().deadline(self.timeout).name(name).wait_for_server(waits);
        Client::with_options(&self.address, options)
    }
}

/// Arguments that may be JSON. No JSON begins with two hyphens; an option that is mistyped does.
fn no_option(text: &str) -> Result<String, String> {
    let Some(option) = text.strip_prefix("--") else { return Ok(text.to_owned()) };
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    let known = Call::augment_args(clap::Command::new("call"));
    let names = known.get_arguments().filter_map(|argument| argument.get_long());
    let near = nearest(name, names).map(|near| format!("--{near}"));
    Err(format!("neither JSON nor an option{}", suggestion(near.as_deref())))
}

/// The arguments as JSON text, read from where they are and known to be JSON: the server is not troubled with less.
pub(super) fn arguments(given: String) -> Result<String, Exit> {
    let text = if given == "-" { without_mark(read_standard_input()?) } else { given };
    match serde_json::from_str::<IgnoredAny>(&text) {
        Ok(_) => Ok(text.trim().to_owned()),
        Err(error) => {
            let error = error.to_string();
            eprint_error(&format!("the arguments are not JSON: {error}"));
            point(&text, &error);
            Err(Exit::Given)
        }
    }
}

fn read_standard_input() -> Result<String, Exit> {
    let mut text = String::new();
    // A byte more than any server takes, so that more is not read than is needed to see that it is too much.
    match io::stdin().lock().take(BODY_BYTES_MAX as u64 + 1).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => {
            eprint_error(&format!("cannot read the arguments from standard input: {error}"));
            Err(Exit::Surroundings)
        }
    }
}

/// What to do about a method that a server has not.
pub(super) fn say_what_there_is(program: &str, address: &str, name: &str, nearest: Option<&str>) {
    let is_of_load = |name: &str| name.starts_with("load.");
    if is_of_load(name) && !nearest.is_some_and(is_of_load) {
        eprint_error("it has the load.* methods with Load_Service=1 among its settings");
    }
    eprint_error(&format!("`{program} methods {address}` lists those it has"));
}

fn point(json: &str, message: &str) {
    if let Some(lines) = json::point_at(json, message) {
        eprint_error(&lines);
    }
}

fn say_times(Times { queue_wait, permit_wait, run }: Times) {
    eprint_error(&format!("queue wait {queue_wait:?}, permit wait {permit_wait:?}, run {run:?}"));
}

/// Did the call find nobody to be sent to?
fn is_unconnected(error: &ClientError) -> bool {
    let lost = matches!(error, ClientError::Disconnected { may_have_run: false, .. });
    lost || is_too_late(error) || matches!(error, ClientError::Connect { .. } | ClientError::NoThread(_))
}

/// Was the time over before there was a connection? The only call of a client waits for nothing else before it is sent.
fn is_too_late(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::DeadlineExceeded { detected_by: DeadlineSource::Client, may_have_run: false }
    )
}

/// Says whose fault it is and what happened to a call to this address.
pub(super) fn say_error(error: &ClientError, address: &str) -> Exit {
    let whose = match error.blame() {
        _ if is_unconnected(error) => "no connection",
        Blame::Caller => "wrong call",
        Blame::Server => "defect of the server",
        Blame::Environment => "no answer",
        Blame::Application => "the service says no",
        Blame::Overload => "not now",
    };
    // A service's own words are one line here, so that none of them passes for a line of ours.
    let words = match is_too_late(error) {
        true => format!("cannot connect to {address}: not connected in time"),
        false => error.to_string(),
    };
    eprint_error(&format!("{whose}: {}", one_line(&words)));
    match error.blame() {
        Blame::Caller => Exit::Given,
        Blame::Environment if error.never_started() => Exit::Surroundings,
        Blame::Environment => Exit::NoAnswer,
        Blame::Server | Blame::Application | Blame::Overload => Exit::Answer,
    }
}
