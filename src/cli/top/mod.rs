//! `boneyard top`: a running server at a glance, in a terminal, refreshed live.
//!
//! Knows when to ask, what keys mean and how the terminal is taken and given back; what the picture looks like is in
//! `picture`. Asks the admin server, so it works when every worker is stuck.

mod view;

use super::{Exit, eprint_error, print};
use crate::admin::client::AdminClient;
use crate::monitor::Overview;
use crate::wire::Codec;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};
use view::{TopData, draw};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Size of the picture that is printed once, where nothing says how large the terminal is.
const PRINTED: (u16, u16) = (110, 40);

/// Options of `boneyard top`.
#[derive(Debug, clap::Args)]
pub(super) struct Top {
    #[command(flatten)]
    admin: super::admin::Admin,
    /// Seconds between two looks.
    #[arg(long, default_value = "1", value_parser = super::seconds)]
    every: Duration,
    /// Print one picture and end.
    #[arg(long)]
    once: bool,
}

impl Top {
    pub(super) fn run(self) -> Exit {
        let (asker, address) = match self.admin.asker(PATIENCE) {
            Ok(found) => found,
            Err(exit) => return exit,
        };
        if self.once || !io::stdout().is_terminal() {
            return print_once(&asker, &address);
        }
        let mut terminal = match ratatui::try_init() {
            Ok(terminal) => terminal,
            Err(error) => {
                eprint_error(&format!("cannot use this terminal: {error}"));
                return Exit::Surroundings;
            }
        };
        let watched = watch(&mut terminal, &asker, &address, self.every);
        ratatui::restore();
        watched.map_or_else(
            |error| {
                eprint_error(&format!("the terminal failed: {error}"));
                Exit::Surroundings
            },
            |()| Exit::Done,
        )
    }
}

/// What the server says of itself.
fn look(asker: &AdminClient) -> Result<Overview, String> {
    let answer = asker.get("/status.json").map_err(|error| error.to_string())?;
    if !answer.is_ok() {
        return Err(format!("answered {}: {}", answer.status, answer.text.trim_end()));
    }
    Codec::Json.decode(answer.text.as_bytes()).map_err(|error| format!("is another version's: {error}"))
}

fn print_once(asker: &AdminClient, address: &str) -> Exit {
    let overview = match look(asker) {
        Ok(overview) => overview,
        Err(why) => {
            eprint_error(&format!("{address}: {why}"));
            return Exit::Surroundings;
        }
    };
    let Ok(mut terminal) = Terminal::new(TestBackend::new(PRINTED.0, PRINTED.1));
    let seen = TopData { address, overview: Some(&overview), silent: None, paused: false };
    let Ok(_) = terminal.draw(|frame| draw(frame, &seen));
    let cells = terminal.backend().buffer().content().chunks(PRINTED.0.into());
    let lines = cells.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    let text: String = lines.map(|line| format!("{}\n", line.trim_end())).collect();
    print(&format!("{}\n", text.trim_end()))
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    asker: &AdminClient,
    address: &str,
    every: Duration,
) -> io::Result<()> {
    let (mut last, mut paused): (Option<Overview>, bool) = Default::default();
    let mut silent: Option<(Instant, String)> = None;
    let mut next = Instant::now();
    loop {
        if !paused && Instant::now() >= next {
            match look(asker) {
                Ok(overview) => (last, silent) = (Some(overview), None),
                Err(why) => silent = Some((silent.map_or_else(Instant::now, |silent| silent.0), why)),
            }
            next = Instant::now() + every;
        }
        let since = silent.as_ref().map(|(since, why)| (since.elapsed(), why.as_str()));
        let seen = TopData { address, overview: last.as_ref(), silent: since, paused };
        terminal.draw(|frame| draw(frame, &seen))?;
        let wait = next.saturating_duration_since(Instant::now());
        if !event::poll(if paused { Duration::from_secs(60) } else { wait })? {
            continue;
        }
        // A changed size has the picture drawn anew, as any other event does.
        if let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                KeyCode::Char('p' | ' ') => paused = !paused,
                _ => {}
            }
        }
    }
}
