//! `kiln key`: the keys of the home, which sign evidence and images.

use std::path::PathBuf;
use std::process::ExitCode;

use kiln_attest::keys::{Algorithm, PrivateKey, PublicKey, Signer};
use kiln_model::Name;
use serde::Serialize;

use crate::context::{Context, name};
use crate::error::{Failure, Kind, Result};
use crate::evidence::{KeyArgs, failure, folder, passphrase};
use crate::ledger::Act;
use crate::ui::columns;

/// Arguments of `kiln key`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Deed,
}

/// Private keys are encrypted with the passphrase in KILN_KEY_PASSPHRASE, in the form that cosign reads and writes.
#[derive(Debug, clap::Subcommand)]
enum Deed {
    /// Make a key pair
    Create {
        /// What to call it
        #[arg(value_parser = name)]
        name: Name,
        /// How it signs
        #[arg(long, value_enum, default_value_t = Kinds::EcdsaP256)]
        algorithm: Kinds,
        /// Leave the private key unencrypted; its file can be read by its owner only
        #[arg(long)]
        no_passphrase: bool,
    },
    /// Take a key that was made elsewhere: a private key (cosign's, PKCS#8, SEC1) or a public one, which is then trusted
    Import {
        /// What to call it
        #[arg(value_parser = name)]
        name: Name,
        /// PEM file
        file: PathBuf,
    },
    /// List the keys
    List,
    /// Print a public key
    Public {
        /// Which; the home's own without a name
        #[arg(value_parser = name)]
        name: Option<Name>,
    },
}

/// How a key signs.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kinds {
    /// What cosign makes
    EcdsaP256,
    /// Shorter and faster
    Ed25519,
}

/// A key, as it is told.
#[derive(Debug, Serialize)]
struct Told {
    name: Name,
    id: String,
    private: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let keys = folder()?;
    match &args.act {
        Deed::Create { name, algorithm, no_passphrase } => {
            let passphrase = passphrase();
            if passphrase.is_none() && !no_passphrase {
                return Err(Failure::new(Kind::Refused, "the private key would be written unencrypted")
                    .hint("set KILN_KEY_PASSPHRASE to encrypt it, or say `--no-passphrase`"));
            }
            let wanted = passphrase.as_deref().map(str::as_bytes).filter(|_| !no_passphrase);
            let algorithm = match algorithm {
                Kinds::EcdsaP256 => Algorithm::EcdsaP256,
                Kinds::Ed25519 => Algorithm::Ed25519,
            };
            let key = keys.create(name, algorithm, wanted).map_err(|error| failure(&error))?;
            let told = Told { name: name.clone(), id: key.key().id(), private: true };
            Act::new("key.made").details(serde_json::json!({ "name": name, "id": told.id })).record()?;
            context.ui.result(&told, || {
                format!(
                    "made key {name}\n  private {}\n  public  {}",
                    keys.private_path(name).display(),
                    keys.public_path(name).display()
                )
            });
        }
        Deed::Import { name, file } => {
            let told = import(&keys, name, file)?;
            Act::new("key.imported").details(serde_json::json!({ "name": name, "id": told.id })).record()?;
            context.ui.result(&told, || {
                format!("took the {} key {name}", if told.private { "private" } else { "public" })
            });
        }
        Deed::List => {
            let trusted = keys.all_public().map_err(|error| failure(&error))?;
            let all: Vec<Told> = trusted
                .iter()
                .map(|(name, key)| Told {
                    name: name.clone(),
                    id: key.id(),
                    private: keys.private_path(name).is_file(),
                })
                .collect();
            context.ui.result(&all, || table(&all));
        }
        Deed::Public { name } => {
            let key = match name {
                Some(name) => keys.public(name).map_err(|error| failure(&error))?,
                None => KeyArgs::default().load()?.key().clone(),
            };
            let pem = key.to_pem();
            context.ui.result(&pem, || pem.clone());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn import(keys: &kiln_attest::keys::Folder, name: &Name, file: &PathBuf) -> Result<Told> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::new(Kind::NotFound, format!("cannot read the key {}", file.display())).because(&error)
    })?;
    if let Ok(public) = PublicKey::from_pem(&text) {
        keys.store_public(name, &public).map_err(|error| failure(&error))?;
        return Ok(Told { name: name.clone(), id: public.id(), private: false });
    }
    let passphrase = passphrase();
    let passphrase = passphrase.as_deref().map(str::as_bytes);
    let key = PrivateKey::from_pem(&text, passphrase).map_err(|error| failure(&error))?;
    keys.store(name, &key, passphrase).map_err(|error| failure(&error))?;
    Ok(Told { name: name.clone(), id: key.key().id(), private: true })
}

fn table(all: &[Told]) -> String {
    let mut rows = vec![["NAME", "SIGNS", "ID"].map(String::from).to_vec()];
    rows.extend(all.iter().map(|key| {
        let signs = if key.private { "yes" } else { "no, only trusted" };
        vec![key.name.to_string(), signs.into(), key.id.clone()]
    }));
    columns(&rows)
}
