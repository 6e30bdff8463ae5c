//! A control plane in a world of doubles, whose time runs as fast as the test looks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kiln_control::api::*;
use kiln_control::routes::PeerListen;
use kiln_control::state::State;
use kiln_control::{
    Clock, Control, ControlError, Event, Known, ProofError, Proofs, Question, Settings, Soaked, What,
};
use kiln_model::*;
use kiln_provider::{InstanceObservation, Phase};
use kiln_testkit::{Behaviour, FakeClock, FakeProvider};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::plane::Plane;

/// One turn of the world, milliseconds of its own time.
const TURN: u64 = 25;

#[derive(Clone)]
struct Time(FakeClock);

impl Clock for Time {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }
}

/// Everything; a crash and a start go over `control` and its task only.
pub(crate) struct World {
    pub(crate) clock: FakeClock,
    pub(crate) provider: FakeProvider,
    pub(crate) plane: Plane,
    pub(crate) proofs: Arc<Archive>,
    home: TempDir,
    running: Option<Running>,
}

/// Evidence as a list of words: whatever is among them is there, and what is sworn to is written down.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    pub(crate) there: Mutex<Vec<String>>,
    pub(crate) sworn: Mutex<Vec<(Digest, Soaked)>>,
}

impl Proofs for Archive {
    fn known(&self, question: &Question<'_>) -> Result<Known, ProofError> {
        let (there, sworn) = (self.there.lock().unwrap(), self.sworn.lock().unwrap());
        let lasted = |it: &Soaked| u64::try_from(it.until_ms - it.from_ms).unwrap();
        let met = |it: &Requirement| match it {
            Requirement::Soaked { environment, time } => sworn.iter().any(|(image, soaked)| {
                image == question.image
                    && soaked.environment == *environment
                    && lasted(soaked) >= time.millis()
            }),
            other => there.contains(&other.to_string()),
        };
        let missing = question.requires.iter().filter(|it| !met(it)).map(|it| Unproven {
            requirement: it.clone(),
            why: "nobody said so".into(),
            command: format!("kiln prove {it}"),
        });
        let evidence = there.iter().map(|word| EvidenceStatus {
            digest: *question.image,
            kind: word.clone(),
            says: String::new(),
            signers: vec!["home".into()],
            at_ms: Some(question.now_ms),
            problem: None,
        });
        Ok(Known { evidence: evidence.collect(), missing: missing.collect() })
    }

    fn swear(&self, image: &Digest, soaked: &Soaked) -> Result<(), ProofError> {
        self.sworn.lock().unwrap().push((*image, soaked.clone()));
        Ok(())
    }
}

struct Running {
    control: Control<FakeProvider, Plane>,
    _stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::seeded(7).await
    }

    pub(crate) async fn seeded(seed: u64) -> Self {
        let clock = FakeClock::default();
        let mut world = Self {
            provider: FakeProvider::new(clock.clone(), seed),
            clock,
            plane: Plane::default(),
            proofs: Arc::default(),
            home: TempDir::new().unwrap(),
            running: None,
        };
        world.start();
        world
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.home.path().join("state/kiln.db")
    }

    /// Starts the control plane, as after `kill -9` of the one before.
    pub(crate) fn start(&mut self) {
        self.provider = self.provider.reopen();
        let state = State::open(&self.database()).unwrap();
        let settings = Settings {
            peers: PeerListen::Inside,
            warnings: Vec::new(),
            proofs: self.proofs.clone(),
            registry: None,
        };
        let time = Time(self.clock.clone());
        let control = Control::new(self.provider.clone(), self.plane.clone(), state, time, settings);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn({
            let control = control.clone();
            async move { control.run(stopped).await }
        });
        self.running = Some(Running { control, _stop: stop, task });
    }

    /// Kills the control plane at whatever await it stands.
    pub(crate) async fn crash(&mut self) {
        if let Some(running) = self.running.take() {
            running.task.abort();
            let _ = running.task.await;
        }
    }

    pub(crate) fn control(&self) -> &Control<FakeProvider, Plane> {
        &self.running.as_ref().unwrap().control
    }

    /// One turn: time goes on, and whatever wants to run does.
    pub(crate) async fn turn(&self) {
        self.clock.advance(TURN);
        if let Some(running) = &self.running {
            running.control.look();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Turns until something is so.
    pub(crate) async fn until<R>(&self, what: &str, mut so: impl AsyncFnMut(&Self) -> Option<R>) -> R {
        let begun = Instant::now();
        loop {
            if let Some(result) = so(self).await {
                return result;
            }
            if begun.elapsed() > Duration::from_secs(90) {
                let events = self.events().await;
                let last: Vec<_> = events.iter().rev().take(12).rev().collect();
                panic!(
                    "{what} did not come; problems {:#?}; last events {last:#?}",
                    self.status().await.problems
                );
            }
            self.turn().await;
        }
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        self.control().events(0, 100_000).await.unwrap()
    }

    pub(crate) async fn status(&self) -> StatusAnswer {
        self.control().status().await.unwrap()
    }

    pub(crate) async fn service(&self, service: &str) -> ServiceStatus {
        let all = self.status().await.services;
        all.into_iter().find(|it| it.service.as_str() == service).expect("the service is known")
    }

    pub(crate) async fn try_deploy(
        &self,
        contents: Vec<ReleaseContent>,
    ) -> Result<DeployAnswer, ControlError> {
        self.control().deploy(request(contents)).await
    }

    /// Deploys one content and waits for the end of its rollout.
    pub(crate) async fn deploy(&self, content: ReleaseContent) -> What {
        let answer = self.try_deploy(vec![content]).await.unwrap();
        self.ended(answer.services[0].rollout.expect("a rollout"), answer.after).await
    }

    /// The event that ends a rollout.
    pub(crate) async fn ended(&self, rollout: i64, after: i64) -> What {
        self.until(&format!("the end of rollout {rollout}"), async |world| {
            let events = world.events().await.into_iter().filter(|event| event.id > after);
            let mut own = events.filter(|event| event.rollout == Some(rollout));
            own.find(|event| event.what.ends_rollout()).map(|event| event.what)
        })
        .await
    }

    /// Waits until only these fleets exist, with so many ready instances and nothing else.
    pub(crate) async fn settled(&self, wanted: &[(&str, usize)]) {
        let wanted: BTreeMap<String, usize> =
            wanted.iter().map(|(fleet, ready)| ((*fleet).to_owned(), *ready)).collect();
        self.until(&format!("{wanted:?}"), async |world| {
            let seen = world.provider.peek();
            let living = |it: &&InstanceObservation| it.phase != Phase::Exited;
            let all_ready = seen.fleets.values().flat_map(|it| it.instances.iter().filter(living));
            let calm = all_ready.clone().all(|it| it.phase == Phase::Ready);
            let found: BTreeMap<String, usize> = seen
                .fleets
                .iter()
                .map(|(id, fleet)| (id.to_string(), fleet.instances.iter().filter(living).count()))
                .collect();
            (calm && found == wanted).then_some(())
        })
        .await;
        assert_eq!(self.provider.misuses(), []);
    }

    pub(crate) fn script(&self, fleet: &str, behaviours: impl Into<Vec<Behaviour>>) {
        self.provider.script(&fleet.parse().unwrap(), behaviours);
    }

    pub(crate) fn instances(&self, fleet: &str) -> Vec<InstanceObservation> {
        let seen = self.provider.peek();
        seen.fleets.get(&fleet.parse().unwrap()).map(|it| it.instances.clone()).unwrap_or_default()
    }
}

pub(crate) fn request(contents: Vec<ReleaseContent>) -> DeployRequest {
    DeployRequest {
        environment: name("dev"),
        releases: contents,
        author: "ann".into(),
        reason: None,
        force: false,
        freezes: Vec::new(),
        emergency: None,
        proof: Default::default(),
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A service of three instances with an HTTP port on a socket of its own; `build` stands for its image.
pub(crate) fn content(service: &str, build: u8) -> ReleaseContent {
    let http = Port { number: 8080, protocol: Protocol::Http };
    let listen = 8000 + u16::from(service.as_bytes()[0]);
    let expose = Expose {
        port: name("http"),
        listen: Some(listen),
        address: None,
        host: None,
        path: "/".into(),
        tls: None,
    };
    ReleaseContent {
        project: name("shop"),
        service: Service {
            name: name(service),
            image: name(service),
            replicas: 3,
            env: BTreeMap::new(),
            args: None,
            expose: vec![expose],
            volumes: BTreeMap::new(),
            depends_on: Vec::new(),
            limits: Limits::default(),
            rollout: RolloutSpec::default(),
            traffic: TrafficSpec::default(),
            max_disrupted: kiln_model::Amount::Percent(25),
            max_lifetime: None,
            secrets: Default::default(),
        },
        image: Digest::from_bytes([build; 32]),
        config: ImageConfig { ports: BTreeMap::from([(name("http"), http)]), ..ImageConfig::default() },
        checks: Vec::new(),
    }
}

pub(crate) fn with(mut content: ReleaseContent, change: impl FnOnce(&mut ReleaseContent)) -> ReleaseContent {
    change(&mut content);
    content
}

pub(crate) fn rolled_with(content: ReleaseContent, strategy: Strategy) -> ReleaseContent {
    with(content, |it| it.service.rollout.strategy = strategy)
}
