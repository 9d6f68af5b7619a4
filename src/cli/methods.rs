//! `methods`: the methods of a running server, with their types if asked.

use super::escape::one_line;
use super::output::{Exit, print};
use super::server_args::{ServerArgs, report_error};
use crate::client::{Client, ClientError};
use crate::service::builtin::{ERRORS, MethodErrors, MethodSchema, SCHEMA, ShapeTexts};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;

/// Arguments of `methods`.
#[derive(Debug, Args)]
pub(super) struct Methods {
    #[command(flatten)]
    server: ServerArgs,
    /// Print one JSON array; with --schema an object.
    #[arg(long)]
    json: bool,
    /// Print the types of each method's arguments and result, and the errors that it lists.
    #[arg(long)]
    schema: bool,
}

impl Methods {
    pub(super) fn run(self) -> Exit {
        let text = self.server.client().and_then(|client| self.text(&client));
        text.map_or_else(|error| report_error(&error, &self.server.address), |text| print(&text))
    }

    fn text(&self, client: &Client) -> Result<String, ClientError> {
        if !self.schema {
            let names = client.methods()?;
            return Ok(match self.json {
                true => format!("{}\n", serde_json::json!(names)),
                false => names.iter().map(|name| format!("{}\n", one_line(name))).collect(),
            });
        }
        let schemas = schemas(client)?;
        Ok(match self.json {
            true => format!("{}\n", serde_json::json!(schemas)),
            false => schemas.iter().map(|(name, schema)| lines(name, schema)).collect(),
        })
    }
}

/// A method as the server describes it.
#[derive(Debug, Serialize)]
pub(super) struct MethodDescription {
    #[serde(flatten)]
    pub(super) schema: MethodSchema,
    /// Application errors that it lists.
    #[serde(skip_serializing_if = "MethodErrors::is_empty")]
    pub(super) errors: MethodErrors,
}

/// Returns all methods with their descriptions, by name.
///
/// # Errors
/// See [`Client::call`].
pub(super) fn schemas(client: &Client) -> Result<BTreeMap<String, MethodDescription>, ClientError> {
    let names = client.methods()?;
    // A server of an older version does not describe errors.
    let has_errors = names.iter().any(|name| name == ERRORS.name());
    let described = |name: String| {
        let schema = client.call(SCHEMA, &name)?;
        let errors = if has_errors { client.call(ERRORS, &name)? } else { MethodErrors::default() };
        Ok((name, MethodDescription { schema, errors }))
    };
    names.into_iter().map(described).collect()
}

/// A line for a method: `notes.read u64 -> Note { title: text } ! NoteError <Missing = 1>`, and another if the types in
/// JSON differ.
fn lines(name: &str, MethodDescription { schema, errors }: &MethodDescription) -> String {
    let errors = if errors.is_empty() { String::new() } else { format!(" ! {errors}") };
    let line = |mark: &str, texts: &ShapeTexts| {
        let text = format!("{name}{mark} {} -> {}{errors}", texts.request, texts.response);
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
