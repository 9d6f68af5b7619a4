//! `call`: any method of a running server, by its name, in JSON. No method is compiled in.

use super::escape::{self, one_line};
use super::input::{json_arguments, point_at_error};
use super::json;
use super::output::{CommandResult, Exit, eprint_error, print, print_with};
use super::server_args::{ServerArgs, report_error, suggest_methods};
use crate::client::{ClientError, Times};
use crate::service::suggest::{nearest, suggestion};
use clap::Args;

/// Arguments of `call`.
#[derive(Debug, Args)]
pub(super) struct CallCommand {
    #[command(flatten)]
    server: ServerArgs,
    /// Wait until the server is reachable, within the timeout.
    #[arg(long)]
    wait: bool,
    /// service.method
    method: String,
    /// Arguments of the method; `-` reads them from standard input.
    #[arg(default_value = "null", allow_hyphen_values = true, value_parser = no_option)]
    json: String,
    /// Further arguments; accepted so that the error names a mistyped option and not its value.
    #[arg(hide = true)]
    rest: Vec<String>,
    /// Print to standard error how long the call waited in the queue, waited for a permit, and ran.
    #[arg(long)]
    times: bool,
    /// Print each element of the result on a line of its own.
    #[arg(long)]
    pretty: bool,
}

impl CallCommand {
    pub(super) fn run(self, program: &str) -> CommandResult {
        let arguments = json_arguments(self.json)?;
        if let Some(more) = self.rest.first() {
            return Err(Exit::Input.with_error(&one_line(&format!(
                "unexpected argument {more:?}: the arguments of a call are one JSON text"
            ))));
        }
        let client = self.server.client_with(self.wait);
        Ok(match client.and_then(|client| client.call_json_timed(&self.method, &arguments)) {
            Ok(reply) => {
                if self.times {
                    print_times(reply.times);
                }
                let result = escape::json(&reply.response);
                match self.pretty {
                    true => print_with(|out| {
                        json::pretty(&result, out)?;
                        out.write_all(b"\n")
                    }),
                    false => print(&format!("{result}\n")),
                }
            }
            Err(error) => {
                let exit = report_error(&error, &self.server.address);
                match &error {
                    ClientError::BadRequest(message) => point_at_error(&arguments, message),
                    ClientError::UnknownMethod { name, nearest } => {
                        suggest_methods(program, &self.server.address, name, nearest.as_deref());
                    }
                    _ => {}
                }
                exit
            }
        })
    }
}

/// Accepts text that may be JSON. No JSON begins with two hyphens; a mistyped option does.
fn no_option(text: &str) -> Result<String, String> {
    let Some(option) = text.strip_prefix("--") else { return Ok(text.to_owned()) };
    let name = option.split_once('=').map_or(option, |(name, _)| name);
    let known = CallCommand::augment_args(clap::Command::new("call"));
    let names = known.get_arguments().filter_map(|argument| argument.get_long());
    let near = nearest(name, names).map(|near| format!("--{near}"));
    Err(format!("neither JSON nor an option{}", suggestion(near.as_deref())))
}

fn print_times(Times { queue_wait, permit_wait, run }: Times) {
    eprint_error(&format!("queue wait {queue_wait:?}, permit wait {permit_wait:?}, run {run:?}"));
}
