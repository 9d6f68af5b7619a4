//! From the lines of a file to a [`Config`], or to every error in it.
//!
//! Order: the lists of ports first, since they decide which per-port keys exist; then each value by its row in the
//! table; then addresses against each other; then the sizing rules for values that no line gives.
//!
//! Invariants: a wrong value is reported and its default takes its place, so that the later checks still run; a
//! `Config` is returned only if there was no error at all. Does not know any setting beyond those with a part in that
//! order: `keys` has the others.

use super::by_rule::size;
use super::error::{ConfigError, ConfigErrors, Problem};
use super::ini_crosscheck;
use super::keys::{self, Accessor, Key, strip_suffix_ignoring_case};
use super::listen_address::ListenAddress;
use super::method_limits::{self, LimitLine};
use super::names::{self, nearest, suggestion};
use super::program::ProgramSection;
use super::scan::{self, FILE_BYTES_MAX, IniEntry};
use super::setting_line::{LineTarget, SettingLine};
use super::settings::{Config, PORTS_MAX, PortConfig};
use super::source::{Setting, Source};
use super::value_kind::ValueKind;
use crate::files;
use std::path::Path;
use std::time::Duration;

/// [`Config::session_idle_min`].
const SESSION_IDLE_MIN: Duration = Duration::from_secs(60);

/// [`Config::admin_timeout`].
const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

impl Config {
    /// Returns the settings of an empty file on a machine with `cpus` CPUs (0 counts as 1).
    pub fn default_with(cpus: u32) -> Config {
        Config::from_bytes(&[], None, cpus)
            .expect("an empty file is valid: the tests of the key table hold it")
    }

    /// Reads settings from text. `file` is only named in errors and kept in [`Config::file`]; nothing is opened.
    ///
    /// # Errors
    /// Every error of the text at once, in the order of their lines.
    pub fn from_text(text: &str, file: Option<&Path>, cpus: u32) -> Result<Config, ConfigErrors> {
        Config::from_bytes(text.as_bytes(), file, cpus)
    }

    /// Reads settings from bytes that may not be UTF-8; otherwise like [`Config::from_text`].
    ///
    /// # Errors
    /// Every error of the text at once, in the order of their lines.
    pub fn from_bytes(bytes: &[u8], file: Option<&Path>, cpus: u32) -> Result<Config, ConfigErrors> {
        Config::from_file(bytes, file, cpus, None)
    }

    /// Reads settings with a section of a program's own.
    ///
    /// # Errors
    /// Every error of the text at once, in the order of their lines.
    pub(crate) fn from_file(
        bytes: &[u8],
        file: Option<&Path>,
        cpus: u32,
        program: Option<ProgramSection>,
    ) -> Result<Config, ConfigErrors> {
        let program = program.map(ProgramSection::with_defaults);
        let (reader, entries) = Reader::new(Config { program, ..unread(file) }, bytes);
        reader.read(&entries, file, cpus)
    }

    /// Reads settings that a program makes, each a key and its value, by the rules for the lines of a file.
    ///
    /// # Errors
    /// Every error at once, in the order of the settings; without line numbers.
    pub(crate) fn from_program(settings: &[(String, String)], cpus: u32) -> Result<Config, ConfigErrors> {
        let scan = scan::of_program(settings);
        let reader = Reader {
            config: unread(None),
            errors: scan.errors,
            port_names_valid: true,
            source: |_| Source::Program,
        };
        reader.read(&scan.entries, None, cpus).map_err(ConfigErrors::without_lines)
    }

    /// Reads the settings file `path`. Blocks on the disk; reads at most 256 KiB and one byte.
    ///
    /// # Errors
    /// One error if the file cannot be read; otherwise every error of its text at once.
    pub fn load(path: &Path, cpus: u32) -> Result<Config, ConfigErrors> {
        Config::load_for(path, cpus, None)
    }

    /// Reads the settings file `path` of a program.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub(crate) fn load_for(
        path: &Path,
        cpus: u32,
        program: Option<ProgramSection>,
    ) -> Result<Config, ConfigErrors> {
        match files::read(path, FILE_BYTES_MAX as u64 + 1) {
            Ok(bytes) => Config::from_file(&bytes, Some(path), cpus, program),
            Err(cause) => Err(ConfigErrors::unreadable(path, &cause)),
        }
    }
}

/// Reads a line that is to change a setting, by the rules for a line of a file with the settings of `config`.
///
/// # Errors
/// The key is unknown or the value is wrong; the errors name the nearest key and the accepted values.
pub(crate) fn read_line(config: &Config, key: &str, value: &str) -> Result<SettingLine, ConfigErrors> {
    read_over(config, key, value).map(|(_, line)| line)
}

/// Returns the settings of `config` with one changed as by [`read_line`], as after a restart.
///
/// # Errors
/// Those of [`read_line`].
pub(crate) fn with_line(config: &Config, key: &str, value: &str) -> Result<Config, ConfigErrors> {
    let (mut after, _) = read_over(config, key, value)?;
    let shared = after.pool_tasks.clone();
    // Ports without a line of their own have the value and the source of the server's.
    for port in after.all_ports_mut().filter(|port| port.pool_tasks == config.pool_tasks) {
        port.pool_tasks = shared.clone();
    }
    Ok(after)
}

/// Reads a line, below `[Limits]` if its key is a method. Returns the settings with it, and what it is.
fn read_over(config: &Config, key: &str, value: &str) -> Result<(Config, SettingLine), ConfigErrors> {
    let program = config.program.as_ref().filter(|program| program.find(key.trim()).is_some());
    let section = match program.map(ProgramSection::name) {
        Some(name) => format!("[{name}]\n"),
        None if method_limits::is_method(key.trim()) => "[Limits]\n".to_owned(),
        None => String::new(),
    };
    let (mut reader, entries) = Reader::new(config.clone(), format!("{section}{key}={value}").as_bytes());
    let mut line = None;
    match &entries[..] {
        [entry] => {
            reader.value(entry);
            reader.addresses();
            reader.admin();
            line = reader.line(entry);
        }
        _ if reader.errors.is_empty() => {
            let error = ConfigError::at(1, Problem::BadLine, "one key and its value");
            reader.errors.push(error.found(&format!("{key}={value}")).wrong("not a setting"));
        }
        _ => {}
    }
    ConfigErrors::check(reader.errors, None)?;
    Ok((reader.config, line.expect("an unknown key was an error")))
}

/// A `Config` before the table's defaults are stored; every setting is overwritten by [`Reader::values`] or [`size`].
fn unread(file: Option<&Path>) -> Config {
    Config {
        file: file.map(Path::to_path_buf),
        session_idle_min: SESSION_IDLE_MIN,
        admin_timeout: ADMIN_TIMEOUT,
        ..Config::unset()
    }
}

struct Reader {
    config: Config,
    errors: Vec<ConfigError>,
    /// Whether both lists of ports were read without error; if not, unknown ports are not reported.
    port_names_valid: bool,
    /// Makes the source of a value from the number of its line.
    source: fn(u32) -> Source,
}

/// Setting that a key of a file names.
enum Target {
    Server(&'static Key),
    Port(&'static Key, usize),
    NoPort {
        port: String,
        key: &'static Key,
    },
    /// The limit of a method.
    Limit,
    /// A setting of the program, by its number.
    Program(usize),
    Nothing,
}

impl Reader {
    /// Scans the bytes; returns the lines to read.
    fn new(config: Config, bytes: &[u8]) -> (Reader, Vec<IniEntry>) {
        let mut scan = scan::scan(bytes, config.program.as_ref().map(ProgramSection::name));
        if scan.errors.is_empty() {
            scan.errors = ini_crosscheck::confirm(&mut scan);
        }
        let source = |line| Source::File { line };
        (Reader { config, errors: scan.errors, port_names_valid: true, source }, scan.entries)
    }

    /// Reads all settings.
    fn read(mut self, entries: &[IniEntry], file: Option<&Path>, cpus: u32) -> Result<Config, ConfigErrors> {
        self.ports(entries);
        self.values(entries);
        self.addresses();
        self.admin();
        size(&mut self.config, cpus);
        ConfigErrors::check(self.errors, file)?;
        Ok(self.config)
    }

    /// Reads the two lists and creates the ports, disabled ones last.
    fn ports(&mut self, entries: &[IniEntry]) {
        let before = self.errors.len();
        for key in keys::all() {
            if !matches!(key.accessor, Accessor::Server { kind: ValueKind::PortNames, .. }) {
                continue;
            }
            let entry = entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(key.name()));
            let text = entry.map_or(key.written_default(), |entry| entry.value.as_str());
            let line = entry.map(|entry| entry.line);
            let enabled = key.name() == "Ports";
            let made = self.port_list(key, text, line, enabled);
            let source = line.map_or(Source::Default, self.source);
            if enabled {
                (self.config.ports, self.config.ports_source) = (made, source);
            } else {
                (self.config.disabled_ports, self.config.disabled_ports_source) = (made, source);
            }
        }
        self.port_names_valid = self.errors.len() == before;
    }

    fn port_list(&mut self, key: &Key, text: &str, line: Option<u32>, enabled: bool) -> Vec<PortConfig> {
        let mut made: Vec<PortConfig> = Vec::new();
        let names = names::names(text);
        let mut wrong = Vec::new();
        if enabled && names.is_empty() {
            wrong.push("no port is enabled".to_owned());
        }
        if names.len() > PORTS_MAX {
            wrong.push(format!("{} ports are more than {PORTS_MAX}", names.len()));
        }
        for name in names {
            let taken = |port: &PortConfig| port.name.eq_ignore_ascii_case(name);
            if let Some(problem) = names::name_problem(name) {
                wrong.push(problem);
            } else if made.iter().any(taken) {
                wrong.push(format!("{name} is listed twice"));
            } else if self.config.ports.iter().any(taken) {
                let place = place_in_words(&self.config.ports_source);
                wrong.push(format!("{name} is enabled by Ports {place}"));
            } else {
                made.push(PortConfig {
                    address_source: Source::Default,
                    pool_tasks: Setting { value: 0, source: Source::Default },
                    ..PortConfig::new(name, ListenAddress::default(), 0)
                });
            }
        }
        for wrong in wrong {
            let expected =
                if enabled { "at least one name of a port, each once" } else { "names of ports, each once" };
            let error =
                ConfigError::at(0, Problem::BadPortName, expected).key(key.name()).found(text).wrong(wrong);
            self.errors.push(ConfigError { line, ..error });
        }
        made
    }

    /// Stores the defaults, then the values of the lines.
    fn values(&mut self, entries: &[IniEntry]) {
        for key in keys::all() {
            if let (Accessor::Server { kind, .. }, Some(text)) = (&key.accessor, key.fixed_default()) {
                let stored = kind.apply(text, Source::Default, &mut self.config);
                stored.expect("a default is a value of its own type: the tests of the key table hold it");
            }
        }
        for entry in entries {
            self.value(entry);
        }
    }

    fn value(&mut self, entry: &IniEntry) {
        let error = |problem, expected: String| {
            ConfigError::at(entry.line, problem, expected).key(&entry.key).found(&entry.value)
        };
        let (result, expected) = match self.target(entry) {
            Target::Server(Key { accessor: Accessor::Server { kind, .. }, .. }) => {
                let source = (self.source)(entry.line);
                (kind.apply(&entry.value, source, &mut self.config), kind.expected())
            }
            Target::Port(Key { accessor: Accessor::Port { kind, .. }, .. }, index) => {
                let Config { ports, disabled_ports, notes, .. } = &mut self.config;
                let port = ports.iter_mut().chain(disabled_ports).nth(index);
                let port = port.expect("the index was found in these two lists");
                (kind.apply(&entry.value, (self.source)(entry.line), port, notes), kind.expected())
            }
            Target::Limit => {
                let limit = method_limits::read(&entry.value).ok_or(String::new());
                let stored = limit.map(|limit| {
                    let source = (self.source)(entry.line);
                    let limit = Setting { value: limit, source };
                    self.config.set_method_limit(LimitLine { method: entry.key.clone(), limit });
                });
                (stored, method_limits::EXPECTED.to_owned())
            }
            Target::Program(number) => {
                let source = (self.source)(entry.line);
                let program = self.config.program.as_mut().expect("the key was found in its section");
                (program.set(number, &entry.value, source), program.keys()[number].value.to_owned())
            }
            Target::NoPort { port, key } => {
                if self.port_names_valid {
                    let expected = "the name of a listed port".to_owned();
                    let missing = error(Problem::UnknownPort, expected)
                        .wrong(format!("no port {port} in Ports or DisabledPorts"));
                    let near = nearest(&port, self.port_names().map(str::to_owned).collect());
                    self.errors.push(missing.hint(suggestion(near.map(|name| key.name_for(&name)))));
                }
                return;
            }
            Target::Server(_) | Target::Port(..) | Target::Nothing => {
                let unknown = error(Problem::UnknownKey, "a key that `check --template` explains".to_owned());
                self.errors.push(unknown.wrong("unknown key").hint(self.correction(entry)));
                return;
            }
        };
        if let Err(wrong) = result {
            self.errors.push(error(Problem::BadValue, expected).wrong(wrong));
        }
    }

    /// Returns the setting that a line's key names. Settings of the server come first; no port name can hide one
    /// (`names::name_problem`).
    fn target(&self, entry: &IniEntry) -> Target {
        let key = entry.key.as_str();
        if entry.section.as_deref() == Some(method_limits::SECTION) {
            return Target::Limit;
        }
        if let Some(program) = self.program_of(entry) {
            return program.find(key).map_or(Target::Nothing, Target::Program);
        }
        let same = |found: &&Key| !found.is_per_port() && found.name().eq_ignore_ascii_case(key);
        if let Some(found) = keys::all().find(same) {
            return Target::Server(found);
        }
        let mut no_port = Target::Nothing;
        for found in keys::all() {
            let Some(suffix) = found.suffix() else { continue };
            let Some(name) = strip_suffix_ignoring_case(key, suffix) else { continue };
            if let Some(index) = self.port_names().position(|port| port.eq_ignore_ascii_case(name)) {
                return Target::Port(found, index);
            }
            // A bare name is a port's only if its value looks like a driver; otherwise it is a misspelled setting.
            let driver =
                entry.value.split(',').next().is_some_and(|head| head.trim().eq_ignore_ascii_case("TCP"));
            if !name.is_empty() && (!suffix.is_empty() || driver) {
                no_port = Target::NoPort { port: name.to_owned(), key: found };
            }
        }
        no_port
    }

    /// Returns a line that was read, under the name that its key has in a file.
    fn line(&self, entry: &IniEntry) -> Option<SettingLine> {
        let (target, name) = match self.target(entry) {
            Target::Server(key) => (LineTarget::Key(key), key.name().to_owned()),
            Target::Port(key, index) => {
                let port = self.config.all_ports().nth(index)?;
                (LineTarget::Key(key), key.name_for(&port.name))
            }
            Target::Limit => (LineTarget::Limit, entry.key.clone()),
            Target::Program(number) => {
                (LineTarget::Program, self.config.program.as_ref()?.keys()[number].name.to_owned())
            }
            Target::NoPort { .. } | Target::Nothing => return None,
        };
        Some(SettingLine { target, name, value: entry.value.clone() })
    }

    fn port_names(&self) -> impl Iterator<Item = &str> {
        self.config.all_ports().map(|port| port.name.as_str())
    }

    /// The section of the program, if the line stands in it.
    fn program_of(&self, entry: &IniEntry) -> Option<&ProgramSection> {
        self.config.program.as_ref().filter(|program| program.has(entry.section.as_deref()))
    }

    /// Returns a hint for an unknown key: the section that has it, or the nearest key of this section.
    fn correction(&self, entry: &IniEntry) -> String {
        let known = self.known();
        let is_known = known.iter().any(|known| known.eq_ignore_ascii_case(&entry.key));
        match (self.program_of(entry), &self.config.program) {
            (Some(_), _) if is_known => "it stands below [Server]".to_owned(),
            (Some(program), _) => {
                let known = program.keys().iter().map(|key| key.name.to_owned()).collect();
                suggestion(nearest(&entry.key, known))
            }
            (None, Some(program)) if program.find(&entry.key).is_some() => {
                format!("it stands below [{}]", program.name())
            }
            (None, _) => suggestion(nearest(&entry.key, known)),
        }
    }

    /// Every key that this file could contain, save for those of a program.
    fn known(&self) -> Vec<String> {
        let (per_port, server): (Vec<&Key>, Vec<&Key>) = keys::all().partition(|key| key.is_per_port());
        let server = server.into_iter().map(|key| key.name().to_owned());
        let per_port = per_port.into_iter().flat_map(|key| self.port_names().map(|port| key.name_for(port)));
        server.chain(per_port).collect()
    }

    /// Requires a token for an admin address that other machines can reach.
    fn admin(&mut self) {
        let Config { admin_address: Setting { value, source }, admin_token_file, .. } = &self.config;
        let Some(address) = value.as_ref().filter(|address| !address.is_local()) else { return };
        if admin_token_file.value.is_none() {
            let expected = "an address of this machine, or a line for Admin_Token_File";
            let error = ConfigError::at(0, Problem::BadValue, expected)
                .key("Admin_Address")
                .found(&address.to_string())
                .wrong("without a token, any machine that reaches it could see the clients and their calls");
            self.errors.push(ConfigError { line: source.line(), ..error });
        }
    }

    /// Checks that no two enabled ports listen on one address.
    fn addresses(&mut self) {
        // A port whose address was wrong has its default, which no line requested.
        let key = |port: &PortConfig| format!("{}_TCPIPAddress", port.name);
        let wrong = |port: &&PortConfig| {
            let same = |found: &String| found.eq_ignore_ascii_case(&key(port));
            let unread = |error: &ConfigError| error.problem != Problem::DuplicateKey;
            self.errors.iter().any(|error| unread(error) && error.key.as_ref().is_some_and(same))
        };
        let ports: Vec<&PortConfig> = self.config.ports.iter().filter(|port| !wrong(port)).collect();
        for (index, port) in ports.iter().enumerate() {
            let Some(other) = ports[..index].iter().find(|other| other.address.overlaps(&port.address))
            else {
                continue;
            };
            // A default address has no line; point to the list that enabled the port.
            let place = |port: &PortConfig| port.address_source.line().or(self.config.ports_source.line());
            let how = match (other.address_source.line(), place(other)) {
                (Some(line), _) => format!("in line {line}"),
                (None, Some(line)) => {
                    format!("by default (no {}_TCPIPAddress line; enabled in line {line})", other.name)
                }
                (None, None) => place_in_words(&other.address_source),
            };
            let error =
                ConfigError::at(0, Problem::AddressTaken, "an address of its own for each enabled port")
                    .key(&key(port))
                    .found(&format!("0,{}", port.address))
                    .wrong(format!("port {} has {} {how}", other.name, other.address));
            self.errors.push(ConfigError { line: place(port), ..error });
        }
    }
}

/// Returns where a value without a better description was chosen.
fn place_in_words(source: &Source) -> String {
    match source {
        Source::Program => "in the program".to_owned(),
        source => source.line().map_or("by default".to_owned(), |line| format!("in line {line}")),
    }
}
