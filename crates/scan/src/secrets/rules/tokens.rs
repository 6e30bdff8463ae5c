//! Tokens that begin with letters that only they have.
//!
//! Prefixes, alphabets and lengths are those that the issuers document, or that GitHub's list of supported secret
//! scanning patterns and the issuers' own clients show.

use super::super::{Confidence, verify};
use super::{Check, Find, Rule, likely, proven};
use crate::Severity;

fn alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn letters(byte: u8) -> bool {
    byte.is_ascii_alphabetic()
}

fn dashed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn dotted(byte: u8) -> bool {
    dashed(byte) || byte == b'.'
}

fn hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn any_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

use Severity::{Critical, High, Low, Medium};

type Line = (
    &'static str,
    &'static str,
    &'static str,
    Severity,
    &'static [&'static str],
    fn(u8) -> bool,
    usize,
    usize,
    Check,
);

#[rustfmt::skip]
const LINES: &[Line] = &[
    // id, title, issuer, severity, prefixes, alphabet, least, most, check
    ("github-token", "GitHub token", "GitHub", Critical, &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], alnum, 36, 36, |t| proven(verify::crc62(&t[4..]))),
    ("github-fine-grained-token", "GitHub fine-grained token", "GitHub", Critical, &["github_pat_"], |b| alnum(b) || b == b'_', 82, 82, |t| proven(t[33] == b'_' && t.iter().filter(|b| **b == b'_').count() == 3)),
    ("npm-token", "npm token", "npm", Critical, &["npm_"], alnum, 36, 36, |t| proven(verify::crc62(&t[4..]))),
    ("gitlab-token", "GitLab token", "GitLab", Critical, &["glpat-", "gldt-", "glptt-", "glcbt-", "glsoat-", "glagent-"], dotted, 20, 300, likely),
    ("gitlab-runner-token", "GitLab runner token", "GitLab", High, &["glrt-"], dotted, 20, 300, likely),
    ("pypi-token", "PyPI token", "PyPI", Critical, &["pypi-AgEIcHlwaS5vcmc"], dashed, 50, 2000, |t| proven(verify::pypi(t))),
    ("digitalocean-token", "DigitalOcean token", "DigitalOcean", Critical, &["dop_v1_", "doo_v1_", "dor_v1_"], hex, 64, 64, likely),
    ("sendgrid-key", "SendGrid key", "SendGrid", High, &["SG."], dotted, 66, 66, |t| proven(t[25] == b'.' && t[3..25].iter().chain(&t[26..]).all(|b| *b != b'.'))),
    ("stripe-live-key", "Stripe live key", "Stripe", Critical, &["sk_live_", "rk_live_"], alnum, 24, 247, likely),
    ("stripe-test-key", "Stripe test key", "Stripe", Low, &["sk_test_", "rk_test_"], alnum, 24, 247, |_| Some(Confidence::Possible)),
    ("google-api-key", "Google API key", "Google Cloud", High, &["AIza"], dashed, 35, 35, likely),
    ("google-oauth-secret", "Google OAuth client secret", "Google Cloud", High, &["GOCSPX-"], dashed, 28, 28, likely),
    ("google-access-token", "Google access token", "Google", Medium, &["ya29."], dashed, 60, 2048, likely),
    ("vault-token", "HashiCorp Vault token", "HashiCorp Vault", Critical, &["hvs.", "hvb.", "hvr."], dashed, 24, 300, likely),
    ("age-secret-key", "age secret key", "whoever encrypts to it", Critical, &["AGE-SECRET-KEY-1"], upper, 58, 58, |t| proven(verify::bech32("age-secret-key-", t))),
    ("shopify-token", "Shopify token", "Shopify", Critical, &["shpat_", "shpca_", "shppa_", "shpss_"], any_hex, 32, 32, likely),
    ("databricks-token", "Databricks token", "Databricks", Critical, &["dapi"], |b| hex(b) || b == b'-', 32, 34, |t| (hex(t[35]) && !t[4..36].contains(&b'-')).then_some(Confidence::Likely)),
    ("anthropic-key", "Anthropic key", "Anthropic", Critical, &["sk-ant-api03-", "sk-ant-admin01-", "sk-ant-oat01-"], dashed, 95, 95, |t| proven(t.ends_with(b"AA"))),
    ("hugging-face-token", "Hugging Face token", "Hugging Face", High, &["hf_", "api_org_"], letters, 34, 34, likely),
    ("groq-key", "Groq key", "Groq", High, &["gsk_"], alnum, 52, 52, |t| proven(memchr::memmem::find(t, b"WGdyb3FY").is_some())),
    ("xai-key", "xAI key", "xAI", High, &["xai-"], alnum, 80, 80, likely),
    ("perplexity-key", "Perplexity key", "Perplexity", High, &["pplx-"], alnum, 48, 48, likely),
    ("replicate-token", "Replicate token", "Replicate", High, &["r8_"], alnum, 37, 37, likely),
    ("atlassian-token", "Atlassian token", "Atlassian", Critical, &["ATATT3xFfGF0"], |b| dashed(b) || b == b'=', 150, 250, |t| Some(if verify::atlassian(t) { Confidence::Proven } else { Confidence::Likely })),
    ("doppler-token", "Doppler token", "Doppler", Critical, &["dp.pt.", "dp.st.", "dp.ct.", "dp.sa."], dotted, 40, 60, likely),
    ("linear-key", "Linear key", "Linear", High, &["lin_api_"], alnum, 40, 40, likely),
    ("notion-token", "Notion token", "Notion", High, &["ntn_"], alnum, 46, 46, likely),
    ("planetscale-token", "PlanetScale token", "PlanetScale", Critical, &["pscale_tkn_", "pscale_pw_", "pscale_oauth_"], dotted, 32, 64, likely),
    ("postman-key", "Postman key", "Postman", High, &["PMAK-"], |b| any_hex(b) || b == b'-', 59, 59, |t| (t[29] == b'-').then_some(Confidence::Likely)),
    ("new-relic-key", "New Relic user key", "New Relic", High, &["NRAK-"], upper, 27, 27, likely),
    ("grafana-token", "Grafana service account token", "Grafana", Critical, &["glsa_"], |b| alnum(b) || b == b'_', 41, 41, |t| (t[37] == b'_').then_some(Confidence::Likely)),
    ("buildkite-token", "Buildkite token", "Buildkite", High, &["bkua_"], hex, 40, 40, likely),
    ("supabase-token", "Supabase token", "Supabase", Critical, &["sbp_"], hex, 40, 40, likely),
    ("tailscale-key", "Tailscale key", "Tailscale", Critical, &["tskey-auth-", "tskey-api-", "tskey-client-"], |b| alnum(b) || b == b'-', 20, 80, likely),
    ("heroku-key", "Heroku key", "Heroku", Critical, &["HRKU-AA"], dashed, 58, 58, likely),
    ("docker-hub-token", "Docker Hub token", "Docker Hub", Critical, &["dckr_pat_", "dckr_oat_"], dashed, 27, 32, likely),
    ("crates-io-token", "crates.io token", "crates.io", Critical, &["cio"], alnum, 32, 32, |t| mixed(&t[3..]).then_some(Confidence::Likely)),
    ("rubygems-key", "RubyGems key", "RubyGems", Critical, &["rubygems_"], hex, 48, 48, likely),
    ("nuget-key", "NuGet key", "NuGet", Critical, &["oy2"], |b| matches!(b, b'a'..=b'z' | b'0'..=b'9'), 43, 43, likely),
    ("clojars-token", "Clojars token", "Clojars", Critical, &["CLOJARS_"], alnum, 60, 60, likely),
    ("sentry-token", "Sentry token", "Sentry", High, &["sntryu_"], hex, 64, 64, likely),
    ("pulumi-token", "Pulumi token", "Pulumi", Critical, &["pul-"], hex, 40, 40, likely),
    ("netlify-token", "Netlify token", "Netlify", High, &["nfp_"], alnum, 36, 44, likely),
    ("dynatrace-token", "Dynatrace token", "Dynatrace", High, &["dt0c01.", "dt0s16."], dotted, 89, 89, likely),
    ("shippo-token", "Shippo live token", "Shippo", High, &["shippo_live_"], hex, 40, 40, likely),
    ("square-token", "Square token", "Square", Critical, &["sq0atp-", "sq0csp-"], dashed, 22, 43, likely),
    ("fly-token", "Fly.io token", "Fly.io", Critical, &["fm2_"], base64, 100, 4000, likely),
    ("slack-app-token", "Slack app token", "Slack", High, &["xapp-1-"], |b| alnum(b) || b == b'-', 60, 120, likely),
    ("alibaba-key-id", "Alibaba Cloud key identifier", "Alibaba Cloud", Low, &["LTAI5t"], alnum, 18, 18, |_| Some(Confidence::Possible)),
    ("figma-token", "Figma token", "Figma", High, &["figd_"], dashed, 40, 44, likely),
    ("easypost-key", "EasyPost production key", "EasyPost", High, &["EZAK"], alnum, 54, 54, likely),
    ("typeform-token", "Typeform token", "Typeform", High, &["tfp_"], dotted, 59, 70, likely),
];

/// Whether all three kinds of characters are there, as they are in 32 random ones.
fn mixed(text: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| text.iter().any(kind);
    has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit)
}

pub(super) fn rules() -> Vec<Rule> {
    let rule = |(id, title, issuer, severity, keys, alphabet, least, most, check): &Line| Rule {
        id,
        title,
        severity: *severity,
        issuer,
        keys,
        binary: true,
        strong: true,
        find: Find::Token { alphabet: *alphabet, least: *least, most: *most, check: *check },
    };
    LINES.iter().map(rule).collect()
}
