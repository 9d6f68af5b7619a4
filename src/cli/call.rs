//! `call`: any method of a running server, by its name, in JSON; on request in a session that outlives the process. No
//! method is compiled in but that which closes such a session.

use super::escape::{self, one_line};
use super::input::{json_arguments, point_at_error};
use super::json;
use super::output::{CommandResult, Exit, eprint_error, print, print_with};
use super::server_args::{ServerArgs, report_error, suggest_methods};
use super::session_file::{SessionFile, session_name};
use crate::client::{Client, ClientError, Reply, ServerAddress, Times};
use crate::service::session::CLOSE;
use crate::service::suggest::{nearest, suggestion};
use clap::Args;
use std::io::Error;

/// Arguments of `call`.
#[derive(Debug, Args)]
pub(super) struct CallCommand {
    #[command(flatten)]
    server: ServerArgs,
    /// Wait until the server is reachable, within the timeout.
    #[arg(long)]
    wait: bool,
    /// Make the call in a session of this name, which the first such call opens and session.close closes.
    ///
    /// What handlers keep for a session is there again at the next call with the same name, address and user.
    #[arg(long, value_name = "NAME", value_parser = session_name)]
    session: Option<String>,
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
    pub(super) fn run(mut self, program: &str) -> CommandResult {
        let arguments = json_arguments(std::mem::take(&mut self.json))?;
        if let Some(more) = self.rest.first() {
            return Err(Exit::Input.with_error(&one_line(&format!(
                "unexpected argument {more:?}: the arguments of a call are one JSON text"
            ))));
        }
        let client = self.server.client_with(self.wait);
        let reply = match (client, &self.session) {
            (Ok(client), Some(name)) => self.call_in_session(&client, name, &arguments)?,
            (client, _) => client.and_then(|client| client.call_json_timed(&self.method, &arguments)),
        };
        Ok(match reply {
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

impl CallCommand {
    /// Makes the call in the session of this name, opened if there is none.
    ///
    /// # Errors
    /// The exit, after a message, where the session could not be used or the call was to close it.
    fn call_in_session(
        &self,
        client: &Client,
        name: &str,
        arguments: &str,
    ) -> Result<Result<Reply<String>, ClientError>, Exit> {
        let failed = |error: Error| Exit::Environment.with_error(&format!("session {name:?}: {error}"));
        let address: ServerAddress = match self.server.address.parse() {
            Ok(address) => address,
            Err(error) => return Ok(Err(error)),
        };
        let mut file = SessionFile::open(name, &address).map_err(failed)?;
        let ticket = file.ticket().map_err(failed)?;
        let closes = self.method == CLOSE.name();
        if closes && (ticket.is_none() || arguments != "null") {
            return Err(Exit::Input.with_error(&match ticket {
                None => format!("there is no session {name:?} to close"),
                Some(_) => format!("{} takes nothing with --session: it closes that session", self.method),
            }));
        }
        let session = match ticket {
            Some(ticket) => client.attach(ticket),
            None => client.session(),
        };
        let reply = match session {
            Ok(session) if closes => match session.close() {
                Ok(()) => return Err(file.keep(None).map_or_else(failed, |()| print("null\n"))),
                Err(error) => Err(error),
            },
            Ok(session) => {
                // Before the call: it may be the last that this process does.
                let kept = file.keep(Some(session.ticket()));
                let reply = kept.map(|()| session.client().call_json_timed(&self.method, arguments));
                session.detach();
                reply.map_err(failed)?
            }
            Err(error) => Err(error),
        };
        if matches!(reply, Err(ClientError::UnknownSession)) {
            file.keep(None).map_err(failed)?;
            return Err(Exit::Input.with_error(&format!(
                "session {name:?} has ended, and what the server kept for it is gone: it was not used for \
                 Server_Session_Timeout, or was closed, or the server was restarted; the next call opens a new one"
            )));
        }
        Ok(reply)
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
