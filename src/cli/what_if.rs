//! `whatif`: what the present load of a running server would do under other settings. The server simulates it; the
//! console's command of the same name is the whole interface.

use super::admin_args::AdminArgs;
use super::identity::Identity;
use super::input::seconds;
use super::output::{CommandResult, Exit};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `whatif`.
#[derive(Debug, Args)]
pub(super) struct WhatIf {
    /// The server, as for `console`, and settings in place of those in force.
    #[arg(value_name = "ADDR | KEY=VALUE", required = true)]
    words: Vec<String>,
    /// File whose first line is the token that the server requires (Admin_Token_File).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON, for programs.
    #[arg(long)]
    json: bool,
    /// Time to wait for a response.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
}

impl WhatIf {
    pub(super) fn run(self, identity: &Identity) -> CommandResult {
        let (address, settings) = match self.words.split_first() {
            Some((address, settings)) if !address.contains('=') => (Some(address.clone()), settings),
            _ => (None, &self.words[..]),
        };
        if settings.is_empty() {
            return Err(Exit::Input.with_error("no setting is given: KEY=VALUE"));
        }
        if let Some(wrong) = settings.iter().find(|setting| setting.contains(['"', '\n', '\r'])) {
            return Err(Exit::Input.with_error(&format!("{wrong:?} is not KEY=VALUE")));
        }
        let words = settings.iter().map(|setting| format!(" \"{setting}\"")).collect::<String>();
        let line = format!("whatif{}{words}", if self.json { " json" } else { "" });
        Ok(AdminArgs::of(address, self.token_file).connect(identity, self.timeout)?.command(&line))
    }
}
