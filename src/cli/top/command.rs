//! Arguments of `top`, its polling, its keys, and the use of the terminal; the layout is in `view`.

use super::view::{TopData, draw};
use crate::admin::AdminClient;
use crate::cli::admin_args::{AdminArgs, AdminTarget};
use crate::cli::identity::Identity;
use crate::cli::input::seconds;
use crate::cli::output::{CommandResult, Exit, print};
use crate::monitor::Overview;
use crate::wire::Codec;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Time to wait for a response.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Columns and lines of a single print, which has no terminal to take its size from.
const PRINT_SIZE: (u16, u16) = (110, 40);

/// Arguments of `top`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Top {
    #[command(flatten)]
    admin: AdminArgs,
    /// Seconds between two updates.
    #[arg(long, default_value = "1", value_parser = seconds)]
    every: Duration,
    /// Print the view once and exit.
    #[arg(long)]
    once: bool,
}

impl Top {
    pub(in crate::cli) fn run(self, identity: &Identity) -> CommandResult {
        let target = self.admin.connect(identity, TIMEOUT)?;
        if self.once || !io::stdout().is_terminal() {
            return print_once(&target);
        }
        let failed = |what: &str, error| Exit::Environment.with_error(&format!("{what}: {error}"));
        let mut terminal = ratatui::try_init().map_err(|error| failed("cannot use this terminal", error))?;
        let watched = watch(&mut terminal, &target, self.every);
        ratatui::restore();
        watched.map(|()| Exit::Success).map_err(|error| failed("the terminal failed", error))
    }
}

fn fetch(client: &AdminClient) -> Result<Overview, String> {
    let response = client.get("/status.json").map_err(|error| error.to_string())?;
    if !response.is_ok() {
        return Err(format!("status {}: {}", response.status, response.text.trim_end()));
    }
    Codec::Json
        .decode(response.text.as_bytes())
        .map_err(|error| format!("response of another version: {error}"))
}

fn print_once(AdminTarget { client, place }: &AdminTarget) -> CommandResult {
    let failed = |error| Exit::Environment.with_error(&format!("{place}: {error}"));
    let overview = fetch(client).map_err(failed)?;
    let Ok(mut terminal) = Terminal::new(TestBackend::new(PRINT_SIZE.0, PRINT_SIZE.1));
    let data = TopData { address: place, overview: Some(&overview), failure: None, paused: false };
    let Ok(_) = terminal.draw(|frame| draw(frame, &data));
    let cells = terminal.backend().buffer().content().chunks(PRINT_SIZE.0.into());
    let lines = cells.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    let text: String = lines.map(|line| format!("{}\n", line.trim_end())).collect();
    Ok(print(&format!("{}\n", text.trim_end())))
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    AdminTarget { client, place }: &AdminTarget,
    every: Duration,
) -> io::Result<()> {
    let (mut last, mut paused): (Option<Overview>, bool) = Default::default();
    let mut failure: Option<(Instant, String)> = None;
    let mut next = Instant::now();
    loop {
        if !paused && Instant::now() >= next {
            match fetch(client) {
                Ok(overview) => (last, failure) = (Some(overview), None),
                Err(error) => failure = Some((failure.map_or_else(Instant::now, |first| first.0), error)),
            }
            next = Instant::now() + every;
        }
        let failing = failure.as_ref().map(|(since, error)| (since.elapsed(), error.as_str()));
        let data = TopData { address: place, overview: last.as_ref(), failure: failing, paused };
        terminal.draw(|frame| draw(frame, &data))?;
        let wait = next.saturating_duration_since(Instant::now());
        if !event::poll(if paused { Duration::from_secs(60) } else { wait })? {
            continue;
        }
        // A changed size redraws the view, as any other event does.
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
