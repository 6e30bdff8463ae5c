//! `service` blocks.

use std::collections::BTreeMap;

use kiln_model::{Amount, Base, Limits, Name, Service, TrafficSpec, UpgradedDrain, VolumeMount};

use super::expose::{self, ExposeDraft};
use super::image::ImageDraft;
use super::rollout;
use super::secret::{self, SecretDraft};
use crate::eval::World;
use crate::language::token;
use crate::read::Section;
use crate::report::Problem;
use crate::source::Place;
use crate::suggest::did_you_mean;

/// The least memory with which a program starts at all: the kernel's own accounting takes about 1 MiB.
const LEAST_MEMORY: u64 = 4 << 20;

/// A service and what is needed to judge it among the others.
pub(crate) struct ServiceDraft {
    pub(crate) service: Service,
    pub(crate) exposes: Vec<ExposeDraft>,
    /// Where each item of `depends_on` is.
    pub(crate) needs: Vec<(Name, Place)>,
    pub(crate) secrets: Vec<SecretDraft>,
}

pub(crate) struct Builder<'b> {
    pub(crate) world: &'b World<'b>,
    pub(crate) images: &'b BTreeMap<Name, ImageDraft>,
}

impl Builder<'_> {
    pub(crate) fn build(&self, section: &Section<'_>) -> Option<ServiceDraft> {
        let image = section.named("image");
        // What the image lacks is only told when the image itself is in order.
        let sound = image.as_ref().and_then(|name| self.images.get(name)).filter(|draft| draft.sound);
        if let Some(draft) = sound {
            self.check_entrypoint(section, draft);
        }
        let needs = needs(section);
        let exposes: Vec<_> =
            section.all("expose").filter_map(|block| expose::build(self.world, block, sound)).collect();
        let secrets = secret::of_service(self.world, section);
        let replicas = section.whole("replicas").unwrap_or(1);
        let service = Service {
            name: section.name()?,
            image: image.or_else(|| section.name())?,
            replicas,
            env: section.map("env"),
            secrets: secrets.iter().map(|draft| (draft.name.clone(), draft.secret.clone())).collect(),
            args: section.texts("args"),
            expose: exposes.iter().map(|draft| draft.expose.clone()).collect(),
            volumes: self.volumes(section, sound),
            depends_on: needs.iter().map(|(name, _)| name.clone()).collect(),
            limits: section.one("limits").map(|block| self.limits(block)).unwrap_or_default(),
            rollout: section
                .one("rollout")
                .map(|block| rollout::build(self.world, block, replicas, sound))
                .unwrap_or_default(),
            traffic: section.one("traffic").map(|block| self.traffic(block)).unwrap_or_default(),
            max_disrupted: self.max_disrupted(section),
            max_lifetime: section.span("max_lifetime"),
        };
        Some(ServiceDraft { service, exposes, needs, secrets })
    }

    fn max_disrupted(&self, section: &Section<'_>) -> Amount {
        let most = section.amount("max_disrupted").unwrap_or(Amount::Percent(25));
        if matches!(most, Amount::Count(0) | Amount::Percent(0)) {
            let message = "with none away at any time, no instance can ever be replaced";
            let problem = Problem::error(section.at("max_disrupted"), message);
            self.world.report.add(problem.help("write max_disrupted = 1, or take it out for \"25%\""));
        }
        most
    }

    fn check_entrypoint(&self, section: &Section<'_>, image: &ImageDraft) {
        let recipe = &image.recipe;
        let inherits = matches!(recipe.base, Base::Oci(_));
        if inherits
            || !recipe.config.entrypoint.is_empty()
            || !recipe.config.cmd.is_empty()
            || section.has("args")
        {
            return;
        }
        let message = format!("the image `{}` does not say which program to run", recipe.name);
        self.world.report.add(
            Problem::error(section.at("image"), message)
                .also(image.place, "this image has no `entrypoint`")
                .help("add to the image: entrypoint = [\"/srv/app/server\"]"),
        );
    }

    fn volumes(&self, section: &Section<'_>, image: Option<&ImageDraft>) -> BTreeMap<Name, VolumeMount> {
        let mut volumes = BTreeMap::new();
        for block in section.all("volume") {
            let Some(name) = block.name() else { continue };
            if let Some(image) = image.filter(|image| !image.recipe.config.volumes.contains_key(&name)) {
                self.unknown_volume(block, image, &name);
            }
            let mount = VolumeMount {
                host_path: block.text("host_path"),
                read_only: block.flag("read_only").unwrap_or(false),
            };
            volumes.insert(name, mount);
        }
        volumes
    }

    fn unknown_volume(&self, block: &Section<'_>, image: &ImageDraft, name: &Name) {
        let known = image.recipe.config.volumes.keys().map(Name::as_str);
        let help = did_you_mean(name.as_str(), known);
        let add = format!("add to the image: volume \"{name}\" {{ path = \"/var/lib/{name}\" }}");
        let message = format!("the image `{}` has no volume called `{name}`", image.recipe.name);
        self.world.report.add(
            Problem::error(block.label_place(), message)
                .also(image.place, "the image")
                .help(help.unwrap_or(add)),
        );
    }

    fn limits(&self, block: &Section<'_>) -> Limits {
        let memory = block.size("memory");
        if memory.is_some_and(|memory| memory.get() < LEAST_MEMORY) {
            let problem =
                Problem::error(block.at("memory"), "no program starts with less than 4MiB of memory");
            self.world
                .report
                .add(problem.help("write it like memory = \"64MiB\", or leave it out for no limit"));
        }
        Limits { memory, cpu: block.fraction("cpu"), pids: block.whole("pids") }
    }

    fn traffic(&self, block: &Section<'_>) -> TrafficSpec {
        let default = TrafficSpec::default();
        let header = block.text("preview_header");
        if header.as_deref().is_some_and(|name| !token(name)) {
            let problem =
                Problem::error(block.at("preview_header"), "this is not the name of an HTTP header");
            self.world.report.add(problem.help("write it like preview_header = \"kiln-preview\""));
        }
        TrafficSpec {
            request_timeout: block.span("request_timeout").unwrap_or(default.request_timeout),
            idle_timeout: block.span("idle_timeout").unwrap_or(default.idle_timeout),
            upgraded: match block.text("upgraded").as_deref() {
                Some("close") => UpgradedDrain::Close,
                _ => UpgradedDrain::Wait,
            },
            preview_header: header.map_or(default.preview_header, |name| name.to_ascii_lowercase()),
            preview_host: block.text("preview_host"),
            hold: block.span("hold"),
        }
    }
}

fn needs(section: &Section<'_>) -> Vec<(Name, Place)> {
    let names = section.texts("depends_on").unwrap_or_default();
    let place = |index| section.item_at("depends_on", index);
    let named = |(index, name): (usize, String)| Some((Name::new(name).ok()?, place(index)));
    let mut needs: Vec<(Name, Place)> = Vec::new();
    for (name, place) in names.into_iter().enumerate().filter_map(named) {
        if needs.iter().all(|(known, _)| *known != name) {
            needs.push((name, place));
        }
    }
    needs
}
