//! What instances print, as it comes.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use kiln_control::api::InstanceStatus;
use kiln_local::InstanceDir;
use kiln_local::logs::{Follow, LogLine};
use kiln_model::Name;
use owo_colors::{AnsiColors, OwoColorize};

use crate::context::Context;
use crate::control::Control;
use crate::error::{Failure, Kind, Result};
use crate::home::Home;

/// Log files are looked at so often; a person does not see a tenth of a second.
const LOOK: Duration = Duration::from_millis(100);
/// New instances are looked for once in so many looks.
const LOOKS_PER_LIST: u32 = 5;
/// Lines of one log that are printed before the next log has its turn.
const TURN: usize = 10_000;
const COLORS: [AnsiColors; 6] = [
    AnsiColors::Cyan,
    AnsiColors::Yellow,
    AnsiColors::Green,
    AnsiColors::Magenta,
    AnsiColors::Blue,
    AnsiColors::BrightRed,
];

/// Which lines are wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Services; empty is all.
    pub(crate) services: Vec<Name>,
    /// One instance by its whole name.
    pub(crate) instance: Option<String>,
    /// Lines of each instance that are there already.
    pub(crate) lines: usize,
    /// Whether the time of each line is shown.
    pub(crate) times: bool,
}

/// Several logs, read side by side.
pub(crate) struct Reader<'a> {
    context: &'a Context,
    wanted: Wanted,
    open: BTreeMap<String, Follow>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(context: &'a Context, wanted: Wanted) -> Self {
        Self { context, wanted, open: BTreeMap::new() }
    }

    /// Opens the logs of instances that are wanted and not open yet; their last `lines` come first.
    pub(crate) fn open(&mut self, control: &Control, lines: usize) -> Result<()> {
        let all = control.call(|client| async move { client.instances().await })?.instances;
        for instance in &all {
            let id = instance.observed.id.as_str();
            if self.wants(instance) && !self.open.contains_key(id) {
                let dir = InstanceDir::new(Home::find()?.instance(id));
                let follow = Follow::open(&dir, lines).map_err(|error| cannot_read(id, &error))?;
                self.open.insert(id.to_owned(), follow);
            }
        }
        Ok(())
    }

    fn wants(&self, instance: &InstanceStatus) -> bool {
        match &self.wanted.instance {
            Some(id) => instance.observed.id.as_str() == id,
            None => self.wanted.services.is_empty() || self.wanted.services.contains(&instance.fleet.service),
        }
    }

    /// Prints what was there when the logs were opened.
    pub(crate) fn print_kept(&mut self) -> Result<()> {
        self.print(usize::MAX, |follow| Ok(follow.next_kept())).map(drop)
    }

    /// Prints what is new, and of a log that is written faster than it is read only so much that the others have their
    /// turn. Whether there may be more.
    fn print_new(&mut self) -> Result<bool> {
        self.print(TURN, Follow::next_line)
    }

    fn print(
        &mut self,
        most: usize,
        mut next: impl FnMut(&mut Follow) -> std::io::Result<Option<LogLine>>,
    ) -> Result<bool> {
        let named = self.wanted.instance.is_none();
        let mut more = false;
        for (number, (id, follow)) in self.open.iter_mut().enumerate() {
            let name = named.then_some((id.as_str(), COLORS[number % COLORS.len()]));
            let mut printed = 0;
            while printed < most
                && let Some(line) = next(follow).map_err(|error| cannot_read(id, &error))?
            {
                print(&line, name, self.wanted.times, self.context.ui.json())?;
                printed += 1;
            }
            more |= printed == most;
        }
        Ok(more)
    }
}

fn cannot_read(id: &str, error: &std::io::Error) -> Failure {
    Failure::new(Kind::Failed, format!("cannot read the log of {id}"))
        .because(error)
        .hint("logs belong to the user who runs `kiln serve`")
}

fn print(line: &LogLine, name: Option<(&str, AnsiColors)>, times: bool, json: bool) -> Result<()> {
    let text = String::from_utf8_lossy(&line.text);
    let mut out = anstream::stdout().lock();
    let written = if json {
        let instance = name.map(|(id, _)| id);
        let object = serde_json::json!({
            "instance": instance, "at_ms": line.at_ms, "stderr": line.stderr, "text": text,
        });
        writeln!(out, "{object}")
    } else {
        let prefix = name.map(|(id, color)| format!("{} ", id.color(color))).unwrap_or_default();
        let time = if times { format!("{} ", time(line.at_ms)) } else { String::new() };
        writeln!(out, "{time}{prefix}{text}")
    };
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::new(Kind::Interrupted, "the reader went away"),
        _ => Failure::from(error),
    })
}

fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map(|time| format!("{time:.3}")).unwrap_or_default()
}

/// Prints what the services' instances write, new ones included, until Ctrl-C.
pub(crate) fn until_interrupted(context: &Context, control: &Control, wanted: Wanted) -> Result<()> {
    let mut reader = Reader::new(context, wanted);
    let interrupted = Interrupt::listen()?;
    let mut looks = 0;
    let mut lines = reader.wanted.lines;
    while !interrupted.happened() {
        if looks % LOOKS_PER_LIST == 0 {
            reader.open(control, lines)?;
            // Instances that appear while we look are shown from their first line on.
            lines = usize::MAX;
        }
        let more = reader.print_new()?;
        looks += 1;
        interrupted.wait(if more { Duration::ZERO } else { LOOK });
    }
    Ok(())
}

/// Ctrl-C (and SIGTERM) as something to wait for.
struct Interrupt {
    happened: std::sync::mpsc::Receiver<()>,
    seen: std::cell::Cell<bool>,
}

impl Interrupt {
    fn listen() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (sender, happened) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate) = {
            let _entered = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            let _ = sender.send(());
        });
        Ok(Self { happened, seen: std::cell::Cell::new(false) })
    }

    fn happened(&self) -> bool {
        self.seen.get()
    }

    fn wait(&self, time: Duration) {
        if self.happened.recv_timeout(time).is_ok() {
            self.seen.set(true);
        }
    }
}
