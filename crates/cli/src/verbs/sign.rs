//! `kiln sign`: signs an image as cosign does.

use std::collections::BTreeMap;
use std::process::ExitCode;

use kiln_attest::evidence::sign_image;
use kiln_store::Store;

use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::evidence::KeyArgs;
use crate::ledger::Act;

/// Arguments of `kiln sign`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Tag, digest, or the beginning of a digest
    image: String,
    /// What the image is called where the signature is verified, such as registry.example.com/shop/web; its tag or digest
    /// unless given
    #[arg(long)]
    reference: Option<String>,
    /// Something more that is signed, for `cosign verify -a` (may be given several times)
    #[arg(short, long = "annotation", value_name = "NAME=VALUE")]
    annotations: Vec<String>,
    #[command(flatten)]
    key: KeyArgs,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let store = crate::context::store()?;
    let image = super::image::resolve(&store, &args.image)?.digest;
    let mut annotations = BTreeMap::new();
    for given in &args.annotations {
        let (name, value) = given.split_once('=').ok_or_else(|| {
            Failure::new(Kind::Failed, format!("--annotation {given:?} has no value"))
                .hint(format!("write --annotation {given}=VALUE"))
        })?;
        annotations.insert(name.to_owned(), value.to_owned());
    }
    let reference = args.reference.clone().unwrap_or_else(|| args.image.clone());
    let evidence = sign(&store, &image, &reference, &annotations, &args.key)?;
    let answer = serde_json::json!({ "image": image, "evidence": evidence, "key": args.key.name() });
    context.ui.result(&answer, || format!("signed {} with key {}", image.short(), args.key.name()));
    Ok(ExitCode::SUCCESS)
}

/// Signs an image of the store. The same signature again is the one that is there.
pub(crate) fn sign(
    store: &Store,
    image: &kiln_model::Digest,
    reference: &str,
    annotations: &BTreeMap<String, String>,
    key: &KeyArgs,
) -> Result<kiln_model::Digest> {
    let evidence = sign_image(store, image, reference, &key.load()?, annotations)
        .map_err(|error| Failure::from_error(Kind::Failed, &error))?;
    let details = serde_json::json!({ "reference": reference, "key": key.name() });
    Act::new("image.signed").image(image).evidence(&evidence).details(details).record()?;
    Ok(evidence)
}
