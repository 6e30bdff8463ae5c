//! Secrets whose form takes more than a prefix to describe.

use super::super::pem::{self, Kind};
use super::super::{Confidence, plausible, verify};
use super::{Check, Find, Hit, Match, Rule, begins_word, expression, likely, proven};
use crate::Severity;

struct Form {
    id: &'static str,
    title: &'static str,
    issuer: &'static str,
    severity: Severity,
    keys: &'static [&'static str],
    before: usize,
    after: usize,
    text: &'static str,
    check: Check,
}

#[rustfmt::skip]
const FORMS: &[Form] = &[
    Form { id: "slack-token", title: "Slack token", issuer: "Slack", severity: Severity::Critical, keys: &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxc-", "xoxd-"], before: 0, after: 300, text: r"^(xox[a-z]-(?:[0-9]{8,14}-){1,3}[A-Za-z0-9]{20,64})(?:[^A-Za-z0-9]|$)", check: likely_token },
    Form { id: "slack-webhook", title: "Slack webhook", issuer: "Slack", severity: Severity::High, keys: &["hooks.slack.com/"], before: 0, after: 200, text: r"^hooks\.slack\.com/(?:services|workflows|triggers)/([A-Z][A-Z0-9]{6,14}/[A-Z][A-Z0-9]{6,14}/[A-Za-z0-9]{20,48})(?:[^A-Za-z0-9]|$)", check: likely_token },
    Form { id: "discord-webhook", title: "Discord webhook", issuer: "Discord", severity: Severity::High, keys: &["discord.com/api/webhooks/", "discordapp.com/api/webhooks/"], before: 0, after: 200, text: r"^[a-z.]+/api/webhooks/[0-9]{16,20}/([A-Za-z0-9_-]{60,80})(?:[^A-Za-z0-9_-]|$)", check: likely_token },
    Form { id: "discord-token", title: "Discord bot token", issuer: "Discord", severity: Severity::Critical, keys: &["discord", "DISCORD", "Discord"], before: 0, after: 200, text: r"[^A-Za-z0-9_-]([MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38})(?:[^A-Za-z0-9_-]|$)", check: discord },
    Form { id: "telegram-token", title: "Telegram bot token", issuer: "Telegram", severity: Severity::High, keys: &[":AA"], before: 11, after: 40, text: r"(?:^|[^0-9A-Za-z_])([0-9]{8,10}:AA[A-Za-z0-9_-]{33})(?:[^A-Za-z0-9_-]|$)", check: likely_token },
    Form { id: "openai-key", title: "OpenAI key", issuer: "OpenAI", severity: Severity::Critical, keys: &["T3BlbkFJ"], before: 130, after: 130, text: r"(?:^|[^0-9A-Za-z_-])(sk-[A-Za-z0-9_-]{20,110}T3BlbkFJ[A-Za-z0-9_-]{20,110})(?:[^A-Za-z0-9_-]|$)", check: proven_token },
    Form { id: "terraform-token", title: "Terraform Cloud token", issuer: "HashiCorp", severity: Severity::Critical, keys: &[".atlasv1."], before: 15, after: 90, text: r"(?:^|[^0-9A-Za-z])([A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{60,70})(?:[^A-Za-z0-9_-]|$)", check: likely_token },
    Form { id: "twilio-key", title: "Twilio key", issuer: "Twilio", severity: Severity::High, keys: &["twilio", "TWILIO", "Twilio"], before: 0, after: 200, text: r"[^A-Za-z0-9](SK[0-9a-f]{32})(?:[^A-Za-z0-9]|$)", check: likely_token },
    Form { id: "mailgun-key", title: "Mailgun key", issuer: "Mailgun", severity: Severity::High, keys: &["mailgun", "MAILGUN", "Mailgun"], before: 0, after: 200, text: r"[^A-Za-z0-9](key-[0-9a-f]{32}|[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8})(?:[^A-Za-z0-9]|$)", check: likely_token },
    Form { id: "heroku-legacy-key", title: "Heroku key", issuer: "Heroku", severity: Severity::High, keys: &["heroku", "HEROKU", "Heroku"], before: 0, after: 120, text: r#"^[A-Za-z]{6}[A-Za-z0-9_.-]{0,30}["']?\s{0,4}(?:=|:|=>)\s{0,4}["']?([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12})(?:[^A-Za-z0-9-]|$)"#, check: likely_token },
    Form { id: "vault-legacy-token", title: "HashiCorp Vault token", issuer: "HashiCorp Vault", severity: Severity::High, keys: &["VAULT_TOKEN", "vault_token", "X-Vault-Token"], before: 0, after: 80, text: r#"^[A-Za-z_-]{11,13}["']?\s{0,4}[:=]\s{0,4}["']?(s\.[A-Za-z0-9]{24})(?:[^A-Za-z0-9]|$)"#, check: likely_token },
    Form { id: "azure-storage-key", title: "Azure storage account key", issuer: "Azure", severity: Severity::Critical, keys: &["AccountKey=", "accountKey", "account_key", "ACCOUNT_KEY", "AZURE_STORAGE_KEY"], before: 0, after: 140, text: r#"^[A-Za-z_]+["']?\s{0,4}[:=]\s{0,4}["']?([A-Za-z0-9+/]{86}==)"#, check: azure_storage },
    Form { id: "azure-sas", title: "Azure shared access signature", issuer: "Azure", severity: Severity::High, keys: &["sig="], before: 400, after: 100, text: r"[?&](?:sv|se|sp)=[A-Za-z0-9%:.-]{1,40}&[A-Za-z0-9%:.&=-]*sig=([A-Za-z0-9%/+]{43,80}(?:%3[Dd]|=)?)", check: azure_sas },
    Form { id: "azure-client-secret", title: "Microsoft Entra client secret", issuer: "Microsoft Entra", severity: Severity::Critical, keys: &["Q~"], before: 5, after: 45, text: r"(?:^|[^0-9A-Za-z_~.-])([A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})(?:[^A-Za-z0-9_~.-]|$)", check: likely_token },
    Form { id: "airtable-token", title: "Airtable token", issuer: "Airtable", severity: Severity::High, keys: &["pat"], before: 0, after: 90, text: r"^(pat[A-Za-z0-9]{14}\.[0-9a-f]{64})(?:[^A-Za-z0-9]|$)", check: likely_token },
    Form { id: "sentry-org-token", title: "Sentry organisation token", issuer: "Sentry", severity: Severity::High, keys: &["sntrys_eyJ"], before: 0, after: 500, text: r"^(sntrys_eyJ[A-Za-z0-9+/=_-]{80,})(?:[^A-Za-z0-9]|$)", check: likely_token },
    Form { id: "jwt", title: "JSON web token", issuer: "whoever signed it", severity: Severity::Medium, keys: &["eyJ"], before: 0, after: 8192, text: r"^(eyJ[A-Za-z0-9_-]{14,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{22,})(?:[^A-Za-z0-9_-]|$)", check: jwt },
    Form { id: "kubeconfig-client-key", title: "client key of a kubeconfig", issuer: "the cluster's administrator", severity: Severity::Critical, keys: &["client-key-data"], before: 0, after: 12 << 10, text: r#"^client-key-data["']?:\s{0,4}["']?([A-Za-z0-9+/]{100,}={0,2})"#, check: kubeconfig },
];

pub(super) fn rules() -> Vec<Rule> {
    let rule = |form: &Form| Rule {
        id: form.id,
        title: form.title,
        severity: form.severity,
        issuer: form.issuer,
        keys: form.keys,
        binary: form.keys.iter().all(|key| key.len() >= 8),
        strong: true,
        find: Find::Expression {
            before: form.before,
            after: form.after,
            regex: expression(form.text),
            check: form.check,
        },
    };
    let code = |id, title, issuer, severity, keys, find| Rule {
        id,
        title,
        issuer,
        severity,
        keys,
        binary: true,
        strong: true,
        find: Find::Code(find),
    };
    FORMS
        .iter()
        .map(rule)
        .chain([
            code(
                "private-key",
                "private key",
                "whoever trusts its public half",
                Severity::Critical,
                &["-----BEGIN "],
                private_key,
            ),
            code("aws-access-key", "AWS access key", "AWS IAM", Severity::Critical, &["AKIA", "ASIA"], aws),
        ])
        .collect()
}

fn likely_token(secret: &[u8]) -> Option<Confidence> {
    plausible::token(secret).then(|| likely(secret))?
}

fn proven_token(secret: &[u8]) -> Option<Confidence> {
    proven(plausible::token(secret))
}

/// The first part is the number of the bot's account, in base64.
fn discord(secret: &[u8]) -> Option<Confidence> {
    let id = verify::base64(secret.split(|b| *b == b'.').next()?)?;
    proven((17..=20).contains(&id.len()) && id.iter().all(u8::is_ascii_digit))
}

fn azure_storage(secret: &[u8]) -> Option<Confidence> {
    /// Digest of the key of Azurite, Microsoft's emulator, which its documentation shows.
    const EMULATOR: &str = "e95d6ae8331cddfe";
    let key = verify::base64(secret).filter(|key| key.len() == 64)?;
    let known = super::super::engine::short_hash(b"azurite", secret) == EMULATOR;
    proven(!known && plausible::entropy(&key) > 4.5)
}

/// A signature is an HMAC-SHA256.
fn azure_sas(secret: &[u8]) -> Option<Confidence> {
    let text = String::from_utf8_lossy(secret);
    let text = text.replace("%2F", "/").replace("%2f", "/").replace("%2B", "+").replace("%2b", "+");
    let text = text.replace("%3D", "=").replace("%3d", "=");
    let signature = verify::base64(text.as_bytes())?;
    proven(signature.len() == 32 && plausible::entropy(&signature) > 3.5)
}

/// Many web tokens are public, or expired; that it is one says no more than its rule.
fn jwt(secret: &[u8]) -> Option<Confidence> {
    verify::jwt(secret).then_some(Confidence::Likely)
}

fn kubeconfig(secret: &[u8]) -> Option<Confidence> {
    proven(verify::base64(secret).is_some_and(|text| pem::private_key(&text).is_some()))
}

fn private_key(hit: &Hit<'_>) -> Option<Match> {
    let key = pem::private_key(&hit.text[hit.key.start..])?;
    let range = hit.key.start..hit.key.start + key.length;
    let around = &hit.text[hit.key.start.saturating_sub(4000)..range.start];
    let google = memchr::memmem::find(around, b"\"service_account\"").is_some()
        && memchr::memmem::find(around, b"\"private_key\"").is_some();
    let title = match key.kind {
        _ if google => "Google service account key",
        Kind::Der => "private key",
        Kind::OpenSsh => "OpenSSH private key",
        Kind::OpenPgp => "OpenPGP private key",
    };
    let mut found = Match::new(range, Confidence::Proven);
    found.title = Some(title);
    if key.encrypted {
        found.severity = Some(Severity::Medium);
        found.confidence = Confidence::Likely;
        found.note = Some("a passphrase protects it, as far as that goes".into());
    }
    (plausible::entropy(&key.body) > 3.5).then_some(found)
}

/// The identifier of a key, and the key itself near it. The identifier alone opens nothing.
fn aws(hit: &Hit<'_>) -> Option<Match> {
    let id = hit.text.get(hit.key.start..hit.key.start + 20)?;
    let body = |b: &u8| b.is_ascii_uppercase() || matches!(b, b'2'..=b'7');
    let ends = hit.text.get(hit.key.start + 20).is_none_or(|b| !b.is_ascii_alphanumeric());
    let good = begins_word(hit.text, hit.key.start) && ends && id.iter().all(body);
    if !good || plausible::placeholder(id) || plausible::entropy(&id[4..]) < 2.8 {
        return None;
    }
    let note = verify::aws_account(id).map(|account| format!("of AWS account {account:012}"));
    let start = hit.key.start.saturating_sub(600);
    let end = hit.text.len().min(hit.key.start + 620);
    let found = match aws_secret(&hit.text[start..end]) {
        Some(secret) => Match::new(start + secret.start..start + secret.end, Confidence::Proven),
        None => Match {
            severity: Some(Severity::Low),
            title: Some("identifier of an AWS access key"),
            ..Match::new(hit.key.start..hit.key.start + 20, Confidence::Possible)
        },
    };
    Some(Match { note, ..found })
}

/// 40 characters of base64 that stand alone and look random: not a digest, not a path.
fn aws_secret(text: &[u8]) -> Option<std::ops::Range<usize>> {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let mut at = 0;
    for run in text.chunk_by(|a, b| inside(*a) == inside(*b)) {
        let range = at..at + run.len();
        at = range.end;
        let mixed = |kind: fn(&u8) -> bool| run.iter().filter(|b| kind(b)).count() >= 2;
        let random =
            mixed(u8::is_ascii_lowercase) && mixed(u8::is_ascii_uppercase) && mixed(u8::is_ascii_digit);
        if run.len() == 40 && random && plausible::entropy(run) > 4.2 && !plausible::placeholder(run) {
            return Some(range);
        }
    }
    None
}
