//! Proving an image: an instance of it is started as Kiln would run it, in a home of its own, and everything that is
//! expected is judged.
//!
//! Expectations that only look are judged side by side. Those that disturb come after them, one after the other:
//! `load`, `memory`, `read_only_root`, `stop`. Checks that want another surrounding get an instance of their own.

mod instance;
mod load;
mod place;
mod relay;
mod scene;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;

use futures_util::StreamExt;
use kiln_local::LocalError;
use kiln_model::{Check, CheckProbe, Digest, ImageConfig, Name, Setup};
use kiln_provider::ProviderError;
use kiln_store::{Store, StoreError};

pub(crate) use instance::{Wanted, ready_or_ended};
pub use place::sweep;
pub(crate) use scene::{Running, Scene, result};

use crate::finding::Finding;
use crate::image::files::View;
use crate::image::{ImageError, ImageView};
use crate::report::{CheckReport, CheckResult};
use place::Place;

/// Expectations that are judged at the same time: enough to hide waiting, too few to be a load.
const SIDE_BY_SIDE: usize = 8;
/// Lines of the log that a failure shows.
pub(crate) const TAIL: usize = 20;

/// Where images are proved.
#[derive(Clone, Debug)]
pub struct Host {
    /// `$KILN_HOME`: temporary homes are made in its folder `checks`.
    pub home: PathBuf,
    /// The program to execute as supervisor; its `main` begins with [`kiln_local::shim::dispatch`].
    pub exe: PathBuf,
    /// The image store.
    pub store: PathBuf,
    /// The folder that paths of goss and structure files are relative to.
    pub folder: PathBuf,
}

/// What is proved.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The image block, or a fit name for another image.
    pub name: Name,
    /// The image.
    pub image: Digest,
    /// Image blocks that checks name as stand-ins.
    pub others: BTreeMap<Name, Digest>,
}

/// Why an image could not be judged at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// A file or folder of the home cannot be used.
    #[error("cannot {act} {path}")]
    File {
        /// Verb.
        act: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store cannot be used.
    #[error("cannot use the image store")]
    Store(#[source] Box<StoreError>),
    /// The image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Nothing can be run on this machine.
    #[error("cannot prepare a place for instances")]
    Local(#[source] LocalError),
    /// The provider failed.
    #[error("cannot run what is checked")]
    Provider(#[from] ProviderError),
    /// A stand-in's image is not among those that were baked.
    #[error("the image {0} of a stand-in was not baked")]
    NoStandIn(Name),
    /// A goss or structure file is not in order.
    #[error(transparent)]
    Foreign(#[from] crate::foreign::ForeignError),
    /// Whoever asked gave up.
    #[error("stopped before all checks were done")]
    Interrupted,
}

impl ProveError {
    pub(crate) fn store(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }

    pub(crate) fn file(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { act, path, source }
    }
}

/// One expectation and where its result belongs.
pub(crate) struct Task<'a> {
    pub(crate) check: &'a Check,
    pub(crate) probe: &'a CheckProbe,
    order: (usize, usize),
}

/// Judges all checks of an image. `tell` hears of every result as soon as it is there; `stop` ends everything early.
/// Nothing of it is left when this returns, and what an earlier run left that was killed is removed first.
///
/// # Errors
/// When nothing could be judged; what does not hold is in the report.
pub async fn prove(
    host: &Host,
    subject: &Subject,
    checks: &[Check],
    tell: &(dyn Fn(&CheckResult) + Sync),
    stop: impl Future<Output = ()>,
) -> Result<CheckReport, ProveError> {
    let began_ms = now_ms();
    let store = Store::open(&host.store).map_err(ProveError::store)?;
    let image = ImageView::open(&store, subject.image)?;
    let mut tasks: BTreeMap<&Setup, Vec<Task<'_>>> = BTreeMap::new();
    for (check, at) in checks.iter().zip(0..) {
        for (probe, number) in check.probes.iter().zip(0..) {
            let task = Task { check, probe, order: (at, number) };
            tasks.entry(&check.setup).or_default().push(task);
        }
    }
    let mut results: Vec<((usize, usize), CheckResult)> = Vec::new();
    let all = async {
        for (setup, tasks) in &tasks {
            results.extend(judge_group(host, subject, &image, setup, tasks, tell).await?);
        }
        Ok(())
    };
    interruptible(host, all, stop).await?;
    results.sort_by_key(|(order, _)| *order);
    let results: Vec<CheckResult> = results.into_iter().map(|(_, result)| result).collect();
    let passed = !results.is_empty() && results.iter().all(|result| result.passed);
    Ok(CheckReport { image: subject.image, passed, results, began_ms, ended_ms: now_ms() })
}

/// Work that was stopped leaves its instances; they are found as those of a killed run are.
async fn interruptible(
    host: &Host,
    work: impl Future<Output = Result<(), ProveError>>,
    stop: impl Future<Output = ()>,
) -> Result<(), ProveError> {
    let stopped = tokio::select! {
        done = work => return done,
        () = stop => ProveError::Interrupted,
    };
    sweep(host).await?;
    Err(stopped)
}

type Results = Vec<((usize, usize), CheckResult)>;

/// Judges the expectations of one setup.
async fn judge_group(
    host: &Host,
    subject: &Subject,
    image: &ImageView,
    setup: &Setup,
    tasks: &[Task<'_>],
    tell: &(dyn Fn(&CheckResult) + Sync),
) -> Result<Results, ProveError> {
    let config = image.config()?;
    let volumes: Vec<String> = config.volumes.values().map(|volume| volume.path.clone()).collect();
    let mut needed = false;
    for task in tasks {
        needed = needed || scene::needs_instance(task.probe, &volumes, host)?;
    }
    if !needed {
        let view = View { image, inside: None };
        let scene = Scene::of_image(host, subject, view);
        return judge_all(&scene, tasks, tell).await;
    }
    let place = Place::open(host).await?;
    let outcome = judge_running(&place, host, subject, image, &config, setup, tasks, tell).await;
    place.close().await?;
    outcome
}

#[expect(clippy::too_many_arguments, reason = "each is one thing, and this is the only caller")]
async fn judge_running(
    place: &Place,
    host: &Host,
    subject: &Subject,
    image: &ImageView,
    config: &ImageConfig,
    setup: &Setup,
    tasks: &[Task<'_>],
    tell: &(dyn Fn(&CheckResult) + Sync),
) -> Result<Results, ProveError> {
    match instance::start(place, subject, config, setup).await? {
        Ok(started) => {
            let view = View { image, inside: Some(&started.inside) };
            let scene = Scene::of_instance(host, subject, view, &started, place);
            judge_all(&scene, tasks, tell).await
        }
        Err(failure) => {
            let failed = |task: &Task<'_>| {
                let result = CheckResult {
                    log: failure.log.clone(),
                    ..scene::result(task, "the instance", task.probe.kind(), 0, Err(failure.finding.clone()))
                };
                tell(&result);
                (task.order, result)
            };
            Ok(tasks.iter().map(failed).collect())
        }
    }
}

/// What looks first, side by side; then what disturbs, one after the other.
async fn judge_all(
    scene: &Scene<'_>,
    tasks: &[Task<'_>],
    tell: &(dyn Fn(&CheckResult) + Sync),
) -> Result<Results, ProveError> {
    let (disturbing, looking): (Vec<_>, Vec<_>) = tasks.iter().partition(|task| rank(task.probe) > 0);
    let judge = |task| async move {
        let results = scene.judge(task).await?;
        results.iter().for_each(tell);
        Ok::<_, ProveError>((task, results))
    };
    let mut all = Vec::new();
    let mut side_by_side = futures_util::stream::iter(looking).map(judge).buffer_unordered(SIDE_BY_SIDE);
    while let Some(done) = side_by_side.next().await {
        let (task, results): (&Task<'_>, _) = done?;
        all.extend(results.into_iter().map(|result| (task.order, result)));
    }
    let mut disturbing = disturbing;
    disturbing.sort_by_key(|task| rank(task.probe));
    for task in disturbing {
        let (_, results) = judge(task).await?;
        all.extend(results.into_iter().map(|result| (task.order, result)));
    }
    Ok(all)
}

/// In which order what disturbs comes; 0 disturbs nobody.
fn rank(probe: &CheckProbe) -> u8 {
    match probe {
        CheckProbe::Load(_) => 1,
        CheckProbe::Memory(_) => 2,
        CheckProbe::ReadOnlyRoot(_) => 3,
        CheckProbe::Stop(_) => 4,
        _ => 0,
    }
}

/// Why an instance did not come to be healthy.
pub(crate) struct NotStarted {
    finding: Finding,
    log: Vec<String>,
}

pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
