//! From the lines of a file to a [`Config`], or to every error in it.
//!
//! Knows how the settings hang together: ports first, since they decide which per-port keys exist; then each
//! value by its entry in the table; then addresses against each other; then the sizing rules for what no line
//! gave. Must not know any setting that has no part in that order: those live in `keys` alone.
//!
//! Invariant: a value that is wrong is reported and its default stands in for it, so that the checks after it
//! go on; the settings are handed out only when there was no error at all.

use super::error::{ConfigError, ConfigErrors, Problem};
use super::keys::{self, Accessor, Key, strip_suffix_ignoring_case};
use super::scan::{self, IniEntry};
use super::value_kind::ValueKind;
use super::{
    AdminSocket, CodelMode, Config, Limit, ListenAddress, PORTS_MAX, PoolRule, PortConfig, Setting, Source,
};
use super::{ini_crosscheck, plural, ports, sizing};
use std::path::Path;
use std::time::Duration;

/// Reads settings; see [`Config::from_bytes`].
pub(super) fn parse(bytes: &[u8], file: Option<&Path>, cpus: u32) -> Result<Config, ConfigErrors> {
    let mut scan = scan::scan(bytes);
    if scan.errors.is_empty() {
        scan.errors = ini_crosscheck::confirm(&mut scan);
    }
    let mut reader = Reader { config: blank(file), errors: scan.errors, names_sound: true };
    reader.ports(&scan.entries);
    reader.values(&scan.entries);
    reader.addresses();
    reader.admin();
    size(&mut reader.config, cpus);
    match ConfigErrors::collect(reader.errors, file) {
        Some(errors) => Err(errors),
        None => Ok(reader.config),
    }
}

/// What a line that is to be changed says: its key, its key's name for this file, and its value, read as in a file with
/// these settings.
pub(super) fn line(
    config: &Config,
    key: &str,
    value: &str,
) -> Result<(&'static Key, String, String), ConfigErrors> {
    let mut scan = scan::scan(format!("{key}={value}").as_bytes());
    if scan.errors.is_empty() {
        scan.errors = ini_crosscheck::confirm(&mut scan);
    }
    let mut reader = Reader { config: config.clone(), errors: scan.errors, names_sound: true };
    let mut target = None;
    match &scan.entries[..] {
        [entry] => {
            reader.value(entry);
            reader.addresses();
            reader.admin();
            target = match reader.target(entry) {
                Target::Server(key) => Some((key, key.name().to_owned(), entry.value.clone())),
                Target::Port(key, index) => {
                    let name = reader.port_names().nth(index).map(|port| key.name_for(port));
                    name.map(|name| (key, name, entry.value.clone()))
                }
                Target::NoPort { .. } | Target::Nothing => None,
            };
        }
        _ if reader.errors.is_empty() => {
            let error = ConfigError::at(1, Problem::BadLine, "one key and its value");
            reader.errors.push(error.found(&format!("{key}={value}")).wrong("not a setting"));
        }
        _ => {}
    }
    match ConfigErrors::collect(reader.errors, None) {
        Some(errors) => Err(errors),
        None => Ok(target.expect("an unknown key was an error")),
    }
}

/// A `Config` before the table's defaults are put into it; every field is overwritten by [`Reader::values`]
/// or [`size`].
fn blank(file: Option<&Path>) -> Config {
    fn unset<T>(value: T) -> Setting<T> {
        Setting { value, source: Source::Default }
    }
    Config {
        file: file.map(Path::to_path_buf),
        ports: Vec::new(),
        ports_source: Source::Default,
        disabled_ports: Vec::new(),
        disabled_ports_source: Source::Default,
        pool_rule: unset(PoolRule::R8_0_1),
        max_concurrent_trans: unset(Limit::Unlimited),
        pool_tasks: unset(0),
        queue_limit: unset(0),
        session_calls: unset(None),
        codel_target: unset(Duration::ZERO),
        codel_interval: unset(Duration::ZERO),
        codel_mode: unset(CodelMode::Observe),
        long_transaction: unset(None),
        nested_reserve: unset(0),
        session_timeout: unset(Duration::ZERO),
        session_idle_min: Duration::from_secs(60),
        max_sessions: unset(None),
        max_users: unset(None),
        restricted: unset(0),
        log_sessions: unset(false),
        max_connects: unset(None),
        send_buffer_bytes: unset(0),
        buffer_memory_bytes: unset(0),
        hello_timeout: unset(None),
        frame_timeout: unset(None),
        send_timeout: unset(None),
        keepalive: unset(None),
        descriptors_per_session: unset(0),
        descriptor_reserve: unset(0),
        max_frame_bytes: unset(0),
        thread_stack_bytes: unset(0),
        shutdown_timeout: unset(Duration::ZERO),
        admin_address: unset(None),
        admin_token_file: unset(None),
        admin_socket: unset(AdminSocket::Off),
        admin_patience: Duration::from_secs(10),
        busy_limit: unset(None),
        stall_limit: unset(None),
        slow_calls: unset(0),
        show_performance: unset(false),
        load_service: unset(false),
        log_level: unset(log::LevelFilter::Off),
        log_file: unset(None),
        notes: Vec::new(),
    }
}

struct Reader {
    config: Config,
    errors: Vec<ConfigError>,
    /// Whether both lists of ports were read without error; if not, an unknown port is no news.
    names_sound: bool,
}

/// What a key of a file names.
enum Target {
    Server(&'static Key),
    Port(&'static Key, usize),
    NoPort { port: String, key: &'static Key },
    Nothing,
}

impl Reader {
    /// Reads the two lists and makes the ports, disabled ones last.
    fn ports(&mut self, entries: &[IniEntry]) {
        let before = self.errors.len();
        for key in keys::all() {
            if !matches!(key.slot, Accessor::Server { kind: ValueKind::PortNames, .. }) {
                continue;
            }
            let entry = entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(key.name()));
            let text = entry.map_or(key.written_default(), |entry| entry.value.as_str());
            let line = entry.map(|entry| entry.line);
            let enabled = key.name() == "Ports";
            let made = self.port_list(key, text, line, enabled);
            let source = line.map_or(Source::Default, |line| Source::File { line });
            if enabled {
                (self.config.ports, self.config.ports_source) = (made, source);
            } else {
                (self.config.disabled_ports, self.config.disabled_ports_source) = (made, source);
            }
        }
        self.names_sound = self.errors.len() == before;
    }

    fn port_list(&mut self, key: &Key, text: &str, line: Option<u32>, enabled: bool) -> Vec<PortConfig> {
        let mut made: Vec<PortConfig> = Vec::new();
        let names = ports::names(text);
        let mut wrong = Vec::new();
        if enabled && names.is_empty() {
            wrong.push("no port is enabled".to_owned());
        }
        if names.len() > PORTS_MAX {
            wrong.push(format!("{} ports are more than {PORTS_MAX}", names.len()));
        }
        for name in names {
            let taken = |port: &PortConfig| port.name.eq_ignore_ascii_case(name);
            if let Some(problem) = ports::name_problem(name) {
                wrong.push(problem);
            } else if made.iter().any(taken) {
                wrong.push(format!("{name} is listed twice"));
            } else if self.config.ports.iter().any(taken) {
                let place = self
                    .config
                    .ports_source
                    .line()
                    .map_or("by default".to_owned(), |line| format!("in line {line}"));
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

    /// Puts the defaults into place, then what the lines say.
    fn values(&mut self, entries: &[IniEntry]) {
        for key in keys::all() {
            if let (Accessor::Server { kind, .. }, Some(text)) = (&key.slot, key.fixed_default()) {
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
            Target::Server(Key { slot: Accessor::Server { kind, .. }, .. }) => {
                let source = Source::File { line: entry.line };
                (kind.apply(&entry.value, source, &mut self.config), kind.expected())
            }
            Target::Port(Key { slot: Accessor::Port { kind, .. }, .. }, index) => {
                let Config { ports, disabled_ports, notes, .. } = &mut self.config;
                let port = ports.iter_mut().chain(disabled_ports).nth(index);
                let port = port.expect("the index was found in these two lists");
                (kind.apply(&entry.value, entry.line, port, notes), kind.expected())
            }
            Target::NoPort { port, key } => {
                if self.names_sound {
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
                self.errors
                    .push(unknown.wrong("unknown key").hint(suggestion(nearest(&entry.key, self.known()))));
                return;
            }
        };
        if let Err(wrong) = result {
            self.errors.push(error(Problem::BadValue, expected).wrong(wrong));
        }
    }

    /// What a line's key names. Settings of the server come first; port names cannot hide them (`ports::name_problem`).
    fn target(&self, entry: &IniEntry) -> Target {
        let key = entry.key.as_str();
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
            // A bare name is a port's only when its value looks like one; else it is a misspelled setting.
            let driver =
                entry.value.split(',').next().is_some_and(|head| head.trim().eq_ignore_ascii_case("TCP"));
            if !name.is_empty() && (!suffix.is_empty() || driver) {
                no_port = Target::NoPort { port: name.to_owned(), key: found };
            }
        }
        no_port
    }

    fn port_names(&self) -> impl Iterator<Item = &str> {
        self.config.ports.iter().chain(&self.config.disabled_ports).map(|port| port.name.as_str())
    }

    /// Every key that could stand in this file.
    fn known(&self) -> Vec<String> {
        let (per_port, server): (Vec<&Key>, Vec<&Key>) = keys::all().partition(|key| key.is_per_port());
        let server = server.into_iter().map(|key| key.name().to_owned());
        let per_port = per_port.into_iter().flat_map(|key| self.port_names().map(|port| key.name_for(port)));
        server.chain(per_port).collect()
    }

    /// What can be reached from other machines asks for a token.
    fn admin(&mut self) {
        let Config { admin_address: Setting { value, source }, admin_token_file, .. } = &self.config;
        let Some(address) = value.as_ref().filter(|address| !address.is_local()) else { return };
        if admin_token_file.value.is_none() {
            let expected = "an address of this machine alone, or Admin_Token_File beside it";
            let error = ConfigError::at(0, Problem::BadValue, expected)
                .key("Admin_Address")
                .found(&address.to_string())
                .wrong("whoever reaches it could see whose calls the server runs");
            self.errors.push(ConfigError { line: source.line(), ..error });
        }
    }

    /// Two enabled ports cannot listen on one address.
    fn addresses(&mut self) {
        // Where a line's address was wrong its default stands in for it, which nobody has asked for.
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
            // A default address has no line; the list that enabled the port is where to look.
            let place = |port: &PortConfig| port.address_source.line().or(self.config.ports_source.line());
            let how = match (other.address_source.line(), place(other)) {
                (Some(line), _) => format!("in line {line}"),
                (None, Some(line)) => {
                    format!("by default (no {}_TCPIPAddress line; enabled in line {line})", other.name)
                }
                (None, None) => "by default".to_owned(),
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

/// Fills in what no line gave, by the rule in force.
fn size(config: &mut Config, cpus: u32) {
    let rule = config.pool_rule.value;
    let rule_line = config.pool_rule.source.line();
    if !config.max_concurrent_trans.source.is_given() {
        let words = rule.throttle_in_words();
        let text = match rule {
            PoolRule::R8_0 | PoolRule::R8_0_1 => {
                format!("rule {rule}: {words}, with {}", plural(cpus.max(1), "CPU"))
            }
            PoolRule::R5 | PoolRule::Zos | PoolRule::Zlinux => format!("rule {rule}: {words}"),
        };
        config.max_concurrent_trans = Setting {
            value: sizing::max_concurrent_trans(rule, cpus),
            source: Source::Rule { text, line: rule_line },
        };
    }
    if !config.pool_tasks.source.is_given() {
        // The throttle's line has the nearer part in the size; without one it is the rule's.
        let throttle_line =
            config.max_concurrent_trans.source.line().filter(|_| rule.pool_follows_throttle());
        config.pool_tasks = Setting {
            value: sizing::pool_tasks(rule, config.max_concurrent_trans.value),
            source: Source::Rule {
                text: format!("rule {rule}: {}", rule.pool_in_words()),
                line: throttle_line.or(rule_line),
            },
        };
    }
    for port in config.ports.iter_mut().chain(&mut config.disabled_ports) {
        if !port.pool_tasks.source.is_given() {
            port.pool_tasks = config.pool_tasks.clone();
        }
    }
}

/// "did you mean ...?", or nothing.
fn suggestion(near: Option<String>) -> String {
    near.map_or(String::new(), |name| format!("did you mean {name}?"))
}

/// The known name that is nearest, if it is so near that a slip of the hand explains the difference.
pub(crate) fn nearest(found: &str, known: Vec<String>) -> Option<String> {
    let (steps, name) = known.into_iter().map(|name| (distance(found, &name), name)).min()?;
    (steps <= 1 + name.len() / 5 && steps < name.len()).then_some(name)
}

/// Letters to add, drop, change or swap with their neighbour to make one key of the other, case ignored.
fn distance(one: &str, two: &str) -> usize {
    // A key longer than any name is near to none; this also bounds the work a hostile file can ask for.
    const LONGEST: usize = 64;
    if one.len() > LONGEST {
        return usize::MAX;
    }
    strsim::osa_distance(&one.to_ascii_lowercase(), &two.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_slips() {
        for (one, two, steps) in [
            ("", "", 0),
            ("abc", "ABC", 0),
            ("abc", "ab", 1),
            ("abc", "abcd", 1),
            ("abc", "axc", 1),
            ("abc", "acb", 1),
            ("kitten", "sitting", 3),
            ("", "abc", 3),
        ] {
            assert_eq!(distance(one, two), steps, "{one} {two}");
            assert_eq!(distance(two, one), steps, "{two} {one}");
        }
        assert_eq!(distance(&"x".repeat(65), "x"), usize::MAX);
    }

    #[test]
    fn far_names_are_not_near() {
        for (found, expected) in
            [("Port", Some("Ports")), ("Log_Flie", Some("Log_File")), ("ServerTasks", None), ("B", None)]
        {
            let known = ["Ports", "Log_File", "A"].map(str::to_owned).to_vec();
            assert_eq!(nearest(found, known).as_deref(), expected, "{found}");
        }
    }
}
