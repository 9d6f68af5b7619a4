//! The table of commands: their words, arguments, help and functions.

use super::grammar::{self, CommandError, SyntaxError, begins};
use super::{actions, lists, ports, server, settings, transactions, what_if};
use crate::monitor::format::plain;
use crate::monitor::server_monitor::ServerMonitor;
use crate::monitor::text_page::TextPage;

pub(super) struct Command {
    /// Its words, as they are written in full.
    words: &'static [&'static str],
    /// Its arguments; optional ones in brackets.
    arguments: &'static str,
    /// Fewest and most arguments.
    takes: (usize, usize),
    /// Its help, a line.
    doc: &'static str,
    /// The values of its first argument, for completion.
    completes: Completes,
    /// The right that it needs.
    needs: Needs,
    pub(super) run: fn(&ServerMonitor, &[String]) -> Result<String, CommandError>,
}

/// The values that an argument can have.
#[derive(Clone, Copy)]
enum Completes {
    Nothing,
    Port,
    Key,
    /// A key, followed by `=` and a value.
    Assignment,
    Statistic,
    These(&'static [&'static str]),
}

#[derive(Clone, Copy)]
enum Needs {
    /// Looking.
    Look,
    /// Looking without arguments, changing with any.
    LookIfBare,
    /// Changing.
    Change,
}

use Completes::{Assignment, Key, Nothing, Port, Statistic, These};
use Needs::{Change, Look, LookIfBare};

/// No bound on the number of arguments.
const ANY: usize = usize::MAX;

static COMMANDS: &[Command] = &[
    Command {
        words: &["show", "server"],
        arguments: "",
        takes: (0, 0),
        doc: "The server at a glance.",
        completes: Nothing,
        needs: Look,
        run: |monitor, _| Ok(server::show(monitor)),
    },
    Command {
        words: &["show", "verdict"],
        arguments: "",
        takes: (0, 0),
        doc: "What limits the server now, and which setting to change.",
        completes: Nothing,
        needs: Look,
        run: |monitor, _| Ok(server::verdict(monitor)),
    },
    Command {
        words: &["show", "transactions"],
        arguments: "[RESET]",
        takes: (0, 1),
        doc: "Times of each method since the start or the last reset, in milliseconds; RESET starts anew.",
        completes: These(&["reset"]),
        needs: LookIfBare,
        run: transactions::show,
    },
    Command {
        words: &["show", "slow"],
        arguments: "[PATTERN]",
        takes: (0, 1),
        doc: "The slowest calls of the last hour, of methods like PATTERN (* stands for anything).",
        completes: Nothing,
        needs: Look,
        run: |monitor, arguments| Ok(monitor.slow(arguments.first().map_or("", String::as_str))),
    },
    Command {
        words: &["show", "threads"],
        arguments: "",
        takes: (0, 0),
        doc: "What each worker does, for which caller and for how long.",
        completes: Nothing,
        needs: Look,
        run: |monitor, _| Ok(monitor.threads()),
    },
    Command {
        words: &["show", "tasks"],
        arguments: "",
        takes: (0, 0),
        doc: "The server's threads and what they do; idle workers are counted.",
        completes: Nothing,
        needs: Look,
        run: |monitor, _| Ok(lists::tasks(monitor)),
    },
    Command {
        words: &["show", "ports"],
        arguments: "",
        takes: (0, 0),
        doc: "The ports: workers, waiting calls, connections.",
        completes: Nothing,
        needs: Look,
        run: |monitor, _| Ok(ports::all(monitor)),
    },
    Command {
        words: &["show", "allports"],
        arguments: "",
        takes: (0, 0),
        doc: "The same as show ports.",
        completes: Nothing,
        needs: Look,
        run: |monitor, _| Ok(ports::all(monitor)),
    },
    Command {
        words: &["show", "port"],
        arguments: "NAME",
        takes: (1, 1),
        doc: "Everything that is counted of one port.",
        completes: Port,
        needs: Look,
        run: |monitor, arguments| ports::one(monitor, &arguments[0]),
    },
    Command {
        words: &["show", "limits"],
        arguments: "",
        takes: (0, 0),
        doc: "The limits of methods: calls that run and wait, how many may, and those refused.",
        completes: Nothing,
        needs: Look,
        run: |monitor, _| Ok(lists::limits(monitor)),
    },
    Command {
        words: &["show", "users"],
        arguments: "",
        takes: (0, 0),
        doc: "Connections, those with the most calls in progress and the most memory first.",
        completes: Nothing,
        needs: Look,
        run: |monitor, _| Ok(lists::users(monitor)),
    },
    Command {
        words: &["show", "sessions"],
        arguments: "",
        takes: (0, 0),
        doc: "Sessions that clients opened.",
        completes: Nothing,
        needs: Look,
        run: |monitor, _| Ok(lists::sessions(monitor)),
    },
    Command {
        words: &["show", "statistics"],
        arguments: "[PATTERN]",
        takes: (0, 1),
        doc: "Statistics, all or those like PATTERN (Server.*).",
        completes: Statistic,
        needs: Look,
        run: lists::statistics,
    },
    Command {
        words: &["show", "performance"],
        arguments: "",
        takes: (0, 0),
        doc: "Switches the line with transactions per minute in the log on or off.",
        completes: Nothing,
        needs: Change,
        run: |monitor, _| Ok(actions::toggle_performance(monitor)),
    },
    Command {
        words: &["show", "configuration"],
        arguments: "[KEY]",
        takes: (0, 1),
        doc: "Settings in force, all or those that begin with KEY, each with the line or rule it came from.",
        completes: Key,
        needs: Look,
        run: settings::show,
    },
    Command {
        words: &["set", "configuration"],
        arguments: "KEY=VALUE",
        takes: (1, ANY),
        doc: "Changes a setting in the settings file, and at once where that is possible.",
        completes: Assignment,
        needs: Change,
        run: settings::set,
    },
    Command {
        words: &["whatif"],
        arguments: "[JSON] KEY=VALUE...",
        takes: (1, ANY),
        doc: "What the present load would do under other settings, by a simulation; changes nothing.",
        completes: Assignment,
        needs: Look,
        run: what_if::show,
    },
    Command {
        words: &["drop"],
        arguments: "ALL|ADDRESS|PORT/ID|SESSION",
        takes: (1, 1),
        doc: "Closes connections and opened sessions: all, those of an address, or one as the lists name it.",
        completes: These(&["all"]),
        needs: Change,
        run: |monitor, arguments| actions::close_connections(monitor, &arguments[0]),
    },
    Command {
        words: &["stop", "port"],
        arguments: "NAME",
        takes: (1, 1),
        doc: "Stops a port: it takes no more connections and calls, and finishes those in flight.",
        completes: Port,
        needs: Change,
        run: |monitor, arguments| actions::stop_port(monitor, &arguments[0]),
    },
    Command {
        words: &["start", "port"],
        arguments: "NAME",
        takes: (1, 1),
        doc: "Starts a stopped port again.",
        completes: Port,
        needs: Change,
        run: |monitor, arguments| actions::start_port(monitor, &arguments[0]),
    },
    Command {
        words: &["restart", "port"],
        arguments: "NAME",
        takes: (1, 1),
        doc: "Stops a port and starts it.",
        completes: Port,
        needs: Change,
        run: |monitor, arguments| actions::restart_port(monitor, &arguments[0]),
    },
    Command {
        words: &["tell"],
        arguments: "SERVICE ORDER...",
        takes: (2, ANY),
        doc: "Gives a service of the program an order, and shows its reply.",
        completes: Nothing,
        needs: Change,
        run: actions::tell,
    },
    Command {
        words: &["help"],
        arguments: "[COMMAND]",
        takes: (0, 2),
        doc: "All commands, or those that begin so. A word may be cut where it stays unique.",
        completes: Nothing,
        needs: Look,
        run: |_, arguments| help(arguments),
    },
    Command {
        words: &["quit"],
        arguments: "",
        takes: (0, 0),
        doc: "Shuts the server down, as SIGTERM does.",
        completes: Nothing,
        needs: Change,
        run: |monitor, _| actions::quit(monitor),
    },
    // For the completion of `boneyard console`; not in the help.
    Command {
        words: &[WORDS],
        arguments: "",
        takes: (0, 0),
        doc: "",
        completes: Nothing,
        needs: Look,
        run: |monitor, _| Ok(lines(monitor)),
    },
];

/// The word that asks for the lines of completion.
const WORDS: &str = "words";

/// Returns every command, for its documentation: its syntax and its help.
pub fn commands() -> impl Iterator<Item = (String, &'static str)> {
    shown().map(|command| (command.syntax(), command.doc))
}

/// Returns whether this line would shut the server down.
pub fn stops_the_server(line: &str) -> bool {
    let words = grammar::words(line).unwrap_or_default();
    !words.is_empty() && find(&words).is_ok_and(|(command, _)| command.words == ["quit"])
}

fn shown() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(|command| !command.doc.is_empty())
}

/// Returns the command that the words begin with, and its arguments.
pub(super) fn find(words: &[String]) -> Result<(&'static Command, &[String]), SyntaxError> {
    let mut left: Vec<&Command> = COMMANDS.iter().collect();
    for (place, word) in words.iter().enumerate() {
        let found = grammar::one_of(word, left.iter().map(|command| command.words[place]))?;
        left.retain(|command| command.words[place] == found);
        // Commands that begin alike have equally many words.
        if let [command, ..] = left[..]
            && command.words.len() == place + 1
        {
            return Ok((command, &words[place + 1..]));
        }
    }
    Err(SyntaxError::TooFew)
}

impl Command {
    pub(super) fn syntax(&self) -> String {
        format!("{} {}", self.words.join(" "), self.arguments).trim_end().to_owned()
    }

    pub(super) fn check(&self, arguments: &[String]) -> Result<(), SyntaxError> {
        match arguments.len() {
            few if few < self.takes.0 => Err(SyntaxError::TooFew),
            many if many > self.takes.1 => Err(SyntaxError::TooMany),
            _ => Ok(()),
        }
    }

    /// Returns whether it changes something, with these arguments.
    pub(super) fn changes(&self, arguments: &[String]) -> bool {
        match self.needs {
            Look => false,
            LookIfBare => !arguments.is_empty(),
            Change => true,
        }
    }

    /// Returns whether its words begin with these.
    fn begins_with(&self, words: &[String]) -> bool {
        words.len() <= self.words.len()
            && words.iter().zip(self.words).all(|(start, word)| begins(word, start))
    }
}

fn help(words: &[String]) -> Result<String, CommandError> {
    let found: Vec<_> = match find(words) {
        Ok((command, [])) => vec![command],
        _ => shown().filter(|command| command.begins_with(words)).collect(),
    };
    if found.is_empty() {
        return Err(SyntaxError::Unknown(words.join(" "), None).into());
    }
    let width = found.iter().map(|command| command.syntax().len()).max().unwrap_or(0);
    let mut page = TextPage::default();
    for command in found {
        page.line(format_args!("{:width$}  {}", command.syntax(), command.doc));
    }
    Ok(page.0)
}

/// Returns every line that is known, for completion: a command with its words in full and, where the values of its
/// argument are known, with these.
fn lines(monitor: &ServerMonitor) -> String {
    let mut page = TextPage::default();
    for command in shown() {
        let words = command.words.join(" ");
        let arguments: Vec<String> = match command.completes {
            Nothing => Vec::new(),
            Port => monitor.control().snapshot().ports.iter().map(|port| port.name.to_string()).collect(),
            Key => settings::keys(monitor).collect(),
            Assignment => settings::keys(monitor).map(|key| key + "=").collect(),
            Statistic => lists::statistic_names(monitor),
            These(these) => these.iter().map(|&word| word.to_owned()).collect(),
        };
        if arguments.is_empty() || command.takes.0 == 0 {
            page.line(&words);
        }
        for argument in arguments {
            page.line(format_args!("{words} {}", plain(&argument)));
        }
    }
    page.0
}
