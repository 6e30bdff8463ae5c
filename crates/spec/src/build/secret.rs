//! `secret` blocks of services and of environments.

use std::collections::BTreeMap;

use kiln_model::{Delivery, Environment, Name, Secret, SecretRef, SecretRefError, is_env_name};

use super::service::ServiceDraft;
use crate::eval::World;
use crate::read::Section;
use crate::report::Problem;
use crate::source::Place;
use crate::suggest::nearest;

/// Longer names are no names of files.
const LONGEST_NAME: usize = 255;

/// A secret of a service and what is needed to judge it beside the environments.
pub(crate) struct SecretDraft {
    pub(crate) name: String,
    pub(crate) secret: Secret,
    place: Place,
    /// Whether the block says where it is, well or not.
    says: bool,
}

/// The secrets of a service.
pub(super) fn of_service(world: &World<'_>, service: &Section<'_>) -> Vec<SecretDraft> {
    let env = service.map("env");
    let one = |block: &Section<'_>| {
        let name = block.label_text().to_owned();
        let delivery = match block.text("as").as_deref() {
            Some("file") => Delivery::File,
            _ => Delivery::Env,
        };
        check_name(world, block, delivery);
        let place = block.label_place();
        if delivery == Delivery::Env && env.contains_key(&name) {
            let problem = Problem::error(place, format!("`{name}` is a variable of the service's `env` too"));
            world.report.add(problem.also(service.at("env"), "here").help("take it out of `env`"));
        }
        let secret = Secret { from: reference(world, block), delivery };
        SecretDraft { name, secret, place, says: block.has("from") }
    };
    service.all("secret").map(one).collect()
}

/// Where secrets are in an environment.
pub(super) fn of_environment(world: &World<'_>, environment: &Section<'_>) -> BTreeMap<String, SecretRef> {
    let one = |block: &Section<'_>| Some((block.label_text().to_owned(), reference(world, block)?));
    environment.all("secret").filter_map(one).collect()
}

fn check_name(world: &World<'_>, block: &Section<'_>, delivery: Delivery) {
    let name = block.label_text();
    let (fits, what, help) = match delivery {
        Delivery::Env => (
            is_env_name(name),
            "no environment variable can be called so",
            "names have letters, digits and underscores, and do not begin with a digit; a file may have other \
             names: as = \"file\"",
        ),
        Delivery::File => {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            let fits = !name.is_empty() && !name.starts_with('.') && name.len() <= LONGEST_NAME;
            (
                fits && name.bytes().all(good),
                "this is no name for a file in /run/secrets",
                "names have letters, digits, dots, dashes and underscores, and do not begin with a dot",
            )
        }
    };
    if !fits {
        world.report.add(Problem::error(block.label_place(), what).help(help));
    }
}

fn reference(world: &World<'_>, block: &Section<'_>) -> Option<SecretRef> {
    let error = match block.text("from")?.parse() {
        Ok(reference) => return Some(reference),
        Err(error) => error,
    };
    let problem = match &error {
        SecretRefError::Unknown => Problem::error(block.at("from"), error.to_string())
            .note("a spec holds where a secret is and never the secret itself: whoever reads the repository would have it"),
        SecretRefError::Shape { .. } => Problem::error(block.at("from"), error.to_string()),
    };
    let examples = SecretRef::EXAMPLES.map(|example| format!("\"{example}\"")).join(", ");
    world.report.add(problem.help(format!("write it like one of {examples}")));
    None
}

/// Reports secrets that are found nowhere, and environments that speak of secrets that nobody has.
pub(super) fn check_all<'s, 't: 's>(
    world: &World<'_>,
    services: &BTreeMap<Name, ServiceDraft>,
    environments: &BTreeMap<Name, Environment>,
    sections: impl Iterator<Item = &'s Section<'t>>,
) {
    let drafts = || services.values().flat_map(|service| &service.secrets);
    for draft in drafts() {
        check_beside(world, draft, environments);
    }
    for block in sections.flat_map(|section| section.all("secret")) {
        let name = block.label_text();
        if drafts().any(|draft| draft.name == name) {
            continue;
        }
        let add = format!("add to the service that is to have it: secret \"{name}\" {{}}");
        let help = nearest(name, drafts().map(|draft| draft.name.as_str()));
        let help = help.map_or(add, |near| format!("did you mean `{near}`?"));
        let what = format!("no service has a secret called `{name}`: nobody gets it");
        world.report.add(Problem::warning(block.label_place(), what).help(help));
    }
}

fn check_beside(world: &World<'_>, draft: &SecretDraft, environments: &BTreeMap<Name, Environment>) {
    let name = &draft.name;
    if !draft.says && !environments.values().any(|environment| environment.secrets.contains_key(name)) {
        let what = format!("neither this service nor any environment says where `{name}` is");
        let help = format!("add from = \"{}\" here or to environments", SecretRef::EXAMPLES[0]);
        world.report.add(Problem::error(draft.place, what).help(help));
    }
    // One would take the other's place, and nobody could say which was meant.
    let variable = environments.iter().find(|(_, environment)| environment.env.contains_key(name));
    if let Some((environment, _)) = variable.filter(|_| draft.secret.delivery == Delivery::Env) {
        let what = format!("`{name}` is a variable of the environment `{environment}` too");
        let help = format!("say there where the secret is: secret \"{name}\" {{ from = \"…\" }}");
        world.report.add(Problem::error(draft.place, what).help(help));
    }
}
