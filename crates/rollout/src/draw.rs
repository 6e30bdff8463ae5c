//! A small drawing of sizes and weights over the stages, for people.

use std::fmt::Write;

use kiln_model::Span;

use crate::{Gate, Stage};

/// Cells of the bar of weights: 5 % each.
const CELLS: usize = 20;

/// Most instances that are drawn one by one.
const DOTS: u32 = 12;

/// A heading, a mark for each instance, and how many there are.
type Column = (&'static str, char, fn(&Stage) -> u32);

/// Draws a list of stages: one line each, with the instances of the new (●) and the old (○) fleet at its end, the
/// share of the traffic (█ new, ░ old) and what is waited for; where stages compare with a baseline, its instances (◐)
/// and its share (▒) too. Ends with a newline.
pub fn draw(stages: &[Stage]) -> String {
    let compares = stages.iter().any(|stage| stage.baseline > 0);
    let mut columns: Vec<Column> = vec![("new", '●', |stage| stage.new), ("old", '○', |stage| stage.old)];
    if compares {
        columns.push(("base", '◐', |stage| stage.baseline));
    }
    let column = |(title, dot, size): &Column| {
        let cells: Vec<String> = stages.iter().map(|stage| fleet(size(stage), *dot)).collect();
        let widest = cells.iter().map(|cell| cell.chars().count()).chain([title.len()]).max().unwrap_or(0);
        (format!("{title:<widest$}  "), cells.into_iter().map(move |cell| format!("{cell:<widest$}  ")))
    };
    let (titles, mut cells): (String, Vec<_>) = columns.iter().map(column).unzip();
    let mut text = format!("stage  {titles}{:<CELLS$}  {:>5}  then wait until\n", "traffic", "new");
    for (index, stage) in stages.iter().enumerate() {
        let fleets: String = cells.iter_mut().filter_map(Iterator::next).collect();
        let share = format!("{} %", stage.weight);
        let line = format!("{:>5}  {fleets}{}  {share:>5}  {}", index + 1, bar(stage), gates(&stage.gates));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn fleet(size: u32, dot: char) -> String {
    match size {
        0 => "-".into(),
        1..=DOTS => std::iter::repeat_n(dot, size as usize).collect(),
        _ => format!("{dot}×{size}"),
    }
}

fn bar(stage: &Stage) -> String {
    if stage.weight == 0 && stage.old == 0 {
        return "·".repeat(CELLS);
    }
    // A share above 0 shows at least one cell, and one below 100 never fills the bar.
    let weight = usize::from(stage.weight.min(100));
    let filled = if weight == 100 { CELLS } else { weight.div_ceil(5).min(CELLS - 1) };
    let compared = if stage.baseline > 0 { filled.min(CELLS - filled) } else { 0 };
    "█".repeat(filled) + &"▒".repeat(compared) + &"░".repeat(CELLS - filled - compared)
}

fn gates(gates: &[Gate]) -> String {
    gates.iter().map(gate).collect::<Vec<_>>().join(", ")
}

fn gate(gate: &Gate) -> String {
    match gate {
        Gate::Healthy => "healthy".into(),
        Gate::Verified => "verified".into(),
        Gate::Acknowledged => "acknowledged".into(),
        Gate::Approved => "approved".into(),
        Gate::Held { millis } => format!("held {}", Span::from_millis(*millis)),
        Gate::Analysed { millis: 0 } => "analysed".into(),
        Gate::Analysed { millis } => format!("analysed {}", Span::from_millis(*millis)),
        Gate::Delayed { millis } => format!("{} have passed", Span::from_millis(*millis)),
        Gate::Drained => "old drained".into(),
    }
}
