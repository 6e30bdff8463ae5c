//! How fast the ledger and evidence are on this machine: `cargo run -p kiln-attest --example rates [FOLDER]`.
//! Appends are bound by the disk's flushes, so name a folder on the disk that matters.

use std::error::Error;
use std::time::Instant;

use kiln_attest::keys::{Algorithm, PrivateKey, Signer, TrustedKeys};
use kiln_attest::ledger::{Entry, Filter, Ledger};
use kiln_model::{Digest, Name};
use serde_json::json;

fn entry(number: u64) -> Result<Entry, Box<dyn Error>> {
    let mut entry = Entry::new(1_800_000_000_000 + number, "alice", "release.deployed");
    entry.why = Some("the fix for the slow start".into());
    entry.environment = Some(Name::new("prod")?);
    entry.service = Some(Name::new("web")?);
    entry.image = Some(Digest::from_bytes([3; 32]));
    entry.details = json!({ "release": number, "replicas": 3 });
    Ok(entry)
}

fn rate(
    what: &str,
    count: u64,
    work: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    work()?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what:<44} {:>10.0}/s  ({count} in {seconds:.2} s)", count as f64 / seconds);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let place = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(place)?;
    let ledger = Ledger::open(folder.path())?;
    let signer = PrivateKey::generate(Algorithm::EcdsaP256)?;
    let entries = |from: u64, to: u64| (from..to).map(entry).collect::<Result<Vec<_>, _>>();
    rate("appends, one flush each", 2_000, || {
        for one in entries(0, 2_000)? {
            ledger.append(one)?;
        }
        Ok(())
    })?;
    rate("appends, a hundred to a flush", 200_000, || {
        for batch in 0..2_000 {
            ledger.append_all(entries(batch * 100, batch * 100 + 100)?)?;
        }
        Ok(())
    })?;
    rate("appends after these, one flush each", 500, || {
        for one in entries(0, 500)? {
            ledger.append(one)?;
        }
        Ok(())
    })?;
    let count = ledger.head()?.map_or(0, |head| head.seq);
    rate("records verified", count, || {
        let report = ledger.verify(&TrustedKeys::new(), None)?;
        assert!(report.is_good() && report.records == count);
        Ok(())
    })?;
    rate("records read", count, || {
        assert_eq!(ledger.records(Filter::default())?.filter(Result::is_ok).count() as u64, count);
        Ok(())
    })?;
    rate("P-256 signatures", 1_000, || {
        for number in 0..1_000_u32 {
            signer.sign(&number.to_be_bytes())?;
        }
        Ok(())
    })?;
    let signature = signer.sign(b"message")?;
    rate("P-256 verifications", 1_000, || {
        for _ in 0..1_000 {
            signer.public().verify(b"message", &signature)?;
        }
        Ok(())
    })
}
