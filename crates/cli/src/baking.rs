//! Baking as the verbs need it: options, progress for a person, the configuration that the image carries.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_bake::{BakeError, BakeRequest, Baked, CONFIG_LABEL, Event, Outcome, Progress, StepReport};
use kiln_model::{Digest, ImageConfig, Name};
use kiln_spec::Loaded;
use kiln_store::Store;

use crate::context::{Context, now_ms};
use crate::error::{Failure, Kind, Result};
use crate::release::Image;
use crate::ui::{Ui, size};

/// Options of everything that bakes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct BakeOptions {
    /// Use only what is on this machine; open no connection
    #[arg(long)]
    pub(crate) offline: bool,
    /// Refuse to bake when kiln.lock does not fit the spec, instead of adding what changed
    #[arg(long)]
    pub(crate) locked: bool,
}

/// One baked image.
pub(crate) struct Done {
    /// The image block.
    pub(crate) name: Name,
    /// What a release needs of it.
    pub(crate) image: Image,
    /// What was done.
    pub(crate) steps: Vec<StepReport>,
}

/// Bakes the named images of a spec, one after the other.
pub(crate) fn bake(
    context: &Context,
    loaded: &Loaded,
    names: &[Name],
    options: &BakeOptions,
) -> Result<Vec<Done>> {
    let store = crate::context::store()?;
    let teller = Teller::new(&context.ui);
    let mut done = Vec::new();
    for name in names {
        let request = request(&store, loaded, name, options)?;
        let baked = kiln_bake::bake(&request, &teller).map_err(|error| failure(name, &error))?;
        let config = carried(&store, &baked.digest)?;
        teller.finished(&baked);
        done.push(Done {
            name: name.clone(),
            image: Image { digest: baked.digest, config },
            steps: baked.steps,
        });
    }
    Ok(done)
}

/// Brings the lock of a spec in line with it.
pub(crate) fn lock(
    context: &Context,
    loaded: &Loaded,
    update: bool,
    options: &BakeOptions,
) -> Result<Vec<(Name, kiln_bake::Resolved)>> {
    let store = crate::context::store()?;
    let Some(name) = loaded.project.images.keys().next() else { return Ok(Vec::new()) };
    let request = request(&store, loaded, name, options)?;
    let teller = Teller::new(&context.ui);
    kiln_bake::resolve_lock(&request, update, &teller)
        .map_err(|error| Failure::from_error(Kind::Bake, &error))
}

fn request<'a>(
    store: &'a Store,
    loaded: &'a Loaded,
    name: &'a Name,
    options: &BakeOptions,
) -> Result<BakeRequest<'a>> {
    Ok(BakeRequest {
        images: &loaded.project.images,
        name,
        source: &loaded.dir,
        store,
        epoch: source_date_epoch()?,
        now: now_ms() / 1000,
        offline: options.offline,
        auto_lock: !options.locked,
        jobs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        mirrors: None,
        helper: None,
    })
}

fn source_date_epoch() -> Result<Option<i64>> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Failure::new(
            Kind::Bake,
            format!("SOURCE_DATE_EPOCH is {text:?}, which is not a whole number of seconds"),
        )
        .hint("set it like `SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)`, or unset it")
    })
}

fn failure(name: &Name, error: &BakeError) -> Failure {
    Failure::new(Kind::Bake, format!("cannot bake image {name}")).because(error)
}

/// The configuration as the image's manifest carries it: that, not the spec, is what runs.
pub(crate) fn carried(store: &Store, digest: &Digest) -> Result<ImageConfig> {
    let broken = |error: &dyn std::error::Error| {
        Failure::new(Kind::Failed, format!("cannot read the configuration of image {}", digest.short()))
            .with_causes(vec![error.to_string()])
            .hint("bake it again with this version of kiln")
    };
    let image = store.image(digest).map_err(|error| broken(&error))?;
    let labels = image.file.config.and_then(|config| config.labels).unwrap_or_default();
    let label = labels.get(CONFIG_LABEL).cloned().unwrap_or_default();
    serde_json::from_str(&label).map_err(|error| broken(&error))
}

/// Tells a person what a bake does.
struct Teller<'a> {
    ui: &'a Ui,
    received: AtomicU64,
    wanted: AtomicU64,
    steps: Mutex<BTreeMap<Name, String>>,
}

impl<'a> Teller<'a> {
    fn new(ui: &'a Ui) -> Self {
        Self { ui, received: AtomicU64::new(0), wanted: AtomicU64::new(0), steps: Mutex::default() }
    }

    fn finished(&self, baked: &Baked) {
        let ran = baked.steps.iter().filter(|step| step.outcome == Outcome::Ran).count();
        let cached = baked.steps.len() - ran;
        let what = match (ran, cached) {
            (0, _) => "every step from the cache".to_owned(),
            (ran, 0) => format!("{ran} steps"),
            (ran, cached) => format!("{ran} steps, {cached} from the cache"),
        };
        self.ui.done(BAKING, &format!("image {} {} ({what})", baked.name, baked.digest.short()));
    }

    fn debian(&self, event: kiln_debian::Event<'_>) {
        use kiln_debian::Event as D;
        match event {
            D::Index { suite } => self.ui.working(DEBIAN, &format!("reads the index of {suite}")),
            D::Solved { packages } => self.ui.working(DEBIAN, &format!("{packages} packages")),
            D::Fetching { packages: 0, .. } => {}
            D::Fetching { packages, bytes } => {
                self.wanted.store(bytes, Ordering::Relaxed);
                self.received.store(0, Ordering::Relaxed);
                self.ui.working(DEBIAN, &format!("downloads {packages} packages, {}", size(bytes)));
            }
            D::Received { bytes, .. } => {
                let received = self.received.fetch_add(bytes, Ordering::Relaxed) + bytes;
                let wanted = self.wanted.load(Ordering::Relaxed);
                self.ui.ticking(DEBIAN, &format!("downloads {} of {}", size(received), size(wanted)));
            }
            D::Retry { url, why } => self.ui.line(format!("  asks again for {url}: {why}")),
            D::Unpacked { package } => self.ui.ticking(DEBIAN, &format!("unpacks {package}")),
        }
    }
}

const BAKING: &str = "baking";
const DEBIAN: &str = "debian";

impl Progress for Teller<'_> {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Step { image, number, total, name } => {
                let text = format!("image {image} [{number}/{total}] {name}");
                let mut steps = self.steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                steps.insert(image.clone(), text.clone());
                self.ui.ticking(BAKING, &text);
            }
            Event::Done { image, report } if report.outcome == Outcome::Ran => {
                let steps = self.steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let text = steps.get(image).cloned().unwrap_or_else(|| report.name.clone());
                self.ui.finish(DEBIAN);
                self.ui.line(format!("  {text} · {} · {} ms", size(report.size), report.millis));
            }
            Event::Debian(event) => self.debian(event),
            Event::Output { line } => self.ui.line(format!("    | {line}")),
            _ => {}
        }
    }
}
