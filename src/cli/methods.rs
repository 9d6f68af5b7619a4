//! `methods`: the methods of a running server, with their types if asked.

use super::escape::one_line;
use super::output::{Exit, print};
use super::server_args::{ServerArgs, report_error};
use crate::client::{Client, ClientError};
use crate::service::builtin::{MethodSchema, SCHEMA, ShapeTexts};
use clap::Args;
use std::collections::BTreeMap;

/// Arguments of `methods`.
#[derive(Debug, Args)]
pub(super) struct Methods {
    #[command(flatten)]
    server: ServerArgs,
    /// Print one JSON array; with --schema an object.
    #[arg(long)]
    json: bool,
    /// Print the types of each method's arguments and result.
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

/// Returns all methods with their schemas, by name.
///
/// # Errors
/// See [`Client::call`].
pub(super) fn schemas(client: &Client) -> Result<BTreeMap<String, MethodSchema>, ClientError> {
    let schema = |name: String| Ok((name.clone(), client.call(SCHEMA, &name)?));
    client.methods()?.into_iter().map(schema).collect()
}

/// A line for a method: `notes.read u64 -> Note { title: text }`, and another if the types in JSON differ.
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
