//! What the person sees: live lines on a terminal, plain lines elsewhere, one JSON document with `--json`.
//!
//! Progress goes to standard error and results to standard output, so that results can be piped.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use owo_colors::OwoColorize;
use serde::Serialize;

/// The output side of one run of the program.
pub(crate) struct Ui {
    json: bool,
    live: Option<Live>,
    told: Mutex<BTreeMap<String, String>>,
}

struct Live {
    all: MultiProgress,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Ui {
    /// Chooses the manner of speaking: live on a terminal, plain lines elsewhere.
    pub(crate) fn new(json: bool) -> Self {
        let live = std::io::stderr().is_terminal() && std::env::var_os("CI").is_none() && !json;
        let live = live.then(|| Live { all: MultiProgress::new(), bars: Mutex::default() });
        Self { json, live, told: Mutex::default() }
    }

    /// Whether results are JSON.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Whether diagnostics on standard error may be coloured.
    pub(crate) fn color() -> bool {
        anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
    }

    /// One line that stays.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        match &self.live {
            Some(live) => {
                let _ = live.all.println(text);
            }
            None => anstream::eprintln!("{text}"),
        }
    }

    /// Something under way, told under a key: a line that changes on a terminal; elsewhere a new line whenever the
    /// text changes.
    pub(crate) fn working(&self, key: &str, text: &str) {
        let Some(live) = &self.live else { return self.line_if_new(key, text) };
        let mut bars = lock(&live.bars);
        let bar = bars.entry(key.to_owned()).or_insert_with(|| {
            let bar = live.all.add(ProgressBar::new_spinner());
            bar.set_style(
                ProgressStyle::with_template("{spinner:.cyan} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            );
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        bar.set_message(text.to_owned());
    }

    /// The same, for figures that change many times a second: plain output leaves them out.
    pub(crate) fn ticking(&self, key: &str, text: &str) {
        if self.live.is_some() {
            self.working(key, text);
        }
    }

    /// Ends what was under way with a line that stays.
    pub(crate) fn done(&self, key: &str, text: &str) {
        self.finish(key);
        self.line(format!("{} {text}", "✓".green()));
    }

    /// Ends what was under way with a line that tells of a failure.
    pub(crate) fn failed(&self, key: &str, text: &str) {
        self.finish(key);
        self.line(format!("{} {text}", "✗".red()));
    }

    /// Takes away everything that is under way, before an error is printed or logs follow.
    pub(crate) fn clear(&self) {
        if let Some(live) = &self.live {
            for bar in std::mem::take(&mut *lock(&live.bars)).into_values() {
                bar.finish_and_clear();
            }
        }
    }

    /// A result: JSON as it is, or the text that `human` makes of it.
    pub(crate) fn result<T: Serialize>(&self, value: &T, human: impl FnOnce() -> String) {
        self.clear();
        let text = if self.json {
            serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
        } else {
            human()
        };
        let text = text.trim_end();
        if !text.is_empty() {
            // A closed pipe (`kiln ps | head -1`) is the reader's choice, not a failure.
            let _ = writeln!(anstream::stdout(), "{text}");
        }
    }

    /// A document, as it is.
    pub(crate) fn text(&self, text: &str) {
        self.clear();
        let _ = std::io::stdout().write_all(text.as_bytes());
    }

    /// Takes away what was under way, without a word.
    pub(crate) fn finish(&self, key: &str) {
        if let Some(live) = &self.live
            && let Some(bar) = lock(&live.bars).remove(key)
        {
            bar.finish_and_clear();
        }
        lock(&self.told).remove(key);
    }

    fn line_if_new(&self, key: &str, text: &str) {
        let before = lock(&self.told).insert(key.to_owned(), text.to_owned());
        if before.as_deref() != Some(text) {
            self.line(format!("  {text}"));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Lays rows out in columns, two spaces apart, the first row being the heading.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// A length of time for people: `0.31s`, `12.4s`, `3m05s`.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 10.0 => format!("{s:.2}s"),
        s if s < 60.0 => format!("{s:.1}s"),
        s if s < 3600.0 => format!("{}m{:02}s", time.as_secs() / 60, time.as_secs() % 60),
        _ => format!("{}h{:02}m", time.as_secs() / 3600, time.as_secs() / 60 % 60),
    }
}

/// A number of bytes for people, in powers of 1024.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// An age for people, from two times in milliseconds: `4s`, `12m`, `3h`, `5d`.
pub(crate) fn age(then_ms: i64, now_ms: i64) -> String {
    let seconds = (now_ms - then_ms).max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_end_clean() {
        let rows = [vec!["NAME".into(), "AGE".into()], vec!["a-long-name".into(), "4s".into()]];
        assert_eq!(columns(&rows), "NAME         AGE\na-long-name  4s\n");
    }

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(took(Duration::from_millis(312)), "0.31s");
        assert_eq!(took(Duration::from_secs(185)), "3m05s");
        assert_eq!(size(512), "512 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(age(0, 90_000), "1m");
    }
}
