//! Layout of a server's status in a terminal: verdict, gauges, ports, plots, methods, from the top down.
//!
//! Knows an `Overview` and the cells of a frame; neither requests data nor waits. Parts that do not fit are omitted
//! from the bottom. Colours are the terminal's own sixteen, so that they suit light and dark backgrounds.

use crate::cli::escape::is_control;
use crate::metrics::Parts;
use crate::monitor::format::{elapsed, thousands};
use crate::monitor::{Cause, MethodOverview, Overview, PortOverview, Workers};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Row, Sparkline, Table, Wrap};
use std::time::Duration;

/// Cells of a bar of workers.
const BAR: u16 = 24;

const VERDICT_LINES_MAX: usize = 8;

/// Colours of the states of workers.
const RUNNING: Color = Color::Green;
const BLOCKED: Color = Color::Yellow;
const RETURNING: Color = Color::Magenta;

/// Colours of the parts of a transaction's time.
const PARTS: Parts<Color> = Parts { queue_wait: Color::Blue, permit_wait: Color::Magenta, run: Color::Green };

/// Heading of the three parts of a time.
const IN_PARTS: &str = "p99 ms:  queue permit    run";

/// Data of one frame.
pub(super) struct TopData<'a> {
    pub(super) address: &'a str,
    /// Last status of the server.
    pub(super) overview: Option<&'a Overview>,
    /// Time since the server stopped responding, and the error.
    pub(super) failure: Option<(Duration, &'a str)>,
    /// Whether polling is paused.
    pub(super) paused: bool,
}

pub(super) fn draw(frame: &mut Frame<'_>, data: &TopData<'_>) {
    paint(frame, data);
    // Texts of the server are foreign.
    for cell in &mut frame.buffer_mut().content {
        if cell.symbol().contains(is_control) {
            cell.set_symbol("?");
        }
    }
}

fn paint(frame: &mut Frame<'_>, data: &TopData<'_>) {
    let area = frame.area();
    let Some(overview) = data.overview else {
        let text = match data.failure {
            Some((_, error)) => Line::from(format!("{}: {error}", data.address)).fg(Color::Red),
            None => Line::from(format!("connecting to {} ...", data.address)),
        };
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    };
    let verdict = verdict(overview);
    // Wrapped text may need one line more than its length suggests; the rest is cut off.
    let lines = |line: &Line<'_>| line.width().div_ceil(usize::from(area.width).max(1)).max(1);
    let verdict_height = verdict.iter().map(lines).sum::<usize>().min(VERDICT_LINES_MAX) as u16;
    let [head, judged, gauges, ports, plots, methods, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(verdict_height),
        Constraint::Length(2),
        Constraint::Length(overview.ports.len() as u16 + 2),
        Constraint::Length(7),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(title(overview, data), head);
    frame.render_widget(Paragraph::new(verdict).wrap(Wrap { trim: false }), judged);
    frame.render_widget(totals(overview), gauges);
    frame.render_widget(port_table(&overview.ports), ports);
    draw_plots(frame, plots, overview);
    frame.render_widget(method_table(&overview.methods), methods);
    frame.render_widget(legend(data), foot);
}

fn title<'a>(overview: &'a Overview, data: &TopData<'a>) -> Line<'a> {
    let mut line = vec![
        Span::from(overview.server.as_str()).bold(),
        Span::from(format!(
            " at {}, up {}",
            data.address,
            elapsed(Duration::from_secs_f64(overview.uptime_s.max(0.0)))
        )),
    ];
    if overview.draining {
        line.push(Span::from("  stopping").fg(Color::Yellow).bold());
    }
    if let Some((time, error)) = data.failure {
        let text = format!("  no response for {:.0} s: {error}", time.as_secs_f64());
        line.push(Span::from(text).fg(Color::Red).bold());
    }
    if data.paused {
        line.push(Span::from("  paused").fg(Color::Yellow));
    }
    line.into()
}

fn verdict(overview: &Overview) -> Vec<Line<'_>> {
    let verdict = &overview.verdict;
    let quiet = verdict.cause == Cause::Nothing;
    let color = if quiet { Color::Green } else { Color::Yellow };
    let mut lines = vec![Line::from(vec![
        Span::from(verdict.headline.as_str()).fg(color).bold(),
        Span::from(if quiet { String::new() } else { format!("  ({})", verdict.agreement()) }),
    ])];
    lines.extend(verdict.lines.iter().map(|line| Line::from(format!("  {line}")).bold()));
    let rest = [Some(&verdict.expected), verdict.effect.as_ref()];
    let rest = rest.into_iter().flatten().filter(|text| !text.is_empty());
    lines.extend(rest.map(|text| Line::from(format!("  {text}"))));
    lines
}

fn totals(overview: &Overview) -> Paragraph<'_> {
    let sum = |of: fn(&PortOverview) -> f64| overview.ports.iter().map(of).sum::<f64>();
    let refused = sum(|port| port.throughput.refused_per_s);
    let permits = match overview.permits_max {
        Some(most) => format!("{} of {}", overview.permits_out, thousands(most.into())),
        None => format!("{}, no throttle", overview.permits_out),
    };
    let full = overview.permits_max.is_some_and(|most| overview.permits_out >= most);
    let (connections, connections_max) = overview.connections;
    let most = connections_max.map_or(String::new(), |most| format!(" of {}", thousands(most)));
    let (bytes, bytes_max) = overview.buffer_bytes;
    let lines = vec![
        Line::from(vec![
            field("calls/s ", rate(sum(|port| port.throughput.answers_per_s)), Color::Reset),
            field("  errors/s ", rate(sum(|port| port.throughput.errors_per_s) - refused), Color::Reset),
            field("  refused/s ", rate(refused), if refused > 0.0 { Color::Red } else { Color::Reset }),
            field("  CPU ", format!("{:.2} of {}", overview.cores_used, overview.cores), Color::Reset),
            field("  permits ", permits, if full { Color::Yellow } else { Color::Reset }),
        ]),
        Line::from(vec![
            field("connections ", format!("{}{most}", thousands(connections)), Color::Reset),
            field("  sessions ", thousands(overview.sessions), Color::Reset),
            field(
                "  buffers ",
                format!("{} of {} MiB", bytes >> 20, thousands(bytes_max >> 20)),
                Color::Reset,
            ),
        ]),
    ];
    Paragraph::new(lines)
}

fn field(name: &str, value: String, color: Color) -> Span<'_> {
    Span::styled(format!("{name}{value}"), Style::new().fg(color))
}

/// Names of columns, right-aligned except for the first few, because they are above numbers.
fn heading<const N: usize>(names: [&'static str; N], left: usize) -> Row<'static> {
    let name = |(index, name): (usize, &'static str)| {
        let name = Line::from(name);
        if index < left { name } else { name.right_aligned() }
    };
    Row::new(names.into_iter().enumerate().map(name).collect::<Vec<_>>())
        .style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED))
}

fn port_table(ports: &[PortOverview]) -> Table<'_> {
    let row = |port: &PortOverview| {
        let Workers { idle, running, blocked, returning } = port.workers;
        let closed = if port.open { "" } else { " (stopped)" };
        Row::new([
            Line::from(format!("{}{closed}", port.name)),
            bar(port.workers),
            Line::from(format!("{running}/{blocked}/{returning}/{idle}")).right_aligned(),
            Line::from(format!("{} of {}", thousands(port.waiting), thousands(port.queue_limit)))
                .right_aligned(),
            Line::from(rate(port.throughput.answers_per_s)).right_aligned(),
            Line::from(in_parts(&port.throughput.p99_ms)).right_aligned(),
        ])
    };
    let widths = [
        Constraint::Length(12),
        Constraint::Max(BAR),
        Constraint::Length(16),
        Constraint::Length(18),
        Constraint::Length(9),
        Constraint::Min(IN_PARTS.len() as u16),
    ];
    let names = ["port", "workers", "run/blk/ret/idle", "waiting", "calls/s", IN_PARTS];
    Table::new(ports.iter().map(row), widths).header(heading(names, 2))
}

/// A bar of all workers, coloured by their states. Each state with at least one worker has a cell.
fn bar(workers: Workers) -> Line<'static> {
    let total = workers.total().max(1);
    let cells = |count: u32| {
        let share = (u64::from(count) * u64::from(BAR) / u64::from(total)) as usize;
        share.max(usize::from(count > 0))
    };
    let mut left = usize::from(BAR);
    let mut spans = Vec::new();
    let busy = [(workers.running, RUNNING), (workers.blocked, BLOCKED), (workers.returning, RETURNING)];
    for (index, (count, color)) in busy.into_iter().enumerate() {
        let kept = busy[index + 1..].iter().filter(|(count, _)| *count > 0).count();
        let cells = cells(count).min(left - kept);
        left -= cells;
        spans.push(Span::from("█".repeat(cells)).fg(color));
    }
    spans.push(Span::from("░".repeat(left)).fg(Color::DarkGray));
    spans.into()
}

fn draw_plots(frame: &mut Frame<'_>, area: Rect, overview: &Overview) {
    let [calls, times] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
    let width = usize::from(calls.width.saturating_sub(1));
    let skipped = overview.seconds.len().saturating_sub(width);
    let seconds = &overview.seconds[skipped..];
    let answers: Vec<u64> =
        seconds.iter().map(|row| (row.answers as f64 / row.length_s.max(1e-9)) as u64).collect();
    let peak = answers.iter().copied().max().unwrap_or(0);
    let block = Block::new().borders(Borders::TOP | Borders::RIGHT).title(format!(
        "calls/s, {} s, peak {}",
        seconds.len(),
        thousands(peak)
    ));
    frame.render_widget(Sparkline::default().block(block).data(answers).fg(Color::Cyan), calls);
    let worst = seconds.iter().map(|row| total_ms(&row.p99_ms)).fold(0.0, f64::max);
    let titled = Block::new()
        .borders(Borders::TOP)
        .title(format!("p99 by part, worst {} ms: queue, permit, run", number(worst)));
    let inner = titled.inner(times);
    frame.render_widget(titled, times);
    let rows = Layout::vertical([Constraint::Fill(1); 3]).split(inner);
    let parts = [
        (|parts: &Parts<f64>| parts.queue_wait) as fn(&Parts<f64>) -> f64,
        |parts| parts.permit_wait,
        |parts| parts.run,
    ];
    for ((part, row), color) in
        parts.into_iter().zip(rows.iter()).zip([PARTS.queue_wait, PARTS.permit_wait, PARTS.run])
    {
        let data: Vec<u64> = seconds.iter().map(|second| (part(&second.p99_ms) * 1e3) as u64).collect();
        let most = seconds.iter().map(|second| part(&second.p99_ms)).fold(0.0, f64::max);
        frame.render_widget(Sparkline::default().data(data).max((most * 1e3) as u64).fg(color), *row);
    }
}

fn method_row(method: &MethodOverview) -> Row<'_> {
    Row::new([
        Line::from(method.name.as_str()),
        Line::from(method.port.as_str()),
        Line::from(format!("{:.2}", method.workers_busy)).right_aligned(),
        Line::from(rate(method.throughput.answers_per_s)).right_aligned(),
        Line::from(rate(method.throughput.errors_per_s)).right_aligned(),
        Line::from(in_parts(&method.throughput.p99_ms)).right_aligned(),
    ])
}

fn method_table(methods: &[MethodOverview]) -> Table<'_> {
    let widths = [
        Constraint::Min(18),
        Constraint::Length(10),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(IN_PARTS.len() as u16),
    ];
    let names = ["method", "port", "workers", "calls/s", "errors/s", IN_PARTS];
    Table::new(methods.iter().map(method_row), widths).header(heading(names, 2))
}

fn legend<'a>(data: &TopData<'_>) -> Line<'a> {
    let go = if data.paused { "continue" } else { "pause" };
    vec![
        Span::from("█ running ").fg(RUNNING),
        Span::from("█ blocked ").fg(BLOCKED),
        Span::from("█ waiting for a permit again ").fg(RETURNING),
        Span::from("░ idle").fg(Color::DarkGray),
        Span::from(format!("    q quit   p {go}")).dim(),
    ]
    .into()
}

fn total_ms(parts: &Parts<f64>) -> f64 {
    parts.queue_wait.max(parts.permit_wait).max(parts.run)
}

fn in_parts(parts: &Parts<f64>) -> String {
    let Parts { queue_wait, permit_wait, run } = parts.map(|ms| number(*ms));
    format!("{queue_wait:>6} {permit_wait:>6} {run:>6}")
}

/// Milliseconds with three significant digits.
fn number(ms: f64) -> String {
    match ms {
        ms if ms <= 0.0 => "0".to_owned(),
        ms if ms < 1.0 => format!("{ms:.3}"),
        ms if ms < 10.0 => format!("{ms:.2}"),
        ms if ms < 100.0 => format!("{ms:.1}"),
        ms => format!("{ms:.0}"),
    }
}

fn rate(per_second: f64) -> String {
    // Differences of rates may be slightly negative.
    let rate = per_second.max(0.0);
    if rate > 0.0 && rate < 10.0 { format!("{rate:.1}") } else { thousands(rate.round() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_digits() {
        assert_eq!([0.0, 0.0123, 3.456, 45.67, 678.9].map(number), ["0", "0.012", "3.46", "45.7", "679"]);
        assert_eq!([-0.1, 0.24, 9.96, 1234.5].map(rate), ["0", "0.2", "10.0", "1,235"]);
    }

    #[test]
    fn a_bar_has_a_cell_for_each_present_state_and_a_fixed_width() {
        for (idle, running, blocked, returning) in
            [(0, 0, 0, 0), (40, 0, 0, 0), (0, 40, 0, 0), (4000, 1, 1, 1), (0, 1, 4000, 1), (1, 13, 13, 13)]
        {
            let line = bar(Workers { idle, running, blocked, returning });
            assert_eq!(line.width(), usize::from(BAR));
            let cells = |index: usize| line.spans[index].width();
            assert_eq!([0, 1, 2].map(|index| cells(index) > 0), [running > 0, blocked > 0, returning > 0]);
        }
    }
}
