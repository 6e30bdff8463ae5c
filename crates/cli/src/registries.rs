//! Registries as the verbs need them: options, what a text names, progress for a person.

use std::future::Future;
use std::path::PathBuf;

use kiln_registry::client::{self, Client, Event, Options, Progress, RegistryError};
use kiln_registry::name::ImageReference;

use crate::error::{Failure, Kind, Result};
use crate::ui::{Ui, size};

/// How registries are reached.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RegistryArgs {
    /// Speak to registries without encryption, as is done with those on this machine anyway
    #[arg(long)]
    plain_http: bool,
    /// Trust the authorities in this PEM file too
    #[arg(long, value_name = "FILE", conflicts_with = "plain_http")]
    ca: Option<PathBuf>,
    /// Leave signatures, attestations and other evidence about the image behind
    #[arg(long)]
    pub(crate) no_evidence: bool,
}

/// Where an image comes from or goes to.
#[derive(Clone, Debug)]
pub(crate) enum Endpoint {
    /// A registry.
    Registry(ImageReference),
    /// An archive, or the folder of a layout.
    Disk(PathBuf),
}

impl Endpoint {
    /// A text with a path's beginning or an archive's ending is a path, any other a reference.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let plain = ["./", "../", "/"].iter().any(|start| text.starts_with(start));
        let file = text.split(':').next().unwrap_or_default();
        let archive = [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().any(|end| file.ends_with(end));
        let layout = PathBuf::from(file).join("oci-layout").is_file();
        if plain || archive || layout {
            return Ok(Self::Disk(text.into()));
        }
        Ok(Self::Registry(reference(text)?))
    }
}

/// An image reference that came in as text on the command line.
pub(crate) fn reference(text: &str) -> Result<ImageReference> {
    client::parse(text).map_err(|error| failure(&error))
}

/// A registry's failure.
pub(crate) fn failure(error: &RegistryError) -> Failure {
    let kind = match error {
        RegistryError::TagTaken { .. } => Kind::Refused,
        RegistryError::Platform { .. } => Kind::NotFound,
        _ if error.status() == Some(404) => Kind::NotFound,
        _ => Kind::Failed,
    };
    Failure::from_error(kind, error)
}

/// Does something with registries and tells how it goes. `what` begins with a verb: `pulls x`.
pub(crate) fn transfer<T, F: Future<Output = std::result::Result<T, RegistryError>>>(
    ui: &Ui,
    args: &RegistryArgs,
    what: &str,
    work: impl FnOnce(Client, Progress) -> F,
) -> Result<T> {
    let options = Options { plain_http: args.plain_http, authority: args.ca.clone(), ..Options::default() };
    let client = Client::new(options).map_err(|error| failure(&error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let progress = Progress::new(move |event| {
        let _ = sender.send(event);
    });
    let mut teller = Teller { ui, what, moved: 0, wanted: 0 };
    let result = runtime.block_on(async {
        let work = work(client, progress);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(event) = events.recv() => teller.tell(&event),
                result = &mut work => {
                    while let Ok(event) = events.try_recv() {
                        teller.tell(&event);
                    }
                    return result;
                }
            }
        }
    });
    ui.finish(KEY);
    result.map_err(|error| failure(&error))
}

const KEY: &str = "registry";

/// Tells a person how a transfer goes.
struct Teller<'a> {
    ui: &'a Ui,
    what: &'a str,
    moved: u64,
    wanted: u64,
}

impl Teller<'_> {
    fn tell(&mut self, event: &Event) {
        match event {
            Event::Planned { blobs, bytes } => {
                (self.moved, self.wanted) = (0, *bytes);
                self.ui.working(KEY, &format!("{}: {blobs} blobs, {}", self.what, size(*bytes)));
            }
            Event::Bytes { count } => self.count(self.moved + count),
            Event::Lost { count } => self.count(self.moved.saturating_sub(*count)),
            // What need not be moved is as good as moved.
            Event::Blob { how: client::How::Present | client::How::Mounted, size, .. } => {
                self.count(self.moved + size);
            }
            Event::Retry { why, pause } => {
                self.ui.line(format!("  tries again in {:.1} s: {why}", pause.as_secs_f64()));
            }
            Event::Evidence { digest } => {
                self.ui.ticking(KEY, &format!("{}: evidence {}", self.what, digest.short()));
            }
            Event::Blob { .. } | Event::Manifest { .. } => {}
        }
    }

    fn count(&mut self, moved: u64) {
        self.moved = moved;
        let text = format!("{}: {} of {}", self.what, size(moved.min(self.wanted)), size(self.wanted));
        self.ui.ticking(KEY, &text);
    }
}

/// What was moved, in words.
pub(crate) fn totals(totals: &client::Totals, evidence: usize) -> String {
    let mut words = vec![format!("{} blobs moved ({})", totals.moved, size(totals.bytes))];
    for (count, word) in
        [(totals.present, "there already"), (totals.mounted, "mounted"), (evidence, "documents of evidence")]
    {
        if count > 0 {
            words.push(format!("{count} {word}"));
        }
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_references_are_told_apart() {
        for path in ["./x", "/tmp/x", "../x:tag", "web.tar", "out/web.tar.zst", "web.tar:1"] {
            assert!(matches!(Endpoint::parse(path), Ok(Endpoint::Disk(_))), "{path}");
        }
        for name in ["web", "acme/web:1", "reg.example/web.d:1", "localhost:5000/tar:1"] {
            assert!(matches!(Endpoint::parse(name), Ok(Endpoint::Registry(_))), "{name}");
        }
        assert!(Endpoint::parse("Acme/Web:1:2").is_err());
    }
}
