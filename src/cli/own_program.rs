//! [`Program`]: the command line of a program with a name, a version and settings of its own.

use super::command_line::{CheckedServer, carry_out};
use super::identity::{Identity, OwnName};
use super::serve::IntoServer;
use crate::config::{ProgramSection, ProgramSettings, ProgramValues, section_of};
use crate::server::Server;
use std::marker::PhantomData;
use std::process::ExitCode;

/// Begins the command line of a program: `name` as it is typed, and its version. Both are shown by `--version` and
/// `--help`, in the log, and wherever the server names itself ([`Server::named`]).
///
/// ```no_run
/// use boneyard::Method;
/// use boneyard::config::{ProgramKey, ProgramSettings, ProgramValues};
/// const GREET: Method<String, String> = Method::new("greeter.greet");
///
/// struct Greeter {
///     greeting: String,
/// }
///
/// impl ProgramSettings for Greeter {
///     const KEYS: &'static [ProgramKey] =
///         &[ProgramKey::new::<String>("Greeter_Word", "Hello", "any text", "Word before the name.")];
///
///     fn read(values: &ProgramValues<'_>) -> Greeter {
///         Greeter { greeting: values.get("Greeter_Word") }
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     boneyard::cli::program("greeter", env!("CARGO_PKG_VERSION"))
///         .about("Greets people.")
///         .settings::<Greeter>("Greeter")
///         .serve(|server, mine| {
///             server.handle(GREET, move |_, name| Ok(format!("{} {name}", mine.greeting)))
///         })
/// }
/// ```
pub fn program(name: &'static str, version: &'static str) -> Program {
    Program { own: OwnName { name, version, about: None }, section: None, settings: PhantomData }
}

/// The command line of a program, made by [`program`]. `Settings` are its own.
#[derive(Debug)]
#[must_use]
pub struct Program<Settings = ()> {
    own: OwnName,
    section: Option<ProgramSection>,
    settings: PhantomData<fn() -> Settings>,
}

impl<Settings: ProgramSettings> Program<Settings> {
    /// Sets the sentence with which `--help` begins.
    pub fn about(mut self, about: &'static str) -> Self {
        self.own.about = Some(about);
        self
    }

    /// Gives the settings file a section of the program's own. Its keys are known as the server's are: in errors with
    /// line numbers and suggestions, in `check`, in its template, in `show config`. They change with a restart.
    ///
    /// # Panics
    /// The section or a key has a name that cannot be used or is the server's, or a default is no value of its key.
    pub fn settings<Own: ProgramSettings>(self, section: &'static str) -> Program<Own> {
        Program { own: self.own, section: Some(section_of::<Own>(section)), settings: PhantomData }
    }

    /// Runs the whole command line, as [`main`](super::main) does. `build` gets the server, with the settings of the
    /// file, and the program's own settings. It runs for `serve` and for `check`, which makes no value of
    /// [`Server::per_worker`]: so what must not be opened twice, such as a database, belongs there and not into
    /// `build`.
    pub fn serve<B: IntoServer>(self, build: impl FnOnce(Server, Settings) -> B) -> ExitCode {
        let identity = Identity::new(Some(self.own), self.section);
        carry_out(&identity, CheckedServer::Built, |server| {
            let own = Settings::read(&ProgramValues(server.config().program.as_ref()));
            build(server, own)
        })
    }
}
