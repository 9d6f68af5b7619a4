//! Arguments of `stubs`, and the schemas fetched from the server.

use super::names::StubMethod;
use super::typescript::{self, Caller};
use super::{c, python};
use crate::cli::escape::one_line;
use crate::cli::methods::{MethodDescription, schemas};
use crate::cli::output::{CommandResult, eprint_error, print};
use crate::cli::server_args::{ServerArgs, report_error};
use crate::client::{Client, ClientError};
use clap::{Args, ValueEnum};

/// Arguments of `stubs`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Stubs {
    #[command(flatten)]
    server: ServerArgs,
    /// Language of the code.
    #[arg(long)]
    lang: Language,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    /// Classes over the Python package, blocking and asyncio.
    Python,
    /// Functions over `boneyard_call` of the C library.
    C,
    /// Classes over a function that the program provides.
    #[value(name = "typescript")]
    TypeScript,
    /// TypeScript with a client for Node: one file, without packages.
    Node,
}

impl Stubs {
    pub(in crate::cli) fn run(self) -> CommandResult {
        let found = self.server.client().and_then(|client| methods(&client));
        let methods = found.map_err(|error| report_error(&error, &self.server.address))?;
        for StubMethod { name, unknown, .. } in methods.iter().filter(|method| method.shapes.is_none()) {
            eprint_error(&one_line(&format!("types of {name} unknown: {unknown}")));
        }
        Ok(print(&match self.lang {
            Language::Python => python::write(&methods),
            Language::C => c::write(&methods),
            Language::TypeScript => typescript::write(&methods, Caller::Function),
            Language::Node => typescript::write(&methods, Caller::Node),
        }))
    }
}

/// Returns the methods of the server, sorted by name.
fn methods(client: &Client) -> Result<Vec<StubMethod>, ClientError> {
    // Sessions belong to the client library: their numbers are valid on one connection only.
    let own = |(name, _): &(String, MethodDescription)| !name.starts_with("session.");
    let method = |(name, MethodDescription { schema, errors }): (String, MethodDescription)| {
        let read = schema.json.as_ref().map(|texts| texts.read()).transpose();
        let (shapes, unknown) = match read {
            Ok(shapes) => (shapes, schema.unknown),
            Err(error) => (None, format!("unreadable schema: {error}")),
        };
        let fingerprint = schema.fingerprint;
        StubMethod { name, shapes, unknown, fingerprint, errors }
    };
    Ok(schemas(client)?.into_iter().filter(own).map(method).collect())
}
